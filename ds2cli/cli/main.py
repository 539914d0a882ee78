"""Assemble the commands and turn errors into exit statuses.

Each file in this folder is a command: `x.py` with a function `x`, or a Typer `app` for a group. There is no registry.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ds2cli import __version__, plugins, ui
from ds2cli.cli.lib.arguments import check_arguments
from ds2cli.cores import count_cores
from ds2cli.errors import DataError, Ds2Error, UsageError
from ds2cli.kernels import compilation

PIPELINE = ("prepare", "featurize", "train", "emit", "align", "lm", "decode", "score", "transcribe", "data")
"""The commands that `ds2 --help` lists first, in pipeline order; the others follow alphabetically."""

INTERRUPTED = 130
TERMINATED = 143
COMPILING = (
    "compiling the search, once per user and version: up to a minute (ds2 doctor --warm compiles all at once) ..."
)
WRITE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)


class PipelineGroup(TyperGroup):
    """A group that lists its commands in the order of the pipeline."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The command names, those in PIPELINE first."""
        rank = {name: i for i, name in enumerate(PIPELINE)}
        return sorted(self.commands, key=lambda name: (rank.get(name, len(rank)), name))


app = typer.Typer(cls=PipelineGroup, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)


def _show_version(requested: bool) -> None:
    if requested:
        ui.echo(f"ds2 {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Deep Speech 2 as small command-line stages connected by manifests.

    IN and OUT may be - (standard input and output). Rows and results go to standard output, log lines to standard
    error.
    Exit status: 0 success, 1 result refused, 2 usage error, 3 bad data, 130 or 143 interrupted.
    """


def _add_commands() -> UsageError | None:
    """Add every command, or return the error of a plugin: this file must be importable all the same."""
    for name in plugins.find_modules("ds2cli.cli", shared=["main"]):
        function = name.replace("-", "_")
        try:
            module = plugins.import_module("ds2cli.cli", name)
            if not hasattr(module, "app") and not hasattr(module, function):
                raise UsageError(f"{module.__file__}: expected a function `{function}`, or a Typer group `app`")
        except UsageError as e:
            return e
        if hasattr(module, "app"):
            app.add_typer(module.app, name=name)
        else:
            app.command(name.replace("_", "-"))(getattr(module, function))
    return None


_plugin_error = _add_commands()


def main() -> None:
    """Run `ds2`: a Ds2Error becomes one line and its exit status; any other exception is a bug and keeps its traceback.

    SIGTERM ends the process like an error, so that incomplete outputs are removed. Its status is 128 + 15, as in a
    shell.
    """
    _reopen_closed_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # rows and settings are read back as UTF-8, whatever the locale
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")
    compilation.on_first = lambda: ui.log(COMPILING)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    try:
        try:
            check_arguments(sys.argv[1:])
            plugins.check_plugins()
            # torch reads it when it is loaded, and knows neither DS2_CORES nor the quota of a container
            os.environ.setdefault("OMP_NUM_THREADS", str(count_cores()))
            if _plugin_error is not None:
                raise _plugin_error
            app(prog_name="ds2")
        except SystemExit as e:
            sys.stdout.flush()
            # Typer turns Ctrl-C into a SystemExit
            if e.__context__ is not None and isinstance(e.__context__.__cause__, KeyboardInterrupt):
                ui.log("ds2: interrupted")
            raise
    except Ds2Error as e:
        ui.log(f"ds2: {e}")
        sys.exit(e.exit_code)
    except KeyboardInterrupt:
        ui.log("ds2: interrupted")
        sys.exit(INTERRUPTED)
    except OSError as e:
        if e.errno not in WRITE_ERRORS:
            raise
        ui.log(f"ds2: the output cannot be written: {(e.strerror or str(e)).lower()}")
        # Python flushes standard output when it exits, and would fail again
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(DataError.exit_code)


def _reopen_closed_streams() -> None:
    """Open the standard streams that the shell closed (2>&-), so that no other file is opened with their descriptors.

    Log lines are then discarded; writing a result to a closed standard output is an error.
    """
    for name, mode in (("stdin", os.O_RDONLY), ("stdout", os.O_RDONLY), ("stderr", os.O_WRONLY)):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, mode)
            # programs that are started expect their standard streams, too
            os.set_inheritable(descriptor, True)
            if name != "stdin":
                setattr(sys, name, os.fdopen(descriptor, "w", closefd=False))


if __name__ == "__main__":
    main()
