"""Check the arguments of the command line before any command sees them."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence

from ds2cli.encoding import explain_undecodable
from ds2cli.errors import UsageError


def check_arguments(arguments: Sequence[str]) -> None:
    """UsageError for an argument that no command accepts: an empty one, or one that is not UTF-8.

    A path that is empty would be the current folder. Rows and OUT.config.toml, which are UTF-8, could not contain
    others.
    """
    for before, argument in zip(["ds2", *arguments], arguments, strict=False):
        if not argument:
            hint = f" ({before}= for a value that is empty)" if before.startswith("--") and before != "--" else ""
            raise UsageError(f"the argument after {before!r} is empty, perhaps a variable that is not set{hint}")
        if any(map(_is_byte, argument)):
            raise UsageError(_explain_bytes(argument))


def _explain_bytes(argument: str) -> str:
    """What is wrong with an argument that is not UTF-8, and the command that renames the file of that name."""
    shown = os.fsencode(argument).decode("utf-8", "backslashreplace")
    error = explain_undecodable(argument).partition(" (")[0]
    path = _first_undecodable_part(argument)
    if not os.path.lexists(path):
        return f"{shown}: expected an argument in UTF-8: {error}"
    # as bash reads it, whatever the terminal shows
    old = "".join(f"\\x{ord(c) - 0xDC00:x}" if _is_byte(c) else f"\\{c}" if c in "\\'" else c for c in path)
    new = "".join(_letter(c) if _is_byte(c) else c for c in path)
    return f"{shown}: a file name that is {error} (mv $'{old}' {shlex.quote(new)})"


def _first_undecodable_part(path: str) -> str:
    """The path up to its first folder or file whose name is not UTF-8."""
    parts = path.split("/")
    wrong = next(i for i, part in enumerate(parts) if any(map(_is_byte, part)))
    return "/".join(parts[: wrong + 1])


def _is_byte(c: str) -> bool:
    """Whether Python has read a byte that is not UTF-8 as this surrogate."""
    return "\udc80" <= c <= "\udcff"


def _letter(c: str) -> str:
    """The letter of Windows-1252 for such a byte, `_` if it has none."""
    return bytes([ord(c) - 0xDC00]).decode("windows-1252", "replace").replace("\ufffd", "_")
