"""Open inputs and outputs: '-' is stdin or stdout, '.gz' is compressed, and output files are replaced atomically."""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import io
import os
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, TextIO
from weakref import WeakSet

from ds2cli import encoding, inputs
from ds2cli.atomic import begin_output, replacing
from ds2cli.errors import DataError, UsageError

_GZIP = b"\x1f\x8b"
_CHUNK = 1 << 16
_LONGEST_LINE = 1 << 20
"""Bytes without a line end after which the file has none."""
_read_streams: WeakSet[BinaryIO] = WeakSet()
"""Standard input, after it was opened."""


def standard_input() -> TextIO:
    """Standard input; DataError when the shell closed it."""
    if sys.stdin is None:
        raise DataError("standard input is closed (name a file, or redirect one: < FILE)")
    return sys.stdin


def standard_bytes() -> BinaryIO:
    """The bytes of standard input, once.

    DataError when it is closed, a folder or a device, of which some never end, or when two arguments are `-`.
    """
    stream = standard_input().buffer
    if stream in _read_streams:
        raise DataError("<stdin>: two arguments are -, but standard input can be read only once (name a file)")
    _read_streams.add(stream)
    kind = ""
    # a stream in memory has no descriptor
    with contextlib.suppress(OSError, ValueError):
        kind = inputs.describe_special(stream.fileno())
    if kind in ("a folder", "a device"):
        raise DataError(f"<stdin>: this is {kind}, expected a file or a pipe")
    return stream


@contextlib.contextmanager
def open_in(path: str) -> Iterator[TextIO]:
    """Open `path` for reading text, unpacked if it is gzip data; '-' is standard input. It is read once, in order.

    The text is UTF-8, UTF-16 or UTF-32; a byte order mark is skipped. Bytes that are not UTF-8 become lone surrogates.
    Lines end in LF or CRLF; if they end in CR alone, they are read as ending in LF.
    DataError if the file cannot be read, is not text, or its gzip stream is broken.
    """
    if path == "-" and not hasattr(standard_input(), "buffer"):
        yield standard_input()
        return
    with _open_source(path) as source:
        head = source.peek_line()
        if kind := encoding.describe_binary(head):
            raise DataError(f"{source.name}: expected a text file, found {kind}")
        codec = encoding.detect(head)
        newline = None if encoding.has_cr_line_ends(head.decode(codec, "replace")) else "\n"
        errors = encoding.error_handler(codec)
        with io.TextIOWrapper(io.BufferedReader(source, _CHUNK), codec, errors, newline) as f:
            yield f


def read_lines(path: str) -> Iterator[tuple[int, str]]:
    """The lines of a text file (see `open_in`) without their ends, each after its number, from 1."""
    with open_in(path) as f:
        for number, line in enumerate(f, start=1):
            # files that were joined have byte order marks in the middle
            yield number, line.rstrip("\r\n").removeprefix(encoding.MARK)


@contextlib.contextmanager
def open_utf8(path: str) -> Iterator[io.RawIOBase | None]:
    """Open a file for reading its bytes, unpacked if it is gzip data, if `read_lines` would read it as plain UTF-8.

    None, and nothing is read, for standard input, a pipe, or a file in another encoding or with other line ends.
    DataError if the file cannot be read, or its gzip stream is broken.
    """
    if path == "-" or not os.path.isfile(path):
        yield None
        return
    with _open_source(path) as source:
        head = source.peek_line()
        special = encoding.describe_binary(head) or head.startswith(encoding.MARK.encode())
        plain = encoding.detect(head) == "utf-8" and not encoding.has_cr_line_ends(head.decode("utf-8", "replace"))
        yield source if plain and not special else None


def read_bytes(path: str) -> bytes:
    """The bytes of a file, unpacked if it is gzip data; '-' is standard input. DataError if it cannot be read."""
    with _open_source(path) as source:
        return source.readall()


@contextlib.contextmanager
def _open_source(path: str) -> Iterator[_Source]:
    with contextlib.nullcontext(standard_bytes()) if path == "-" else _open_bytes(path) as stream:
        source = _Source("<stdin>" if path == "-" else path, stream)
        if source.peek_line().startswith(_GZIP):
            source = _Source(source.name, gzip.GzipFile(fileobj=io.BufferedReader(source)))
        yield source


def _open_bytes(path: str) -> BinaryIO:
    try:
        return inputs.open_bytes(path)
    except OSError as e:
        raise DataError(f"{path}: {inputs.explain_error(e)}") from e
    # NUL characters and lone surrogates, which a settings file can contain
    except ValueError as e:
        raise DataError(f"{path!r}: not a file name: {e}") from e


class _Source(io.RawIOBase):
    """The bytes of a stream, whose first line can be looked at; DataError with `name` for whatever fails to be read."""

    def __init__(self, name: str, stream: Any) -> None:
        self.name = name
        self._stream = stream
        self._head = b""

    def peek_line(self) -> bytes:
        """The bytes up to the first line end or further, without consuming them; not more than is needed of a pipe."""
        while b"\n" not in self._head and len(self._head) < _LONGEST_LINE and (data := self._read(_CHUNK)):
            self._head += data
        return self._head

    def readable(self) -> bool:
        return True

    def readall(self) -> bytes:
        return b"".join([self._head, *iter(lambda: self._read(_LONGEST_LINE), b"")])

    def readinto(self, buffer: Any) -> int:
        data = self._head or self._read(len(buffer))
        data, self._head = data[: len(buffer)], data[len(buffer) :]
        buffer[: len(data)] = data
        return len(data)

    def _read(self, size: int) -> bytes:
        try:
            data: bytes = self._stream.read1(size)
            return data
        except (EOFError, gzip.BadGzipFile, zlib.error) as e:
            raise DataError(f"{self.name}: broken gzip file: {e} (write the file again)") from e
        except OSError as e:
            raise DataError(f"{self.name}: {inputs.explain_error(e)}") from e


@contextlib.contextmanager
def open_out(path: str) -> Iterator[TextIO]:
    """Open `path` for writing UTF-8 text; '-' is standard output. A regular file is renamed into place on success."""
    if path == "-":
        begin_output()
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(encoding="utf-8", newline="\n")
        yield sys.stdout
        sys.stdout.flush()
        return
    if not path.endswith(".gz"):
        with replacing(path) as file, file.open("w", encoding="utf-8", newline="\n") as f:
            yield f
        return
    with (
        replacing(path) as file,
        file.open("wb") as raw,
        # without a name and a time stamp, so that the same rows give the same bytes
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as packed,
        io.TextIOWrapper(packed, encoding="utf-8", newline="\n") as f,
    ):
        yield f


@contextlib.contextmanager
def open_out_bytes(path: str) -> Iterator[BinaryIO]:
    """Open `path` for writing bytes; otherwise like `open_out`."""
    if path == "-":
        begin_output()
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with replacing(path) as file, file.open("wb") as f:
        yield f


def cache_folder() -> Path:
    """The user's folder for what can be made again, XDG_CACHE_HOME/ds2cli; RuntimeError for a user without a home."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser().absolute() / "ds2cli"


def require_writable(path: str) -> None:
    """DataError if no file can be written at `path`; to fail before long work instead of after it."""
    with contextlib.suppress(_Discard), replacing(path):
        raise _Discard


class _Discard(Exception):
    """Ends `replacing` without replacing the file."""


def redirect_target(stream: TextIO | str) -> str:
    """The regular file behind a stream or a name such as /dev/stdout; "" for a pipe, a terminal or a device."""
    try:
        name = stream if isinstance(stream, str) else _descriptor_name(stream.fileno())
        file = os.path.realpath(name)
        # the link of a deleted file still shows its old name
        return file if Path(file).is_file() and Path(name).samefile(file) else ""
    except (OSError, ValueError):
        return ""


def _descriptor_name(descriptor: int) -> str:
    """A name of the file that is open: its link in Linux's /proc, or its path, which macOS returns."""
    if hasattr(fcntl, "F_GETPATH"):
        return os.fsdecode(fcntl.fcntl(descriptor, fcntl.F_GETPATH, bytes(1024)).partition(b"\0")[0])
    return f"/proc/self/fd/{descriptor}"


class FolderLock:
    """An exclusive lock on a folder, created if missing; the system releases it when the process ends in any way.

    message: of the UsageError "FOLDER: MESSAGE" if another process holds the lock. On a file system without locks
    nothing is locked.
    """

    def __init__(self, folder: str, message: str) -> None:
        self._descriptor = -1
        # a folder that cannot be created or opened is reported by the first write to it
        with contextlib.suppress(OSError):
            Path(folder).mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(folder, os.O_RDONLY)
        if self._descriptor < 0:
            return
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            self.release()
            raise UsageError(f"{folder}: {message}") from e
        except OSError:
            self.release()

    def release(self) -> None:
        """Release the lock."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    __del__ = release
