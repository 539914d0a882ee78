"""Change the sample rate, and with it the speed. Letters: N samples."""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import NDArray


def resample(samples: NDArray[np.float32], rate: float, to: float) -> NDArray[np.float32]:
    """Samples (N,) taken at `rate` Hz as (round(N * to / rate),) at `to` Hz; band-limited (soxr HQ)."""
    if rate == to or not len(samples):
        return samples
    return np.asarray(soxr.resample(samples, rate, to, quality="HQ"), np.float32)
