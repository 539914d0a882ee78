"""Streams: '-' is stdin or stdout, '.gz' is compressed, and an output file appears whole or not at all."""

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

from ds2cli.errors import DataError, UsageError


def standard_in() -> TextIO:
    """Standard input; DataError when the shell closed it."""
    if sys.stdin is None:
        raise DataError("standard input is closed (fix: name a file, or < FILE)")
    return sys.stdin


@contextlib.contextmanager
def open_in(path: str) -> Iterator[TextIO]:
    """Open `path` for reading UTF-8 text; '-' is standard input. Undecodable bytes come out as lone surrogates.

    DataError when the file is missing, is a folder, or its gzip stream ends early.
    """
    if path == "-":
        stream = standard_in()
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="surrogateescape", newline="\n")
        yield stream
        return
    opener: Any = gzip.open if path.endswith(".gz") else open
    try:
        with opener(path, "rt", encoding="utf-8", errors="surrogateescape", newline="\n") as f:
            yield f
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError) as e:
        raise DataError(f"{path}: {(e.strerror or 'cannot be opened').lower()}") from e
    except (EOFError, gzip.BadGzipFile, zlib.error) as e:
        raise DataError(f"{path}: the gzip stream is broken ({e}); make the file again") from e


@contextlib.contextmanager
def open_out(path: str) -> Iterator[TextIO]:
    """Open `path` for writing UTF-8 text; '-' is standard output; a regular file is renamed into place on success."""
    if path == "-":
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(encoding="utf-8", newline="\n")
        yield sys.stdout
        sys.stdout.flush()
        return
    if not path.endswith(".gz"):
        with _in_place(path) as file, file.open("w", encoding="utf-8", newline="\n") as f:
            yield f
        return
    with (
        _in_place(path) as file,
        file.open("wb") as raw,
        # no name and no time inside: the same rows make the same file
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as packed,
        io.TextIOWrapper(packed, encoding="utf-8", newline="\n") as f,
    ):
        yield f


@contextlib.contextmanager
def open_out_bytes(path: str) -> Iterator[BinaryIO]:
    """Open `path` for writing bytes, with the same promise as `open_out`."""
    if path == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with _in_place(path) as file, file.open("wb") as f:
        yield f


def require_writable(path: str) -> None:
    """DataError when a file could not be written there: to be told before long work, not after it."""
    with contextlib.suppress(_Enough), _in_place(path) as file:
        if not file.exists():
            file.open("wb").close()
        raise _Enough


class _Enough(Exception):
    """Leaves a file unwritten."""


def redirected(stream: TextIO | str) -> str:
    """The regular file that a stream, or a name like /dev/stdout, leads to; "" for a pipe, a terminal or a device."""
    try:
        name = stream if isinstance(stream, str) else f"/proc/self/fd/{stream.fileno()}"
        file = os.path.realpath(name)
        # a deleted file still has the name that it had
        return file if Path(file).is_file() and Path(name).samefile(file) else ""
    except (OSError, ValueError):
        return ""


@contextlib.contextmanager
def _in_place(path: str) -> Iterator[Path]:
    """The file to write instead of `path`: a sibling that replaces it on success, or a pipe or device itself."""
    try:
        target = Path(path).resolve()
        is_folder, is_other = target.is_dir(), Path(path).exists() and not Path(path).is_file()
    except OSError as e:
        raise DataError(f"{path}: {(e.strerror or str(e)).lower()}") from e
    if is_folder:
        raise DataError(f"{path}: is a folder, expected a file to write")
    if is_other:
        # by its own name: that of a pipe, as /dev/stdout often is, cannot be resolved
        yield Path(path)
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise DataError(f"{path}: its folder cannot be made: {(e.strerror or str(e)).lower()}") from e
    # keeps the ending, so that a writer that looks at the name (gzip, an audio library) sees the same one
    part = target.with_name(f".{os.getpid()}.part.{target.name}")
    try:
        yield part
        with part.open("rb") as f:
            os.fsync(f.fileno())
        part.replace(target)
    except OSError as e:
        if isinstance(e, ConnectionError):
            raise
        why = (e.strerror or str(e)).lower()
        # an error that names another file comes from whoever makes what is written
        theirs = e.filename not in (None, str(part))
        raise DataError(f"{e.filename}: {why}" if theirs else f"{path}: cannot be written: {why}") from e
    finally:
        part.unlink(missing_ok=True)


class FolderLock:
    """Holds a folder, made if missing, for this process until it ends, however it ends.

    UsageError "FOLDER: WHY" when another process has it. Where there are no locks nothing is held.
    """

    def __init__(self, folder: str, why: str) -> None:
        self._number = -1
        # a folder that cannot be made or opened is told of when something is written there
        with contextlib.suppress(OSError):
            Path(folder).mkdir(parents=True, exist_ok=True)
            self._number = os.open(folder, os.O_RDONLY)
        if self._number < 0:
            return
        try:
            fcntl.flock(self._number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            self.release()
            raise UsageError(f"{folder}: {why}") from e
        except OSError:
            self.release()

    def release(self) -> None:
        """Let others have it."""
        if self._number >= 0:
            os.close(self._number)
            self._number = -1

    __del__ = release
