"""Read audio: a file (or its bytes) and a segment in it, to float32 samples. Letters: N samples, C channels.

WAV, FLAC, Ogg, AIFF and AU go through libsndfile; all else that FFmpeg knows (G.722, MP3, AAC, Opus, SPHERE, WebM, …)
through PyAV, whose wheels carry FFmpeg. The first bytes decide, not the name: a text file named .wav is "not-audio".
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

from ds2cli.errors import BadUtterance, UsageError

Samples = NDArray[np.float32]
Source = str | os.PathLike[str] | bytes

SNDFILE_MAGIC = (b"RIFF", b"RIFX", b"RF64", b"fLaC", b"OggS", b"FORM", b".snd")
# names whose content carries no signature at its start, or one that FFmpeg finds better than a table here
FFMPEG_SUFFIXES = frozenset(
    {".3gp", ".aac", ".ac3", ".amr", ".ape", ".caf", ".g722", ".m4a", ".m4b", ".mka", ".mkv", ".mov", ".mp2", ".mp3"}
    | {".mp4", ".oga", ".ogg", ".opus", ".sph", ".tta", ".webm", ".wma", ".wv"}
)
FFMPEG_MAGIC = (b"ID3", b"NIST_1A", b"\x1aE\xdf\xa3", b"caff", b"#!AMR", b"wvpk", b"\xff\xfb", b"\xff\xf3", b"\xff\xf1")
# containers that state their length, as opposed to one that FFmpeg estimates from the bit rate
STATES_ITS_LENGTH = frozenset({"nistsphere", "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "ogg", "caf"})
SUFFIXES = FFMPEG_SUFFIXES | {".wav", ".flac", ".aif", ".aiff", ".au", ".snd"}
"""File names that are taken for audio when a folder is searched."""

SLOPPY_HEADER_BYTES = 64
"""Writers that count their own header wrongly are off by less than this."""

RATES_HZ = range(1000, 768_001)
"""A header that says another rate is broken, and resampling by what it says could fill the memory."""

LISTS = frozenset({"concat", "hls"})
"""What FFmpeg would follow to other files."""

PREROLL_S = 1.0
"""Decoded before a segment and thrown away: G.722 adapts, MP3 and Opus refer to earlier frames."""


@dataclass(frozen=True)
class Info:
    """What a file holds: its length, its rate in Hz, its channels."""

    duration_s: float
    sample_rate: int
    channels: int


def read(
    source: Source, *, channel: int | None = None, offset_s: float = 0.0, duration_s: float | None = None
) -> tuple[Samples, int]:
    """Samples (N,) in -1 … 1 and the sample rate of a file or of its bytes.

    channel: which one of several, from 0; None takes their mean.  offset_s, duration_s: the segment, else all of it.
    BadUtterance: missing-audio, not-utf8 (its name), empty-file, not-audio, unreadable-audio, truncated-audio,
    no-samples, not-a-number, no-such-channel, bad-segment.
    """
    name = _name(source)
    samples, rate = _decode(source, offset_s, duration_s)
    if not len(samples):
        if offset_s > 0:
            raise BadUtterance("bad-segment", f"{name} ends before the segment's start at {offset_s:g} s")
        raise BadUtterance("no-samples", f"{name} has a header and no samples")
    if duration_s is not None and len(samples) < 0.9 * duration_s * rate:
        raise BadUtterance("truncated-audio", f"{name} has {len(samples) / rate:.2f} s of the {duration_s:g} s wanted")
    if channel is not None and channel >= samples.shape[1]:
        raise BadUtterance("no-such-channel", f"{name} has {samples.shape[1]} channels, wanted number {channel} from 0")
    one = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1) if channel is None else samples[:, channel]
    if not np.isfinite(one).all():
        raise BadUtterance("not-a-number", f"{name}: {int((~np.isfinite(one)).sum())} samples are NaN or infinite")
    return np.ascontiguousarray(one, np.float32), rate


def probe(source: Source, *, decode: bool = True) -> Info:
    """Length, rate and channels of a file.

    decode: read all of it, so that what is truncated or broken shows; otherwise libsndfile's headers are believed.
    BadUtterance as `read`.
    """
    if not decode and _by_sndfile(source):
        try:
            info = soundfile.info(_open(source))
        except soundfile.SoundFileError as e:
            raise BadUtterance("unreadable-audio", f"{_name(source)}: {_reason(e)}") from e
        if not info.frames:
            raise BadUtterance("no-samples", f"{_name(source)} has a header and no samples")
        return Info(info.frames / info.samplerate, info.samplerate, info.channels)
    samples, rate = _decode(source, 0.0, None)
    if not len(samples):
        raise BadUtterance("no-samples", f"{_name(source)} has a header and no samples")
    if not np.isfinite(samples).all():
        bad = int((~np.isfinite(samples)).sum())
        raise BadUtterance("not-a-number", f"{_name(source)}: {bad} samples are NaN or infinite")
    return Info(len(samples) / rate, rate, samples.shape[1])


def _decode(source: Source, offset_s: float, duration_s: float | None) -> tuple[Samples, int]:
    """Samples (N, C) of a segment, and the rate."""
    decode = _decode_sndfile if _by_sndfile(source) else _decode_ffmpeg
    samples, rate = decode(source, offset_s, duration_s)
    if len(samples) and rate not in RATES_HZ:
        raise BadUtterance("unreadable-audio", f"{_name(source)}: its header says {rate} samples a second")
    return samples, rate


def _by_sndfile(source: Source) -> bool:
    """Which library reads the source, by its first bytes; BadUtterance when neither does."""
    name = _name(source)
    if isinstance(source, bytes):
        head, size, suffix = source[:16], len(source), ""
    elif any("\ud800" <= c <= "\udfff" for c in name):
        raise BadUtterance("not-utf8", f"the file name {name!r} is not UTF-8 (fix: convmv -f latin1 -t utf-8 --notest)")
    else:
        try:
            with Path(source).open("rb") as f:
                head, size = f.read(16), os.fstat(f.fileno()).st_size
        except FileNotFoundError:
            raise BadUtterance("missing-audio", f"no file {name}") from None
        except OSError as e:
            raise BadUtterance("unreadable-audio", f"{name}: {(e.strerror or str(e)).lower()}") from e
        suffix = Path(source).suffix.lower()
    if not head:
        raise BadUtterance("empty-file", f"{name} has 0 bytes")
    if head.startswith(SNDFILE_MAGIC):
        if head[:4] == b"RIFF" and size > 8:
            _check_riff(head, size, name)
        return True
    if suffix in FFMPEG_SUFFIXES or head.startswith(FFMPEG_MAGIC) or head[4:8] == b"ftyp":
        return False
    raise BadUtterance("not-audio", f"{name} starts with {head[:12]!r}, no audio format known here does")


def _check_riff(head: bytes, size: int, name: str) -> None:
    """A WAV file that is shorter than it says; libsndfile would return what is left without a word."""
    said = struct.unpack("<I", head[4:8])[0]
    # a WAV written to a pipe says 0 or almost 2 or 4 GiB, as its length was not known
    if size + SLOPPY_HEADER_BYTES < said + 8 < 0x7FFF0000:
        raise BadUtterance("truncated-audio", f"{name} has {size} bytes, its header says {said + 8}")


def _decode_sndfile(source: Source, offset_s: float, duration_s: float | None) -> tuple[Samples, int]:
    name = _name(source)
    try:
        with soundfile.SoundFile(_open(source)) as f:
            rate, total = f.samplerate, f.frames
            if total > 1 << 40:  # a stream whose header leaves the length open
                return _decode_ffmpeg(source, offset_s, duration_s)
            start = min(round(offset_s * rate), total)
            wanted = total - start if duration_s is None else min(round(duration_s * rate), total - start)
            if start:
                f.seek(start)
            samples = f.read(wanted, dtype="float32", always_2d=True)
    except soundfile.SoundFileError as e:
        reason = _reason(e)
        # a codec that libsndfile does not have, as G.729 or MP3 in a WAV file
        if "unimplemented" in reason.lower() or "unknown" in reason.lower() or "not supported" in reason.lower():
            return _decode_ffmpeg(source, offset_s, duration_s)
        broken = "truncated-audio" if "lost sync" in reason or "unexpected" in reason.lower() else "unreadable-audio"
        raise BadUtterance(broken, f"{name}: {reason}") from e
    except MemoryError:
        raise BadUtterance("unreadable-audio", f"{name}: its header says {total} samples, too many") from None
    if len(samples) < wanted:
        raise BadUtterance("truncated-audio", f"{name}: {len(samples)} of {wanted} samples could be decoded")
    return samples, rate


def _decode_ffmpeg(source: Source, offset_s: float, duration_s: float | None) -> tuple[Samples, int]:
    name = _name(source)
    try:
        with av.open(_open(source)) as container:
            if not container.streams.audio or container.format.name in LISTS:
                raise BadUtterance("not-audio", f"{name}: {container.format.name} without an audio stream")
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
                    # without a timestamp the decoder is at the start, as no seek was possible
                    at = 0 if frame.pts is None else (frame.pts - first) * (stream.time_base or 0)
                    start = max(0, round(at * rate)) if offset_s > PREROLL_S else 0
                    end = None if duration_s is None else round((offset_s + duration_s) * rate)
                parts.append(_float(frame))
                if end is not None and start + sum(map(len, parts)) >= end:
                    break
            stated = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
            exact = container.format.name in STATES_ITS_LENGTH
    except av.FFmpegError as e:
        raise BadUtterance("unreadable-audio", f"{name}: {e.strerror or e}") from e
    if len({part.shape[1] for part in parts}) > 1:
        raise BadUtterance("unreadable-audio", f"{name}: the number of channels changes within it")
    samples = np.concatenate(parts) if parts else np.zeros((0, 1), np.float32)
    if exact and end is None and start + len(samples) < 0.98 * stated * rate:
        seconds = len(samples) / rate
        raise BadUtterance("truncated-audio", f"{name}: {seconds:.2f} s decoded, its header says {stated:.2f} s")
    begin = round(offset_s * rate) - start
    return samples[max(0, begin) : None if end is None else end - start], rate


def _float(frame: Any) -> Samples:
    """One decoded frame as (N, C) float32 in -1 … 1; BadUtterance for samples that have no numpy type."""
    try:
        data = frame.to_ndarray()
    except ValueError as e:
        raise BadUtterance("unreadable-audio", str(e)) from e
    if not frame.format.is_planar:
        data = data.reshape(-1, frame.layout.nb_channels).T
    if data.dtype == np.uint8:
        data = data.astype(np.int16) - 128
        full = 128.0
    else:
        full = np.iinfo(data.dtype).max + 1.0 if np.issubdtype(data.dtype, np.integer) else 1.0
    return np.asarray(data.T, np.float32) / np.float32(full)


def _open(source: Source) -> Any:
    return io.BytesIO(source) if isinstance(source, bytes) else os.fspath(source)


def _name(source: Source) -> str:
    return "<stdin>" if isinstance(source, bytes) else os.fspath(source)


def _reason(e: Exception) -> str:
    return str(getattr(e, "error_string", None) or e).strip().rstrip(".")


def channel_number(text: str) -> int | None:
    """The channel asked for, None for the mean of all; UsageError when it is neither a number nor mix."""
    if text == "mix":
        return None
    if not (text.isascii() and text.isdigit()):
        raise UsageError(f"--channel {text!r}: expected mix or a number from 0")
    return int(text)


def find(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """The audio files below a folder, by name, in sorted order."""
    yield from sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
