"""Statistics for mean and variance normalization of features. Notation: T frames, F bins.

The layout is Kaldi's (transform/cmvn.h), a double matrix (2, F + 1): row 0 holds the sum of each bin, then the number
of frames; row 1 the sum of squares of each bin, then 0. The statistics of two parts of a corpus add up.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BLOCK = 256
"""Frames summed at a time in float32."""

STD_FLOOR = 1e-3
"""No bin is scaled up more than a thousandfold: a constant bin carries no information."""


def empty(num_bins: int) -> NDArray[np.float64]:
    """Statistics of zero frames: zeros (2, F + 1)."""
    return np.zeros((2, num_bins + 1))


def accumulate(stats: NDArray[np.float64], features: NDArray[np.float32]) -> None:
    """Add features (T, F) to stats (2, F + 1) in place."""
    # float32 is fast and exact enough within a block; float64 across blocks does not drift
    for start in range(0, len(features), BLOCK):
        block = features[start : start + BLOCK]
        stats[0, :-1] += block.sum(axis=0)
        stats[1, :-1] += np.square(block).sum(axis=0)
    stats[0, -1] += len(features)


def mean_std(stats: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean (F,) and standard deviation (F,), at least STD_FLOOR; 0 and 1 for statistics of zero frames."""
    frames = stats[0, -1]
    if frames <= 0:
        return np.zeros(stats.shape[1] - 1, np.float32), np.ones(stats.shape[1] - 1, np.float32)
    mean = stats[0, :-1] / frames
    variance = np.maximum(stats[1, :-1] / frames - mean**2, 0)
    return mean.astype(np.float32), np.maximum(np.sqrt(variance), STD_FLOOR).astype(np.float32)
