"""Assemble the commands and turn errors into exit statuses.

A command is a file of this folder: `x.py` with a function `x`, or a Typer `app` for a group. Nothing is registered.
"""

from __future__ import annotations

import errno
import importlib
import os
import pkgutil
import signal
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import ds2cli.cli
from ds2cli import __version__, ui
from ds2cli.errors import DataError, Ds2Error

PIPELINE = ("prepare", "featurize", "train", "emit", "align", "lm", "decode", "score", "transcribe", "data")
"""The order of `ds2 --help`; other commands follow by name."""

INTERRUPTED = 130
TERMINATED = 143
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)


class InOrder(TyperGroup):
    """Commands and groups in the order of the work."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names, those of PIPELINE first."""
        rank = {name: i for i, name in enumerate(PIPELINE)}
        return sorted(self.commands, key=lambda n: (rank.get(n, len(rank)), n))


app = typer.Typer(cls=InOrder, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)


def _show_version(asked: bool) -> None:
    if asked:
        ui.say(f"ds2 {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Say it.")] = False,
) -> None:
    """Deep Speech 2 in small stages that talk through manifests.

    IN and OUT may be - (standard input and output); rows and results go to standard output, log lines to standard
    error.
    Exit status: 0 done, 1 ran and the result is refused, 2 wrong usage, 3 bad data, 130 interrupted.
    """


def _add_commands() -> None:
    names = {m.name for m in pkgutil.iter_modules(ds2cli.cli.__path__) if not m.ispkg} - {"main"}
    for name in sorted(names):
        module = importlib.import_module(f"ds2cli.cli.{name}")
        if hasattr(module, "app"):
            app.add_typer(module.app, name=name)
        else:
            app.command(name.replace("_", "-"))(getattr(module, name))


_add_commands()


def main() -> None:
    """Run `ds2`; a Ds2Error is one line and its exit status, anything else is a bug and keeps its traceback."""
    _stand_in()
    # as an error does, so that what is half-written is removed; 128 + 15 is what a shell calls it
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    try:
        try:
            app(prog_name="ds2")
        except SystemExit as e:
            sys.stdout.flush()
            # Typer turns Ctrl-C into its own kind of exit
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
        if e.errno not in FULL:
            raise
        ui.log(f"ds2: the output cannot be written: {(e.strerror or str(e)).lower()}")
        # Python writes out what is left when it ends, and would fail again
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(DataError.exit_code)


def _stand_in() -> None:
    """Open what the shell closed, as 2>&- does, so that no file of ours gets its number: log lines are lost, and a
    result on standard output is an error."""
    for name, mode in (("stdin", os.O_RDONLY), ("stdout", os.O_RDONLY), ("stderr", os.O_WRONLY)):
        if getattr(sys, name) is None:
            number = os.open(os.devnull, mode)
            if name != "stdin":
                setattr(sys, name, os.fdopen(number, "w", closefd=False))


if __name__ == "__main__":
    main()
