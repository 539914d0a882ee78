"""The recording of a manifest row, and its samples at a given rate and speed. Notation: N samples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ds2cli.audio.perturb import change_speed
from ds2cli.audio.read import read
from ds2cli.errors import BadUtterance


@dataclass(frozen=True, slots=True)
class Recording:
    """An audio file, or a segment of one if offset_s is given.

    duration_s: as the row states it: the duration of a copy played `speed` times as fast.
    rate: sample rate of the file, if the row states it (Hz).  channel: of the file, from 0, if the row states one.
    """

    path: str
    offset_s: float | None = None
    duration_s: float | None = None
    speed: float = 1.0
    rate: int | None = None
    channel: int | None = None

    @property
    def file_duration_s(self) -> float | None:
        """Its duration in the file, before any change of speed (s)."""
        return None if self.duration_s is None else self.duration_s * self.speed


def parse_recording(row: Mapping[str, Any]) -> Recording | None:
    """The recording that a row names; None for a row without audio."""
    if not row.get("audio_filepath"):
        return None
    return Recording(
        row["audio_filepath"],
        row.get("offset"),
        row.get("duration"),
        row.get("speed", 1.0),
        row.get("sample_rate"),
        row.get("channel"),
    )


def read_samples(
    recording: Recording, rate: int, factor: float = 1.0, channel: int | None = None
) -> NDArray[np.float32]:
    """The samples (N,) at `rate` Hz, as `ds2 featurize` reads them.

    factor: speed relative to the row's own.  channel: of recordings whose rows state none; None for the mean of all.
    BadUtterance "truncated-audio" and the reasons of `read`.
    """
    expected_s = recording.file_duration_s
    channel = channel if recording.channel is None else recording.channel
    if recording.offset_s is None:
        samples, file_rate = read(recording.path, channel=channel)
    else:
        samples, file_rate = read(recording.path, channel=channel, offset_s=recording.offset_s, duration_s=expected_s)
    seconds = len(samples) / file_rate
    if expected_s is not None and seconds < 0.9 * expected_s:
        raise BadUtterance(
            "truncated-audio", f"{recording.path} has {seconds:.2f} s, the row states {expected_s:.2f} s"
        )
    return change_speed(samples, recording.speed * factor, file_rate, rate)


def count_samples(recording: Recording, rate: int, factor: float = 1.0) -> int | None:
    """The number of samples that `read_samples` returns, without reading them; None if the row states no duration.

    Exact if the duration is that of the file to the microsecond, as `ds2 prepare` writes it, and the file's sample rate
    is stated or divides `rate` or 2 * `rate`. For other, unstated rates it may be one too many.
    """
    seconds = recording.file_duration_s
    if seconds is None:
        return None
    if recording.rate is None:
        # half a sample rounds up, even if rounding to the microsecond took a little of it
        return math.floor(seconds * rate / (recording.speed * factor) + 0.51)
    return math.floor(round(seconds * recording.rate) * rate / (recording.rate * recording.speed * factor) + 0.5)
