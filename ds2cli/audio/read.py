"""Read an audio file (or its bytes), or a segment of it, as float32 samples. Notation: N samples, C channels.

WAV, FLAC, Ogg, AIFF and AU are read with libsndfile, all other formats (G.722, MP3, AAC, Opus, SPHERE, WebM, …) with
PyAV, whose wheels include FFmpeg. The first bytes decide, not the name: a text file named .wav is "not-audio", and
FFmpeg is tried last on what neither the bytes nor the name tell.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

from ds2cli.audio.formats import FFMPEG_SUFFIXES, HEADERLESS_SUFFIXES
from ds2cli.audio.source import Source, open_source, read_head, source_name
from ds2cli.errors import BadUtterance, UsageError

Samples = NDArray[np.float32]

SNDFILE_MAGIC = (b"RIFF", b"RIFX", b"RF64", b"fLaC", b"OggS", b"FORM", b".snd")
FFMPEG_MAGIC = (b"ID3", b"NIST_1A", b"\x1aE\xdf\xa3", b"caff", b"#!AMR", b"wvpk", b"\xff\xfb", b"\xff\xf3", b"\xff\xf1")
# containers that store the duration; for the others FFmpeg estimates it from the bit rate
EXACT_DURATION_FORMATS = frozenset({"nistsphere", "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "ogg", "caf"})

RIFF_SIZE_TOLERANCE = 64
"""Bytes by which the size in a WAV header may be wrong: some writers miscount their own header."""

VALID_RATES_HZ = range(1000, 768_001)
"""A header with any other sample rate is broken, and resampling from that rate could fill the memory."""

PLAYLIST_FORMATS = frozenset({"concat", "hls"})
"""Formats that refer to other files, which FFmpeg would open."""

FRAME_STARTS = {"mp3": (b"ID3", b"\xff"), "aac": (b"ID3", b"\xff"), "ac3": (b"\x0b\x77",), "eac3": (b"\x0b\x77",)}
"""How formats without a file header start: FFmpeg also finds their frames inside of archives of recordings."""

OPEN_OPTIONS: Any = {"options": {"protocol_whitelist": "file"}, "metadata_errors": "replace"}
"""For files of unknown content, which may refer to network addresses and have titles in any encoding."""

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
    if channel is not None and channel >= samples.shape[1]:
        raise BadUtterance(
            "no-such-channel", f"{name} has {samples.shape[1]} channels, none is number {channel} (the first is 0)"
        )
    mono = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1) if channel is None else samples[:, channel]
    if not np.isfinite(mono).all():
        raise BadUtterance("not-a-number", f"{name}: {int((~np.isfinite(mono)).sum())} samples are NaN or infinite")
    return np.ascontiguousarray(mono, np.float32), rate


@np.errstate(invalid="ignore", over="ignore")
def probe(source: Source, *, decode: bool = True) -> AudioInfo:
    """Duration, sample rate and channels of a file.

    decode: decode the whole file, which finds truncated and broken ones; otherwise the header is trusted where
    libsndfile reads the format.
    BadUtterance as in `read`.
    """
    if not decode and _is_sndfile_format(source):
        try:
            info = soundfile.info(open_source(source))
        except soundfile.SoundFileError as e:
            raise BadUtterance("unreadable-audio", f"{source_name(source)}: {_reason(e)}") from e
        # without samples in the header the file may still have some
        if info.frames:
            return AudioInfo(info.frames / info.samplerate, info.samplerate, info.channels)
    samples, rate = _decode(source, 0.0, None)
    if not len(samples):
        raise BadUtterance("no-samples", f"{source_name(source)} has a header but no samples")
    if not np.isfinite(samples).all():
        bad = int((~np.isfinite(samples)).sum())
        raise BadUtterance("not-a-number", f"{source_name(source)}: {bad} samples are NaN or infinite")
    return AudioInfo(len(samples) / rate, rate, samples.shape[1])


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
    decode = _decode_sndfile if _is_sndfile_format(source) else _decode_ffmpeg
    samples, rate = decode(source, offset_s, duration_s)
    if len(samples) and rate not in VALID_RATES_HZ:
        raise BadUtterance("unreadable-audio", f"{source_name(source)}: its header gives a sample rate of {rate} Hz")
    return samples, rate


def _is_sndfile_format(source: Source) -> bool:
    """Whether libsndfile (rather than FFmpeg) reads the source, by its first bytes; BadUtterance if neither does."""
    name, (head, size) = source_name(source), read_head(source)
    suffix = Path(name).suffix.lower()
    if not head:
        raise BadUtterance("empty-file", f"{name} is empty (0 bytes)")
    if head.startswith(SNDFILE_MAGIC):
        if head[:4] == b"RIFF" and size > 8:
            _check_riff(head, size, name)
        return True
    if suffix in FFMPEG_SUFFIXES or head.startswith(FFMPEG_MAGIC) or head[4:8] == b"ftyp":
        return False
    if suffix in HEADERLESS_SUFFIXES:
        fix = f"ffmpeg -f mulaw -ar 8000 -i {name} {Path(name).stem}.wav, if that is what it is"
        raise BadUtterance(
            "unreadable-audio", f"{name} has no header: its sample rate and encoding are unknown ({fix})"
        )
    if is_audio(source):
        return False
    raise BadUtterance("not-audio", f"{name} is not in a known audio format: it starts with {head[:12]!r}")


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
            # a header that leaves the length open, or was never completed: the file was written to a pipe
            if total > 1 << 40 or (total == 0 and f.format in ("WAV", "WAVEX")):
                return _decode_ffmpeg(source, offset_s, duration_s)
            start = min(round(offset_s * rate), total)
            wanted = total - start if duration_s is None else min(round(duration_s * rate), total - start)
            if start:
                f.seek(start)
            samples = f.read(wanted, dtype="float32", always_2d=True)
    except soundfile.SoundFileError as e:
        reason = _reason(e)
        # a codec that libsndfile does not support, such as G.729 or MP3 in a WAV file
        if "unimplemented" in reason.lower() or "unknown" in reason.lower() or "not supported" in reason.lower():
            return _decode_ffmpeg(source, offset_s, duration_s)
        broken = "truncated-audio" if "lost sync" in reason or "unexpected" in reason.lower() else "unreadable-audio"
        raise BadUtterance(broken, f"{name}: {reason}") from e
    except MemoryError:
        raise BadUtterance(
            "unreadable-audio", f"{name}: its header states {total} samples, more than fit in memory"
        ) from None
    if len(samples) < wanted:
        raise BadUtterance("truncated-audio", f"{name}: only {len(samples)} of {wanted} samples could be decoded")
    return samples, rate


def _decode_ffmpeg(source: Source, offset_s: float, duration_s: float | None) -> tuple[Samples, int]:
    name = source_name(source)
    try:
        with av.open(open_source(source), **OPEN_OPTIONS) as container:
            if container.format.name in PLAYLIST_FORMATS:
                raise BadUtterance("not-audio", f"{name} is a playlist of other files, expected a recording")
            if not container.streams.audio:
                raise BadUtterance("not-audio", f"{name}: this {container.format.name} file has no audio stream")
            stream = container.streams.audio[0]
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
                    end = None if duration_s is None else round((offset_s + duration_s) * rate)
                parts.append(_float(frame))
                if end is not None and start + sum(map(len, parts)) >= end:
                    break
            stated = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
            exact = container.format.name in EXACT_DURATION_FORMATS
    except av.FFmpegError as e:
        raise BadUtterance("unreadable-audio", f"{name}: {e.strerror or e}") from e
    if len({part.shape[1] for part in parts}) > 1:
        raise BadUtterance("unreadable-audio", f"{name}: the number of channels changes within the file")
    samples = np.concatenate(parts) if parts else np.zeros((0, 1), np.float32)
    if exact and end is None and start + len(samples) < 0.98 * stated * rate:
        seconds = len(samples) / rate
        raise BadUtterance("truncated-audio", f"{name}: {seconds:.2f} s decoded, its header states {stated:.2f} s")
    begin = round(offset_s * rate) - start
    return samples[max(0, begin) : None if end is None else end - start], rate


def _float(frame: Any) -> Samples:
    """One decoded frame as (N, C) float32 in -1 … 1; BadUtterance for a sample format that numpy does not have."""
    try:
        data = frame.to_ndarray()
    except ValueError as e:
        raise BadUtterance("unreadable-audio", str(e)) from e
    if not frame.format.is_planar:
        data = data.reshape(-1, frame.layout.nb_channels).T
    if data.dtype == np.uint8:
        data, full = data.astype(np.int16) - 128, 128.0
    else:
        full = np.iinfo(data.dtype).max + 1.0 if np.issubdtype(data.dtype, np.integer) else 1.0
    return np.asarray(data.T, np.float32) / np.float32(full)


def _reason(e: Exception) -> str:
    return str(getattr(e, "error_string", None) or e).strip().rstrip(".")


def parse_channel(text: str) -> int | None:
    """The channel number in the option --channel; None for `mix`. UsageError for anything else."""
    if text == "mix":
        return None
    if not (text.isascii() and text.isdigit()):
        raise UsageError(f"--channel {text!r}: expected mix or a channel number from 0")
    return int(text)
