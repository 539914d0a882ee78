"""What decoding a recording with libsndfile or FFmpeg takes, whole or block by block. N samples, C channels."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

from ds2cli.audio.source import Source, open_source, source_name
from ds2cli.errors import BadUtterance

Samples = NDArray[np.float32]

# containers that store the duration; for the others FFmpeg estimates it from the bit rate
EXACT_DURATION_FORMATS = frozenset({"nistsphere", "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "ogg", "caf"})

VALID_RATES_HZ = range(1000, 768_001)
"""A header with any other sample rate is broken, and resampling from that rate could fill the memory."""

PLAYLIST_FORMATS = frozenset({"concat", "hls"})
"""Formats that refer to other files, which FFmpeg would open."""

OPEN_OPTIONS: Any = {"options": {"protocol_whitelist": "file"}, "metadata_errors": "replace"}
"""For files of unknown content, which may refer to network addresses and have titles in any encoding."""


@np.errstate(invalid="ignore", over="ignore")
def select_channel(samples: Samples, channel: int | None, name: str) -> Samples:
    """One channel (N,) of samples (N, C), or their mean if `channel` is None; BadUtterance as in `read`."""
    check_channel(samples.shape[1], channel, name)
    mono = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1) if channel is None else samples[:, channel]
    if not np.isfinite(mono).all():
        raise BadUtterance("not-a-number", f"{name}: {int((~np.isfinite(mono)).sum())} samples are NaN or infinite")
    return np.ascontiguousarray(mono, np.float32)


def check_channel(channels: int, channel: int | None, name: str) -> None:
    """BadUtterance "no-such-channel" unless the channel is one of those that a recording has."""
    if channel is not None and channel >= channels:
        raise BadUtterance(
            "no-such-channel", f"{name} has {channels} channels, none is number {channel} (the first is 0)"
        )


def check_rate(rate: int, name: str) -> None:
    """BadUtterance for a sample rate (Hz) that no recording has."""
    if rate not in VALID_RATES_HZ:
        raise BadUtterance("unreadable-audio", f"{name}: its header gives a sample rate of {rate} Hz")


def has_open_length(f: soundfile.SoundFile) -> bool:
    """Whether a header leaves the length open, or was never completed: the file was written to a pipe."""
    return bool(f.frames > 1 << 40 or (f.frames == 0 and f.format in ("WAV", "WAVEX")))


def is_unsupported(e: soundfile.SoundFileError) -> bool:
    """Whether libsndfile does not support the codec, such as G.729 or MP3 in a WAV file."""
    reason = reason_of(e).lower()
    return "unimplemented" in reason or "unknown" in reason or "not supported" in reason


def explain_sndfile_error(e: soundfile.SoundFileError, name: str) -> BadUtterance:
    """The error of a recording that libsndfile cannot read."""
    reason = reason_of(e)
    broken = "truncated-audio" if "lost sync" in reason or "unexpected" in reason.lower() else "unreadable-audio"
    return BadUtterance(broken, f"{name}: {reason}")


def check_count(decoded: int, stated: int, name: str) -> None:
    """BadUtterance if fewer samples were decoded than the header states."""
    if decoded < stated:
        raise BadUtterance("truncated-audio", f"{name}: only {decoded} of {stated} samples could be decoded")


@contextlib.contextmanager
def open_container(source: Source, file: Any = None) -> Iterator[tuple[Any, Any]]:
    """A recording opened with FFmpeg, and its first audio stream; BadUtterance also for errors in the block.

    file: read instead of the source, from where it stands; it need not be seekable.
    """
    name = source_name(source)
    try:
        with av.open(open_source(source) if file is None else file, **OPEN_OPTIONS) as container:
            if container.format.name in PLAYLIST_FORMATS:
                raise BadUtterance("not-audio", f"{name} is a playlist of other files, expected a recording")
            if not container.streams.audio:
                raise BadUtterance("not-audio", f"{name}: this {container.format.name} file has no audio stream")
            yield container, container.streams.audio[0]
    except av.FFmpegError as e:
        raise BadUtterance("unreadable-audio", f"{name}: {e.strerror or e}") from e


def stated_duration(container: Any, stream: Any) -> float | None:
    """The duration of a recording opened with FFmpeg (s), if its container stores it; else it is an estimate."""
    if container.format.name in EXACT_DURATION_FORMATS and stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return None


def check_duration(decoded: int, rate: int, stated_s: float | None, name: str) -> None:
    """BadUtterance if clearly fewer samples were decoded than the container states."""
    if stated_s is not None and decoded < 0.98 * stated_s * rate:
        seconds = decoded / rate
        raise BadUtterance("truncated-audio", f"{name}: {seconds:.2f} s decoded, its header states {stated_s:.2f} s")


def changed_channels(name: str) -> BadUtterance:
    """The error of a recording with another number of channels from some frame on."""
    return BadUtterance("unreadable-audio", f"{name}: the number of channels changes within the file")


def decode_frame(frame: Any) -> Samples:
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


def reason_of(e: Exception) -> str:
    """The message of an error of libsndfile."""
    return str(getattr(e, "error_string", None) or e).strip().rstrip(".")
