"""Assemble the commands and turn errors into exit statuses.

Each file in this folder is a command: `x.py` with a function `x`, or a Typer `app` for a group. There is no registry.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ds2cli import __version__, atomic, inputs, memory, native, plugins, ui
from ds2cli.cli.lib.arguments import check_arguments
from ds2cli.cli.lib.usage import one_line_errors
from ds2cli.cores import count_cores
from ds2cli.errors import TERMINATED, DataError, Ds2Error, UsageError
from ds2cli.kernels import compilation

PIPELINE = (
    *("prepare", "featurize", "train", "emit", "align", "segment", "filter", "lm", "decode", "score", "rover"),
    *("transcribe", "data"),
)
"""The commands that `ds2 --help` lists first, in pipeline order; the others follow alphabetically."""

INTERRUPTED = 130
NO_READER = 141
"""128 + SIGPIPE, which ends other programs."""
COMPILING = (
    "compiling the search, once per user and version: up to a minute (ds2 doctor --warm compiles all at once) ..."
)
WRITE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)
MEMORY_FIX = "use --nj 1 and --readers 0 where it has them, or end other programs"
TRACEBACK_VARIABLE = "DS2_TRACEBACK"
"""Environment variable that adds the traceback to the message of an unexpected system error."""


class PipelineGroup(TyperGroup):
    """A group that lists its commands in the order of the pipeline."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The command names, those in PIPELINE first."""
        rank = {name: i for i, name in enumerate(PIPELINE)}
        return sorted(self.commands, key=lambda name: (rank.get(name, len(rank)), name))

    def make_context(self, *args: Any, **options: Any) -> Any:
        """Parse the options of `ds2` itself; UsageError for a wrong one."""
        with one_line_errors(self):
            return super().make_context(*args, **options)

    def invoke(self, ctx: Any) -> Any:
        """Parse the rest of the command line, and run the command; UsageError for a wrong option or argument."""
        with one_line_errors(self):
            return super().invoke(ctx)


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
    Exit status: 0 success, 1 result refused, 2 usage error, 3 bad data, 130 or 143 interrupted, 141 output not read.
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
    """Run `ds2`: an error of the user, a file or the system becomes one line and its exit status.

    Any other exception is a bug and keeps its traceback. SIGTERM ends a process that has begun its output like an
    error, so that incomplete files are removed; its status is 128 + 15, as in a shell. Before that, the system ends it
    at once: Python handles no signal while it loads a library such as torch.
    """
    _require_utf8_names()
    _reopen_closed_streams()
    ui.replace_missing_letters()
    compilation.on_first = lambda: ui.log(COMPILING)
    native.on_missing = ui.warn
    atomic.on_first = _end_in_order_on_sigterm
    try:
        try:
            check_arguments(sys.argv[1:])
            plugins.check_plugins()
            # torch reads it when it is loaded, and knows neither DS2_CORES nor the quota of a container
            os.environ.setdefault("OMP_NUM_THREADS", str(count_cores()))
            if _plugin_error is not None:
                raise _plugin_error
            with memory.required("this command", MEMORY_FIX):
                app(prog_name="ds2")
        except SystemExit as e:
            # Typer ends a command whose reader has left with status 1
            if isinstance(e.__context__, BrokenPipeError):
                raise e.__context__ from None
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
    except BrokenPipeError as e:
        _end_without_reader(e)
    except (OSError, UnicodeError, RecursionError) as e:
        if os.environ.get(TRACEBACK_VARIABLE):
            traceback.print_exc()
        ui.log(f"ds2: {_describe_error(e)}")
        if isinstance(e, OSError) and e.errno in WRITE_ERRORS:
            # Python flushes standard output when it exits, and would fail again
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(DataError.exit_code)


def _end_in_order_on_sigterm() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))


def _end_without_reader(error: BrokenPipeError) -> None:
    """End as other programs do when the reader of their output has left, such as `head`; name files not written."""
    if files := getattr(error, "__notes__", []):
        names = ", ".join(dict.fromkeys(files))
        ui.log(f"ds2: not written, because the output was no longer read: {names} (let it read to the end)")
    # Python flushes standard output when it exits, and would fail again
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(NO_READER)


def _describe_error(e: OSError | UnicodeError | RecursionError) -> str:
    """The one-line message of an unexpected system error."""
    where = f"({TRACEBACK_VARIABLE}=1 ds2 … shows where)"
    if isinstance(e, RecursionError):
        return f"a file is too deeply nested to be read {where}"
    if isinstance(e, UnicodeError):
        return f"a text or a file name is not UTF-8: {e} {where}"
    if e.filename is not None:
        name = e.filename if isinstance(e.filename, str) else repr(e.filename)
        return f"{name}: {inputs.explain_error(e)}"
    if e.errno in WRITE_ERRORS:
        return f"the output cannot be written: {inputs.explain_error(e)}"
    return f"{inputs.explain_error(e)} {where}"


def _require_utf8_names() -> None:
    """Start Python again where the locale would make it read arguments and file names as anything but UTF-8.

    Manifests have their paths in UTF-8. What people read keeps the encoding of the locale.
    """
    if sys.getfilesystemencoding() == "utf-8" or sys.flags.ignore_environment:
        return
    if stream := sys.stdout or sys.stderr:
        os.environ.setdefault("PYTHONIOENCODING", stream.encoding)
    os.environ["PYTHONUTF8"] = "1"
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


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
