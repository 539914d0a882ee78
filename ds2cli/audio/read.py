"""Read an audio file (or its bytes), or a segment of it, as float32 samples. Notation: N samples, C channels.

WAV, FLAC, Ogg, AIFF and AU are read with libsndfile, all other formats (G.722, MP3, AAC, Opus, SPHERE, WebM, …) with
PyAV, whose wheels include FFmpeg. The first bytes decide, not the name: a text file named .wav is "not-audio", and
FFmpeg is tried last on what neither the bytes nor the name tell.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile

from ds2cli.audio.codecs import (
    OPEN_OPTIONS,
    PLAYLIST_FORMATS,
    Samples,
    changed_channels,
    check_count,
    check_duration,
    check_rate,
    decode_frame,
    explain_sndfile_error,
    has_open_length,
    is_unsupported,
    open_container,
    reason_of,
    select_channel,
    stated_duration,
)
from ds2cli.audio.formats import FFMPEG_SUFFIXES, HEADERLESS_SUFFIXES
from ds2cli.audio.source import Source, open_source, read_head, source_name
from ds2cli.errors import BadUtterance, UsageError

SNDFILE_MAGIC = (b"RIFF", b"RIFX", b"RF64", b"fLaC", b"OggS", b"FORM", b".snd")
SPHERE_MAGIC = b"NIST_1A"
FFMPEG_MAGIC = (
    b"ID3",
    SPHERE_MAGIC,
    b"\x1aE\xdf\xa3",
    b"caff",
    b"#!AMR",
    b"wvpk",
    b"\xff\xfb",
    b"\xff\xf3",
    b"\xff\xf1",
)
RIFF_SIZE_TOLERANCE = 64
"""Bytes by which the size in a WAV header may be wrong: some writers miscount their own header."""

FRAME_STARTS = {"mp3": (b"ID3", b"\xff"), "aac": (b"ID3", b"\xff"), "ac3": (b"\x0b\x77",), "eac3": (b"\x0b\x77",)}
"""How formats without a file header start: FFmpeg also finds their frames inside of archives of recordings."""

LONGEST_S = 1e9
"""Longer than any recording (s), yet its number of samples is finite, unlike that of 1e308 s."""

PREROLL_S = 1.0
"""Audio decoded before a segment and discarded (s): G.722 adapts, MP3 and Opus refer to earlier frames."""


@dataclass(frozen=True)
class AudioInfo:
    """Duration, sample rate (Hz) and number of channels of a file."""

    duration_s: float
    sample_rate: int
    channels: int


@np.errstate(invalid="ignore", over="ignore")
def read(
    source: Source, *, channel: int | None = None, offset_s: float = 0.0, duration_s: float | None = None
) -> tuple[Samples, int]:
    """Samples (N,) in -1 … 1 and the sample rate (Hz) of a file or of its bytes.

    channel: number of the channel, from 0; None averages all channels.
    offset_s, duration_s: the segment [default: the whole file].
    BadUtterance: missing-audio, not-utf8 (the file name), empty-file, not-audio, unreadable-audio, truncated-audio,
    no-samples, not-a-number, no-such-channel, bad-segment.
    """
    name = source_name(source)
    samples, rate = _decode(
        source, min(offset_s, LONGEST_S), None if duration_s is None else min(duration_s, LONGEST_S)
    )
    if not len(samples):
        if offset_s > 0:
            raise BadUtterance("bad-segment", f"{name} ends before the segment starts (at {offset_s:g} s)")
        raise BadUtterance("no-samples", f"{name} has a header but no samples")
    if duration_s is not None and len(samples) < 0.9 * duration_s * rate:
        raise BadUtterance(
            "truncated-audio", f"the segment of {name} has {len(samples) / rate:.2f} s, expected {duration_s:g} s"
        )
    return select_channel(samples, channel, name), rate


@np.errstate(invalid="ignore", over="ignore")
def probe(source: Source, *, decode: bool = True) -> AudioInfo:
    """Duration, sample rate and channels of a file.

    decode: decode the whole file, which finds truncated and broken ones; otherwise the header is trusted where
    libsndfile reads the format, and that of SPHERE files.
    BadUtterance as in `read`.
    """
    if not decode and (info := _read_header(source)) is not None:
        return info
    samples, rate = _decode(source, 0.0, None)
    if not len(samples):
        raise BadUtterance("no-samples", f"{source_name(source)} has a header but no samples")
    if not np.isfinite(samples).all():
        bad = int((~np.isfinite(samples)).sum())
        raise BadUtterance("not-a-number", f"{source_name(source)}: {bad} samples are NaN or infinite")
    return AudioInfo(len(samples) / rate, rate, samples.shape[1])


def _read_header(source: Source) -> AudioInfo | None:
    """What the header of a file states; None if it does not state the exact number of samples."""
    if is_sndfile_format(source):
        try:
            info = soundfile.info(open_source(source))
        except soundfile.SoundFileError as e:
            raise BadUtterance("unreadable-audio", f"{source_name(source)}: {reason_of(e)}") from e
        # without samples in the header the file may still have some
        return AudioInfo(info.frames / info.samplerate, info.samplerate, info.channels) if info.frames else None
    name, (head, size) = source_name(source), read_head(source)
    if not head.startswith(SPHERE_MAGIC):
        return None
    with open_container(source) as (container, stream):
        seconds, codec = stated_duration(container, stream), stream.codec_context
        if seconds is None:
            return None
        check_rate(stream.rate, name)
        if codec.name.startswith("pcm_"):
            check_duration(round(size * 8 / codec.bit_rate * stream.rate), stream.rate, seconds, name)
        return AudioInfo(seconds, stream.rate, codec.layout.nb_channels)


def count_channels(source: Source) -> int:
    """The number of channels that the header of a recording states; nothing is decoded. BadUtterance as in `read`."""
    if is_sndfile_format(source):
        try:
            return int(soundfile.info(open_source(source)).channels)
        except soundfile.SoundFileError as e:
            if not is_unsupported(e):
                raise explain_sndfile_error(e, source_name(source)) from e
    with open_container(source) as (_, stream):
        return int(stream.codec_context.layout.nb_channels)


def is_audio(source: Source) -> bool:
    """Whether FFmpeg recognizes the format and finds an audio stream in it. Nothing is decoded."""
    try:
        with av.open(open_source(source), **OPEN_OPTIONS) as container:
            form, has_audio = container.format.name, bool(container.streams.audio)
        if not has_audio or form in PLAYLIST_FORMATS:
            return False
        return form not in FRAME_STARTS or read_head(source)[0].startswith(FRAME_STARTS[form])
    except (av.FFmpegError, OSError, BadUtterance):
        return False


def _decode(source: Source, offset_s: float, duration_s: float | None) -> tuple[Samples, int]:
    """Samples (N, C) of a segment, and the sample rate (Hz)."""
    decode = _decode_sndfile if is_sndfile_format(source) else _decode_ffmpeg
    samples, rate = decode(source, offset_s, duration_s)
    if len(samples):
        check_rate(rate, source_name(source))
    return samples, rate


def has_known_head(head: bytes) -> bool:
    """Whether the first 16 bytes of a recording are those of a format."""
    return head.startswith(SNDFILE_MAGIC + FFMPEG_MAGIC) or head[4:8] == b"ftyp"


def is_sndfile_format(source: Source) -> bool:
    """Whether libsndfile (rather than FFmpeg) reads the source, by its first bytes; BadUtterance if neither does."""
    name, (head, size) = source_name(source), read_head(source)
    suffix = Path(name).suffix.lower()
    if not head:
        raise BadUtterance("empty-file", f"{name} is empty (0 bytes)")
    if head.startswith(SNDFILE_MAGIC):
        if head[:4] == b"RIFF" and size > 8:
            _check_riff(head, size, name)
        return True
    if suffix in FFMPEG_SUFFIXES or has_known_head(head):
        return False
    if suffix in HEADERLESS_SUFFIXES:
        fix = f"ffmpeg -f mulaw -ar 8000 -i {name} {Path(name).stem}.wav, if that is what it is"
        raise BadUtterance(
            "unreadable-audio", f"{name} has no header: its sample rate and encoding are unknown ({fix})"
        )
    if is_audio(source):
        return False
    raise BadUtterance("not-audio", f"{name} is not in a known audio format: it starts with {_show_bytes(head[:12])}")


def _check_riff(head: bytes, size: int, name: str) -> None:
    """BadUtterance for a WAV file shorter than its header states; libsndfile returns the rest without an error."""
    stated = struct.unpack("<I", head[4:8])[0]
    # a WAV written to a pipe states 0 or almost 2 or 4 GiB, as its length was not known
    if size + RIFF_SIZE_TOLERANCE < stated + 8 < 0x7FFF0000:
        raise BadUtterance("truncated-audio", f"{name} has {size} bytes, its header states {stated + 8}")


def _decode_sndfile(source: Source, offset_s: float, duration_s: float | None) -> tuple[Samples, int]:
    name = source_name(source)
    try:
        with soundfile.SoundFile(open_source(source)) as f:
            rate, total = f.samplerate, f.frames
            if has_open_length(f):
                return _decode_ffmpeg(source, offset_s, duration_s)
            start = min(round(offset_s * rate), total)
            wanted = total - start if duration_s is None else min(round(duration_s * rate), total - start)
            if start:
                f.seek(start)
            samples = f.read(wanted, dtype="float32", always_2d=True)
    except soundfile.SoundFileError as e:
        if is_unsupported(e):
            return _decode_ffmpeg(source, offset_s, duration_s)
        raise explain_sndfile_error(e, name) from e
    except MemoryError:
        raise BadUtterance(
            "unreadable-audio", f"{name}: its header states {total} samples, more than fit in memory"
        ) from None
    check_count(len(samples), wanted, name)
    return samples, rate


def _decode_ffmpeg(source: Source, offset_s: float, duration_s: float | None) -> tuple[Samples, int]:
    name = source_name(source)
    with open_container(source) as (container, stream):
        first = stream.start_time or 0
        if offset_s > PREROLL_S and stream.time_base:
            container.seek(first + int((offset_s - PREROLL_S) / stream.time_base), stream=stream)
        rate = 0
        parts: list[Samples] = []
        start = 0  # sample number of the first decoded sample
        end = None
        for frame in container.decode(stream):
            if not parts:
                rate = frame.sample_rate
                # without timestamps no seek was possible: decoding began at the start
                seek_s = 0 if frame.pts is None else (frame.pts - first) * (stream.time_base or 0)
                start = max(0, round(seek_s * rate)) if offset_s > PREROLL_S else 0
                # as libsndfile's: a duration has the same number of samples at any offset
                end = None if duration_s is None else round(offset_s * rate) + round(duration_s * rate)
            parts.append(decode_frame(frame))
            if end is not None and start + sum(map(len, parts)) >= end:
                break
        stated_s = stated_duration(container, stream)
    if len({part.shape[1] for part in parts}) > 1:
        raise changed_channels(name)
    samples = np.concatenate(parts) if parts else np.zeros((0, 1), np.float32)
    if end is None:
        check_duration(start + len(samples), rate, stated_s, name)
    begin = round(offset_s * rate) - start
    return samples[max(0, begin) : None if end is None else end - start], rate


def _show_bytes(head: bytes) -> str:
    """The first bytes of a file for people: as text in quotes if they are one, else as numbers."""
    if head.isascii() and (text := head.decode().strip()).isprintable():
        return f'"{text}"'
    return head.hex(" ")


def split_channels(row: Mapping[str, Any], channels: int) -> list[dict[str, Any]]:
    """A copy of the row of a recording for each of its channels; the row itself if it has one.

    >>> [row["id"] for row in split_channels({"id": "call"}, 2)]
    ['call-ch0', 'call-ch1']
    """
    if channels == 1:
        return [dict(row)]
    return [{**row, "id": f"{row['id']}-ch{number}", "channel": number} for number in range(channels)]


def parse_channel(text: str, others: str = "") -> int | None:
    """The channel number in the option --channel; None for `mix`. UsageError for anything else.

    others: further words that the command accepts, for the message.
    """
    if text == "mix":
        return None
    if not (text.isascii() and text.isdigit()):
        raise UsageError(f"--channel {text!r}: expected mix{others} or a channel number from 0")
    return int(text)
