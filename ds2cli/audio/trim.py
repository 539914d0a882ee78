"""Where the sound of a clip begins and ends, by its energy, and the level of its quiet parts. Notation: N samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]

FRAME_S, HOP_S = 0.010, 0.005
"""Length of the frames whose power is compared, and the time from one to the next (s)."""

BELOW_LOUD_DB, ABOVE_QUIET_DB = 35.0, 10.0
"""Sound is what is less than this below the loud frames, and more than this above the quiet ones."""

MIN_RANGE_DB = 20.0
"""If the threshold is less than this below the loud frames, weak consonants are lost in the background."""

UNSURE_DB, UNSURE_S = 3.0, 0.05
"""An edge that a threshold this much higher or lower moves by more than this is unsure: breath, an echo, a fade."""


def find_sound(samples: Samples, rate: int) -> tuple[int, int] | None:
    """The first sample of the sound in a clip (N,) and the one after its last; None if that is unsure."""
    power = frame_power(samples, rate)
    if not len(power) or not np.isfinite(power).all() or power.max() <= 0:
        return None
    # digital silence has no logarithm
    decibels = 10 * np.log10(np.maximum(power, 1e-10 * power.max()))
    quiet, loud = np.percentile(decibels, (5, 95)).tolist()
    threshold = max(loud - BELOW_LOUD_DB, quiet + ABOVE_QUIET_DB)
    if loud - threshold < MIN_RANGE_DB:
        return None
    edges = [_edges(decibels, threshold + shift, len(samples), rate) for shift in (0.0, -UNSURE_DB, UNSURE_DB)]
    if any(max(edge) - min(edge) > UNSURE_S * rate for edge in zip(*edges, strict=True)):
        return None
    return edges[0]


def quiet_level(samples: Samples, rate: int) -> float:
    """The RMS of the quiet frames of a clip: that of its 10th percentile; 0 for a clip shorter than a frame."""
    power = frame_power(samples, rate)
    return float(np.sqrt(np.percentile(power, 10))) if len(power) else 0.0


def frame_power(samples: Samples, rate: int) -> NDArray[np.float64]:
    """The mean power of each frame."""
    size, hop = round(FRAME_S * rate), round(HOP_S * rate)
    sums = np.concatenate([[0.0], np.cumsum(np.square(samples, dtype=np.float64))])
    starts = np.arange(0, len(samples) - size + 1, hop)
    # the difference of two sums may be a little below 0
    power: NDArray[np.float64] = np.maximum(sums[starts + size] - sums[starts], 0) / size
    return power


def _edges(decibels: NDArray[np.float64], threshold: float, length: int, rate: int) -> tuple[int, int]:
    size, hop = round(FRAME_S * rate), round(HOP_S * rate)
    loud = np.flatnonzero(decibels > threshold)
    begin, end = int(loud[0]) * hop, int(loud[-1]) * hop + size
    # the last samples may not fill a frame
    return begin, length if length - end < hop else end
