"""Resampling. Notation: N samples."""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import NDArray


def resample(samples: NDArray[np.float32], rate: float, to: float) -> NDArray[np.float32]:
    """Resample samples (N,) from `rate` to `to` Hz, band-limited (soxr HQ): (round(N * to / rate),) float32."""
    if rate == to or not len(samples):
        return samples
    return np.asarray(soxr.resample(samples, rate, to, quality="HQ"), np.float32)
