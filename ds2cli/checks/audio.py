"""Checks of a row against its recording: duration, rate, channel, segment, and its samples. N samples."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from ds2cli import memory
from ds2cli.audio.codecs import check_channel
from ds2cli.audio.level import mean_square
from ds2cli.audio.read import AudioInfo, probe, read
from ds2cli.audio.recording import Recording
from ds2cli.checks.faults import Finding
from ds2cli.errors import BadUtterance

Samples = NDArray[np.float32]

RUN = 3
"""Consecutive samples at the peak that count as clipped; of a wave that is not clipped one or two have it."""


@dataclass(frozen=True)
class AudioChecks:
    """What is checked of recordings.

    decode: decode them, or trust their headers.  tolerance_s: allowed error of durations (s).  silence_db: highest RMS
    level of silence (dBFS).  max_dc: largest mean (of full scale).  max_clipped: largest share of clipped samples.
    """

    decode: bool = True
    tolerance_s: float = 0.1
    silence_db: float = -60.0
    max_dc: float = 0.01
    max_clipped: float = 0.001


def check_recording(recording: Recording, checks: AudioChecks) -> tuple[list[Finding], int]:
    """All that is wrong with the recording of a row, and a hash of its samples; 0 without decoding, and for silence.

    The samples are hashed, and not the bytes of the file: the same recording may be in files of other formats or names,
    or in a segment of a longer one.
    """
    found: list[Finding] = []
    try:
        is_segment = recording.offset_s is not None
        if is_segment or not checks.decode:
            info = _probe(recording.path, _version(recording.path))
            found += _compare(recording, info.duration_s, info.sample_rate, checks)
            check_channel(info.channels, recording.channel, recording.path)
        if not checks.decode or any(kind == "bad-segment" for kind, _ in found):
            return found, 0
        samples, rate = memory.fit_utterance(partial(_read, recording), "the recording", memory.SHORTER)
        if not is_segment:
            found += _compare(recording, len(samples) / rate, rate, checks)
        found += check_samples(samples, checks)
    except BadUtterance as e:
        return [*found, (e.reason, e.detail)], 0
    is_silent = any(kind == "silence" for kind, _ in found)
    return found, 0 if is_silent else hash_samples(samples, rate)


def check_samples(samples: Samples, checks: AudioChecks) -> list[Finding]:
    """Silence, clipping and an offset of the mean in samples (N,) of full scale 1. BadUtterance "not-a-number"."""
    power = mean_square(samples)
    level = 10 * np.log10(power) if power > 0 else -np.inf
    if level < checks.silence_db:
        shown = f"{level:.0f} dBFS" if power > 0 else "digital silence"
        return [("silence", f"the recording is silent: {shown}, expected a level above {checks.silence_db:g} dBFS")]
    found: list[Finding] = []
    mean = float(samples.mean(dtype=np.float64))
    if abs(mean) > checks.max_dc:
        found.append(("dc-offset", f"the mean is {mean:.3f} of full scale, expected at most {checks.max_dc:g}"))
    share = clipped_share(samples)
    if share > checks.max_clipped:
        peak = float(np.abs(samples).max())
        detail = f"{100 * share:.1f} % of the samples are clipped, at {peak:.2f} of full scale"
        found.append(("clipping", f"{detail}, expected at most {100 * checks.max_clipped:g} %"))
    return found


def clipped_share(samples: Samples) -> float:
    """The share of samples (N,) in runs of at least RUN at the highest or the lowest value.

    Values within 1e-4 of the peak count as the peak: lossy formats and resampling change the last digits.
    """
    total = 0
    for peak, is_at_peak in ((samples.max(), np.greater_equal), (samples.min(), np.less_equal)):
        if abs(peak) < 0.05:
            continue
        at_peak = np.zeros(len(samples) + 2, np.int8)
        at_peak[1:-1] = is_at_peak(samples, peak - np.sign(peak) * 1e-4)
        edges = np.flatnonzero(np.diff(at_peak))
        lengths = edges[1::2] - edges[::2]
        total += int(lengths[lengths >= RUN].sum())
    return total / max(1, len(samples))


def hash_samples(samples: Samples, rate: int) -> int:
    """A hash of samples (N,) at a rate (Hz), not 0, of 63 bits."""
    data = np.ascontiguousarray(samples, np.float32)
    digest = hashlib.blake2b(data.tobytes(), digest_size=8, salt=rate.to_bytes(8, "little")).digest()
    return int.from_bytes(digest, "little") >> 1 or 1


def _read(recording: Recording) -> tuple[Samples, int]:
    """The samples of the file or of the segment; a little less than the segment at the end of the file is enough."""
    if recording.offset_s is None:
        return read(recording.path, channel=recording.channel)
    duration_s = recording.file_duration_s
    return read(recording.path, channel=recording.channel, offset_s=recording.offset_s, duration_s=duration_s)


def _compare(recording: Recording, duration_s: float, rate: int, checks: AudioChecks) -> list[Finding]:
    """What a row states, compared with the duration (s) and the sample rate (Hz) of its file."""
    found: list[Finding] = []
    stated, speed = recording.file_duration_s, recording.speed
    played = f" at speed {speed:g}" if speed != 1 else ""
    if recording.offset_s is not None:
        end = recording.offset_s + (stated or 0.0)
        if recording.offset_s >= duration_s:
            detail = f"the segment begins at {recording.offset_s:g} s, {recording.path} has {duration_s:.2f} s"
            found.append(("bad-segment", detail))
        elif end > duration_s + checks.tolerance_s:
            detail = f"the segment ends at {end:.2f} s{played}, {recording.path} has {duration_s:.2f} s"
            found.append(("bad-segment", f"{detail} (ds2 data fix --audio header clips it)"))
    elif stated is not None and abs(stated - duration_s) > checks.tolerance_s:
        found.append(
            (
                "wrong-duration",
                f"the row states {stated:g} s{played}, {recording.path} has {duration_s:.2f} s "
                "(ds2 data fix --audio header measures it)",
            )
        )
    if recording.rate is not None and recording.rate != rate:
        detail = f"the row states {recording.rate} Hz, {recording.path} has {rate} Hz"
        found.append(("wrong-rate", f"{detail} (ds2 data fix --audio header corrects it)"))
    return found


def _version(path: str) -> tuple[int, int]:
    """Size and time of a file, which change with its content; (0, 0) if there is none."""
    try:
        status = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):
        return 0, 0
    return status.st_size, status.st_mtime_ns


@lru_cache(maxsize=64)
def _probe(path: str, _version: tuple[int, int]) -> AudioInfo:
    """The header of a recording, once for all its segments: formats without a length are decoded to find it."""
    return probe(path, decode=False)
