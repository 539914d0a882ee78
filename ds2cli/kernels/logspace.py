"""Sums of probabilities stored as logarithms."""

from __future__ import annotations

import numpy as np

from ds2cli.kernels._jit import inner_kernel


@inner_kernel
def log_add(a: float, b: float) -> float:
    """log(exp(a) + exp(b)); -inf stands for probability 0."""
    if a < b:
        a, b = b, a
    # more than 40 nats apart the smaller term is below the rounding of the larger; the argument of log is at least 1,
    # so log1p would not be more accurate, and takes twice as long
    return a if b < a - 40.0 or b == -np.inf else a + np.log(1.0 + np.exp(b - a))
