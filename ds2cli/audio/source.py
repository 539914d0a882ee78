"""What a recording is read from: a file, the bytes of one, or a pipe, which is read once, into memory."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from typing import Any, BinaryIO

from ds2cli import inputs, memory
from ds2cli.encoding import explain_name
from ds2cli.errors import BadUtterance
from ds2cli.io import standard_bytes

MAX_PIPE_BYTES = 1 << 32
"""More than this is no recording, but a pipe that never ends."""

_CHUNK = 1 << 20


class PipedAudio(str):
    """The path of a pipe, and the bytes that came through it, which the functions of audio/read.py take for the file.

    As with files, the ending of the path tells the format where the bytes do not.
    """

    data: bytes

    @property
    def name(self) -> str:
        """The path as messages show it."""
        return "<stdin>" if self == "-" else str(self)


Source = str | os.PathLike[str] | bytes
"""A path, the bytes of a file, or a PipedAudio."""


def read_pipe(path: str, file: BinaryIO | None = None, head: bytes = b"") -> PipedAudio:
    """Read a recording from a pipe, or from standard input if the path is `-`.

    file: the pipe, if it has been opened; `head` has been read from it.

    To be called in the main thread: signals do not end the wait of another one. BadUtterance "unreadable-audio" for
    more than MAX_PIPE_BYTES, "out-of-memory" for more than memory holds; DataError if standard input
    is closed or no stream of bytes.
    """
    audio = PipedAudio(path)
    parts, size = [head], len(head)
    try:
        with _open_pipe(path) if file is None else contextlib.nullcontext(file) as f:
            while part := f.read(_CHUNK):
                parts.append(part)
                size += len(part)
                if size > MAX_PIPE_BYTES:
                    raise BadUtterance(
                        "unreadable-audio", f"{audio.name}: no end in {MAX_PIPE_BYTES} bytes of a recording"
                    )
        audio.data = b"".join(parts)
    except OSError as e:
        if memory.is_out_of_memory(e):
            raise _too_large(audio, size) from e
        raise BadUtterance("unreadable-audio", f"{audio.name}: {inputs.explain_error(e)}") from e
    except MemoryError as e:
        raise _too_large(audio, size) from e
    return audio


def _open_pipe(path: str) -> contextlib.AbstractContextManager[BinaryIO]:
    return contextlib.nullcontext(standard_bytes()) if path == "-" else inputs.open_bytes(path)


def _too_large(audio: PipedAudio, size: int) -> BadUtterance:
    lack = f"more than {memory.format_size(size)} are needed ({memory.SHORTER})"
    return BadUtterance(memory.OUT_OF_MEMORY, f"{audio.name}: the recording does not fit in memory: {lack}")


def read_head(source: Source) -> tuple[bytes, int]:
    """The first 16 bytes of a recording, and its size (bytes).

    BadUtterance: missing-audio, not-utf8, unreadable-audio. The latter also for the path of a pipe: recordings are
    opened more than once, by libraries whose waits no signal ends (`read_pipe`).
    """
    if (data := _data_of(source)) is not None:
        return data[:16], len(data)
    name = source_name(source)
    if any("\ud800" <= c <= "\udfff" for c in name):
        raise BadUtterance("not-utf8", explain_name(name))
    try:
        inputs.require_file(name)
        with Path(name).open("rb") as f:
            return f.read(16), os.fstat(f.fileno()).st_size
    except FileNotFoundError:
        raise BadUtterance("missing-audio", f"no file {name}") from None
    except OSError as e:
        raise BadUtterance("unreadable-audio", f"{name}: {inputs.explain_error(e)}") from e


def open_source(source: Source) -> Any:
    """What soundfile and PyAV open: a path, or the bytes in memory."""
    # soundfile takes a file of this name for headerless, whatever it contains
    name, data = source_name(source), _data_of(source)
    is_raw = Path(name).suffix.lower() == ".raw"
    if data is None and not is_raw:
        return name
    file = _BytesInMemory(Path(name).read_bytes() if data is None else data)
    if not is_raw:
        # FFmpeg knows the formats without a header by the name
        file.name = name
    return file


class _BytesInMemory(io.BytesIO):
    """Bytes in which a position before the first one is the first one: broken headers lead libsndfile there."""

    name: str

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return super().seek(max(offset, 0) if whence == os.SEEK_SET else offset, whence)


def source_name(source: Source) -> str:
    """The name of a recording, for messages."""
    if isinstance(source, PipedAudio):
        return source.name
    return "<stdin>" if isinstance(source, bytes) or source == "-" else os.fspath(source)


def _data_of(source: Source) -> bytes | None:
    return source.data if isinstance(source, PipedAudio) else source if isinstance(source, bytes) else None
