"""The recording of a row: where its samples are, and the samples at one rate and speed. Letters: N samples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ds2cli.audio.perturb import speed
from ds2cli.audio.read import read
from ds2cli.errors import BadUtterance


@dataclass(frozen=True, slots=True)
class Recording:
    """A file, or a segment of one when offset_s is given.

    duration_s: as the row states it, on the clock of a copy that is played `speed` times as fast.
    rate: of the file, where the row states it (Hz).
    """

    path: str
    offset_s: float | None = None
    duration_s: float | None = None
    speed: float = 1.0
    rate: int | None = None

    @property
    def file_s(self) -> float | None:
        """Its length on the clock of the file (s)."""
        return None if self.duration_s is None else self.duration_s * self.speed


def recording(row: Mapping[str, Any]) -> Recording | None:
    """What a row says of its recording; None where it has none."""
    if not row.get("audio_filepath"):
        return None
    return Recording(
        row["audio_filepath"], row.get("offset"), row.get("duration"), row.get("speed", 1.0), row.get("sample_rate")
    )


def samples(of: Recording, rate: int, factor: float = 1.0, channel: int | None = None) -> NDArray[np.float32]:
    """The samples (N,) at `rate` Hz, played `factor` times as fast as the row has it, as `ds2 featurize` takes them.

    BadUtterance "truncated-audio" and whatever `read` finds.
    """
    if of.offset_s is None:
        found, own_rate = read(of.path, channel=channel)
    else:
        found, own_rate = read(of.path, channel=channel, offset_s=of.offset_s, duration_s=of.file_s)
    seconds = len(found) / own_rate
    if of.file_s is not None and seconds < 0.9 * of.file_s:
        raise BadUtterance("truncated-audio", f"{of.path} has {seconds:.2f} s, the row says {of.file_s:.2f} s")
    return speed(found, of.speed * factor, own_rate, rate)


def num_samples(of: Recording, rate: int, factor: float = 1.0) -> int | None:
    """How many samples `samples` gives, without reading them; None where the row states no duration.

    Exact where it is the file's own to the microsecond, as `ds2 prepare` writes it, and its rate is stated or divides
    `rate` or twice it. At other rates that are not stated it may be one more.
    """
    if of.file_s is None:
        return None
    if of.rate is None:
        # a half of a sample is rounded up, also when the microsecond took a little of it
        return math.floor(of.file_s * rate / (of.speed * factor) + 0.51)
    return math.floor(round(of.file_s * of.rate) * rate / (of.rate * of.speed * factor) + 0.5)
