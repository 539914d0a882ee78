"""Resampling. Notation: N samples."""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import NDArray


def resample(samples: NDArray[np.float32], rate: float, new_rate: float) -> NDArray[np.float32]:
    """Resample samples (N,) from `rate` to `new_rate` (Hz), band-limited (soxr HQ).

    Returns (round(N * new_rate / rate),) float32.
    """
    if rate == new_rate or not len(samples):
        return samples
    return np.asarray(soxr.resample(samples, rate, new_rate, quality="HQ"), np.float32)
