"""Decode a recording block by block, in memory that does not grow with its length. N samples.

The samples together are those of `read`, and so are the errors; some of them come only at the end.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, NamedTuple

import av
import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from ds2cli.audio.codecs import (
    changed_channels,
    check_count,
    check_duration,
    check_rate,
    decode_frame,
    explain_sndfile_error,
    has_open_length,
    is_unsupported,
    open_container,
    select_channel,
    stated_duration,
)
from ds2cli.audio.live import LiveAudio
from ds2cli.audio.read import is_sndfile_format
from ds2cli.audio.source import Source, open_source, source_name
from ds2cli.errors import BadUtterance

Samples = NDArray[np.float32]

BLOCK = 1 << 16
"""Samples per channel that libsndfile decodes at a time."""


class Blocks(NamedTuple):
    """A recording: its sample rate (Hz), its duration (s) if it is known or can be estimated, its samples (N_i,)."""

    rate: int
    duration_s: float | None
    samples: Iterator[Samples]


@contextlib.contextmanager
def open_blocks(source: Source, channel: int | None = None) -> Iterator[Blocks]:
    """A recording to be read block by block within the context.

    BadUtterance as of `read`, on opening it and with any block.
    """
    with contextlib.ExitStack() as stack:
        if isinstance(source, LiveAudio):
            stack.callback(source.close)
            opened = _open_raw(source) if source.raw_rate else _open_ffmpeg(source, _File(source))
        elif is_sndfile_format(source):
            opened = _open_sndfile(source)
        else:
            opened = _open_ffmpeg(source)
        rate, duration_s, blocks = stack.enter_context(opened)
        yield Blocks(rate, duration_s, _checked(blocks, channel, rate, source_name(source)))


def lasts_longer(source: Source, seconds: float) -> bool:
    """Whether a recording lasts longer, by its header or its packets; nothing is decoded. False if it is unreadable."""
    if isinstance(source, LiveAudio):
        return True
    try:
        if is_sndfile_format(source):
            with contextlib.suppress(soundfile.SoundFileError), soundfile.SoundFile(open_source(source)) as f:
                if not has_open_length(f):
                    return bool(f.frames > seconds * f.samplerate)
        with open_container(source) as (container, stream):
            if (stated_s := stated_duration(container, stream)) is not None:
                return stated_s > seconds
            total = 0.0
            for packet in container.demux(stream):
                total += float((packet.duration or 0) * (packet.time_base or 0))
                if total > seconds:
                    return True
    except BadUtterance:
        pass
    return False


def resample_blocks(blocks: Iterable[Samples], rate: float, new_rate: float) -> Iterator[Samples]:
    """Blocks (N_i,) resampled from `rate` to `new_rate` (Hz); together they are `resample` of the whole, to the bit."""
    if rate == new_rate:
        yield from blocks
        return
    stream = soxr.ResampleStream(rate, new_rate, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.zeros(0, np.float32), last=True)


def _checked(blocks: Iterable[Samples], channel: int | None, rate: int, name: str) -> Iterator[Samples]:
    """One channel of blocks (N_i, C)."""
    count, channels = 0, None
    for block in blocks:
        if not len(block):
            continue
        if channels is None:
            check_rate(rate, name)
            channels = block.shape[1]
        if block.shape[1] != channels:
            raise changed_channels(name)
        count += len(block)
        yield select_channel(block, channel, name)
    if not count:
        raise BadUtterance("no-samples", f"{name} has a header but no samples")


class _File:
    """What PyAV reads a live recording from; a string with a method `read` is a path to it."""

    def __init__(self, audio: LiveAudio) -> None:
        self.name, self.read = str(audio), audio.read


Opened = tuple[int, float | None, Iterator[Samples]]


@contextlib.contextmanager
def _open_sndfile(source: Source) -> Iterator[Opened]:
    name = source_name(source)

    def read(f: soundfile.SoundFile) -> Iterator[Samples]:
        count = 0
        try:
            while len(block := f.read(min(BLOCK, f.frames - count), dtype="float32", always_2d=True)):
                count += len(block)
                yield block
        except soundfile.SoundFileError as e:
            raise explain_sndfile_error(e, name) from e
        check_count(count, f.frames, name)

    with contextlib.ExitStack() as stack:
        try:
            f = stack.enter_context(soundfile.SoundFile(open_source(source)))
        except soundfile.SoundFileError as e:
            if not is_unsupported(e):
                raise explain_sndfile_error(e, name) from e
            yield stack.enter_context(_open_ffmpeg(source))
            return
        if has_open_length(f):
            yield stack.enter_context(_open_ffmpeg(source))
            return
        yield f.samplerate, f.frames / f.samplerate, read(f)


@contextlib.contextmanager
def _open_ffmpeg(source: Source, file: Any = None) -> Iterator[Opened]:
    name = source_name(source)

    def read(frames: Iterator[Any], container: Any, stream: Any) -> Iterator[Samples]:
        count, rate = 0, 0
        try:
            for frame in frames:
                rate = rate or frame.sample_rate
                block = decode_frame(frame)
                count += len(block)
                yield block
        except av.FFmpegError:
            # a packet that the listener cut
            if not _was_ended(source):
                raise
        if not _was_ended(source):
            check_duration(count, rate, stated_duration(container, stream), name)

    with open_container(source, file) as (container, stream):
        frames = container.decode(stream)
        # the rate of the stream may be another one, as that of AAC with spectral band replication
        first = next(frames, None)
        if first is None:
            raise BadUtterance("no-samples", f"{name} has a header but no samples")
        estimate = None if container.duration is None or file is not None else container.duration / 1e6
        yield first.sample_rate, estimate, read(chain([first], frames), container, stream)


def _was_ended(source: Source) -> bool:
    """Whether it is a stream that who listens has ended, before its end: it has less than its header states."""
    return isinstance(source, LiveAudio) and source.ended.is_set()


@contextlib.contextmanager
def _open_raw(source: LiveAudio) -> Iterator[Opened]:
    assert source.raw_rate is not None

    def read() -> Iterator[Samples]:
        rest = b""
        while data := source.read(BLOCK):
            data = rest + data
            whole = len(data) // 2 * 2
            yield (np.frombuffer(data[:whole], "<i2").astype(np.float32) / np.float32(32768))[:, None]
            rest = data[whole:]

    yield source.raw_rate, None, read()
