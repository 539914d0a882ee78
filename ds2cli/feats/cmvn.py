"""Cepstral-style mean and variance statistics that add up over parts. Letters: T frames, F bins.

Kaldi's layout (transform/cmvn.h), a double matrix (2, F + 1): row 0 holds the sum of each bin and last the number of
frames, row 1 the sum of squares and last 0. Two parts are joined by adding their matrices.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BLOCK = 256
STD_FLOOR = 1e-3
"""No bin is scaled up more than a thousandfold: a bin that never changes has no information."""


def empty(num_bins: int) -> NDArray[np.float64]:
    """Statistics of no frames: zeros (2, F + 1)."""
    return np.zeros((2, num_bins + 1))


def accumulate(stats: NDArray[np.float64], features: NDArray[np.float32]) -> None:
    """Add features (T, F) to stats (2, F + 1) in place."""
    # float32 within a block is fast and exact enough, float64 across blocks does not drift
    for start in range(0, len(features), BLOCK):
        block = features[start : start + BLOCK]
        stats[0, :-1] += block.sum(axis=0)
        stats[1, :-1] += np.square(block).sum(axis=0)
    stats[0, -1] += len(features)


def mean_std(stats: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation (F,), (F,) of stats; (0, 1) of no frames; the deviation is at least STD_FLOOR."""
    frames = stats[0, -1]
    if frames <= 0:
        return np.zeros(stats.shape[1] - 1, np.float32), np.ones(stats.shape[1] - 1, np.float32)
    mean = stats[0, :-1] / frames
    variance = np.maximum(stats[1, :-1] / frames - mean**2, 0)
    return mean.astype(np.float32), np.maximum(np.sqrt(variance), STD_FLOOR).astype(np.float32)
