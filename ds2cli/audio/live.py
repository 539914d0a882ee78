"""Recordings that are read from a pipe while they are made, such as those of `arecord`."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import struct
import threading
from typing import Any

from ds2cli import inputs
from ds2cli.audio.read import has_known_head
from ds2cli.audio.source import PipedAudio, read_pipe
from ds2cli.errors import BadUtterance
from ds2cli.io import standard_bytes

STREAMED = (b"fLaC", b"OggS", b"\x1aE\xdf\xa3", b"ID3", b"\xff\xfb", b"\xff\xf3", b"\xff\xf1", b"\xff\xf9")
"""First bytes of formats that FFmpeg decodes without knowing their end. Others are read to their end first."""

OPEN_SIZE = 0x7FFF0000
"""From this size on, in a WAV header, the length was not known when it was written; so is 0."""

WHOLE_BYTES = 1 << 25
"""A WAV file of at most this size (bytes) that comes through a pipe is read to its end first, as a file is."""

PIPE_BYTES = 1 << 20
"""How much a pipe is asked to hold (bytes): what is recorded while the network computes must not be lost."""

WAIT_S = 0.1
"""How often a wait for more bytes looks whether it is to end (s)."""

RIFF_SIZE_TOLERANCE = 64
"""Bytes by which the size in a WAV header may be wrong: some writers miscount their own header."""


class LiveAudio(str):
    """The path of a pipe from which a recording is read once, in order; `-` is standard input.

    raw_rate: sample rate (Hz) of samples without a header (16-bit little-endian, one channel); None for other formats.
    stated: bytes of a WAV file with a complete header; None for a stream of unknown length.
    ended: when set, the stream ends where it has been read to.  abandoned: the same, set by who reads it.
    """

    raw_rate: int | None
    stated: int | None
    ended: threading.Event
    abandoned: threading.Event
    _file: Any
    _head: bytes
    _count: int

    @property
    def name(self) -> str:
        """The path as messages show it."""
        return "<stdin>" if self == "-" else str(self)

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes, as soon as there are some; none at the end.

        BadUtterance "truncated-audio" at the end of a WAV file that states more bytes, unless `ended` is set.
        """
        data, self._head = self._head[:size], self._head[size:]
        data = data or self._wait(size)
        self._count += len(data)
        missing = self.stated is not None and self._count + RIFF_SIZE_TOLERANCE < self.stated
        if not data and missing and not self.ended.is_set():
            raise BadUtterance(
                "truncated-audio", f"{self.name} has {self._count} bytes, its header states {self.stated}"
            )
        return data

    def _wait(self, size: int) -> bytes:
        try:
            descriptor = self._file.fileno()
        except OSError:
            # a stream in memory
            return bytes(self._file.read(size))
        while not (self.ended.is_set() or self.abandoned.is_set()):
            if select.select([descriptor], [], [], WAIT_S)[0]:
                return os.read(descriptor, size)
        return b""

    def close(self) -> None:
        """Close the pipe; standard input stays open."""
        if self != "-":
            self._file.close()


def open_pipe(
    path: str, raw_rate: int | None, ended: threading.Event, *, live_rate: int | None = None
) -> PipedAudio | LiveAudio:
    """Open a recording that comes through a pipe; a short one, and one of a format that needs it, is read to its end.

    To be called in the main thread: it waits for the first bytes. raw_rate, ended: see LiveAudio.
    live_rate: for a stream whose beginning is wanted before its end: the sample rate (Hz) of samples without a header,
    which it has unless the first bytes are those of a format; a WAV file is then not read to its end, whatever length
    its header states.
    Errors as of `read_pipe`.
    """
    audio = LiveAudio(path)
    audio.raw_rate, audio.stated, audio._head, audio._count = raw_rate, None, b"", 0
    audio.ended, audio.abandoned = ended, threading.Event()
    try:
        audio._file = standard_bytes() if path == "-" else inputs.open_bytes(path)
    except OSError as e:
        raise BadUtterance("unreadable-audio", f"{audio.name}: {inputs.explain_error(e)}") from e
    with contextlib.suppress(OSError, AttributeError):
        fcntl.fcntl(audio._file.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    if raw_rate is not None:
        return audio
    while len(audio._head) < 16 and (data := _read_some(audio)):
        audio._head += data
    head = audio._head
    if head.startswith(STREAMED) or (live_rate is not None and head.startswith(b"RIFF")):
        return audio
    if live_rate is not None and head and not has_known_head(head):
        audio.raw_rate = live_rate
        return audio
    if head[:4] == b"RIFF" and len(head) > 8:
        size = struct.unpack("<I", head[4:8])[0]
        if not 0 < size < OPEN_SIZE:
            return audio
        if size > WHOLE_BYTES:
            audio.stated = size + 8
            return audio
    try:
        return read_pipe(path, audio._file, head)
    finally:
        audio.close()


def _read_some(audio: LiveAudio) -> bytes:
    try:
        return audio._wait(16 - len(audio._head))
    except OSError as e:
        raise BadUtterance("unreadable-audio", f"{audio.name}: {inputs.explain_error(e)}") from e
