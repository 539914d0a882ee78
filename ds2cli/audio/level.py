"""Signal level. Notation: N samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ds2cli.errors import BadUtterance

BLOCK = 65536
"""Samples summed at a time: one float32 accumulator would lose precision over an hour of audio."""


def mean_square(samples: NDArray[np.float32], dtype: DTypeLike = np.float64) -> float:
    """The mean power of samples (N,), in squared sample units; 0 if there are none.

    dtype: precision within a block of samples; block sums are added in float64. Feature scaling uses float32,
    which is faster.
    BadUtterance "not-a-number" for NaN or infinite samples.
    """
    # no BLAS: the result of its dot product depends on the number of threads, and features must not
    blocks = (samples[i : i + BLOCK] for i in range(0, len(samples), BLOCK))
    with np.errstate(over="ignore"):
        total = sum(float(np.square(block, dtype=dtype).sum()) for block in blocks)
    if not np.isfinite(total):
        count = int((~np.isfinite(samples)).sum())
        detail = (
            f"{count} samples are NaN or infinite" if count else "the samples are so large that their power is infinite"
        )
        raise BadUtterance("not-a-number", detail)
    return total / max(1, len(samples))


def gain(samples: NDArray[np.float32], level_db: float) -> np.float32:
    """The factor that scales samples (N,) to an RMS level of `level_db` dBFS; 1 for digital silence.

    BadUtterance "not-a-number" for NaN or infinite samples.
    """
    power = mean_square(samples, np.float32)
    return np.float32(10 ** (level_db / 20) / power**0.5) if power > 0 else np.float32(1)
