"""What a path to be read leads to: a file, a pipe that can be read once, or something that no command can read.

Pipes are opened and read here and not by C libraries such as libsndfile, whose waits no signal ends: a signal does
interrupt Python in its main thread.
"""

from __future__ import annotations

import errno
import os
import shlex
import stat
from pathlib import Path
from typing import BinaryIO

Source = str | os.PathLike[str]

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_FIXES = {errno.EMFILE: "ulimit -n 4096 allows more"}
STREAMS = ("a pipe", "a terminal")
"""What can be read, but only once and in order."""


def describe_special(path: Source | int) -> str:
    """What a path or an open descriptor leads to, such as "a pipe"; "" for a file, or /dev/null, which is an empty one.

    OSError if there is nothing, ValueError for a path that cannot be one.
    """
    status = os.fstat(path) if isinstance(path, int) else Path(path).stat()
    if stat.S_ISCHR(status.st_mode):
        if status.st_rdev == Path(os.devnull).stat().st_rdev:
            return ""
        if _is_terminal(path):
            return "a terminal"
    return _KINDS.get(stat.S_IFMT(status.st_mode), "")


def is_stream(path: Source) -> bool:
    """Whether a path leads to a pipe or a terminal, which can be read only once; False if there is nothing."""
    try:
        return describe_special(path) in STREAMS
    except (OSError, ValueError):
        return False


def require_file(path: Source) -> None:
    """OSError, whose `strerror` says why, unless a path can be read twice, by several processes and in any order.

    ValueError for a path that cannot be one.
    """
    kind = describe_special(path)
    if kind in STREAMS:
        name = os.fspath(path)
        # what bash names for <(COMMAND) is of no use to another command
        fix = "COMMAND > FILE" if name.startswith(("/dev/", "/proc/")) else f"cat {shlex.quote(name)} > FILE"
        message = f"this is {kind}, which can be read only once, expected a file ({fix})"
        raise OSError(errno.ESPIPE, message, name)
    if kind:
        raise _not_a_file(path, kind)


def open_bytes(path: Source) -> BinaryIO:
    """Open a file, a pipe or a terminal, to be read once and in order.

    OSError, whose `strerror` says why, for anything else, such as a device (some never end); ValueError for a path that
    cannot be one.
    """
    kind = describe_special(path)
    if kind and kind not in STREAMS:
        raise _not_a_file(path, kind)
    return Path(path).open("rb")


def read_bytes(path: Source) -> bytes:
    """The bytes of a file or a pipe; errors as of `open_bytes`."""
    with open_bytes(path) as f:
        return f.read()


def explain_error(e: OSError) -> str:
    """The message of an error, for use after a colon, with the command that helps if there is one."""
    message = e.strerror or str(e) or "unknown system error"
    fix = f" ({_FIXES[e.errno]})" if e.errno in _FIXES else ""
    return f"{message[:1].lower()}{message[1:]}{fix}"


def _not_a_file(path: Source, kind: str) -> OSError:
    code = errno.EISDIR if kind == "a folder" else errno.EINVAL
    return OSError(code, f"this is {kind}, expected a file", os.fspath(path))


def _is_terminal(path: Source | int) -> bool:
    if isinstance(path, int):
        return os.isatty(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.isatty(descriptor)
    finally:
        os.close(descriptor)
