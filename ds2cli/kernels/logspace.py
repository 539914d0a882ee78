"""Sums of probabilities that are kept as logarithms."""

from __future__ import annotations

import numpy as np

from ds2cli.kernels._jit import leaf


@leaf
def log_add(a: float, b: float) -> float:
    """log(exp(a) + exp(b)); minus infinity is the logarithm of nothing."""
    if a < b:
        a, b = b, a
    # beyond 40 nats, and for minus infinity, the smaller one is less than the rounding of the larger; the sum is one of
    # numbers that are not tiny, so log1p would be no more exact and takes twice as long
    return a if b < a - 40.0 or b == -np.inf else a + np.log(1.0 + np.exp(b - a))
