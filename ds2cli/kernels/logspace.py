"""Sums of probabilities that are kept as logarithms."""

from __future__ import annotations

import numpy as np

from ds2cli.kernels._jit import kernel


@kernel
def log_add(a: float, b: float) -> float:
    """log(exp(a) + exp(b)); minus infinity is the logarithm of nothing."""
    if a < b:
        a, b = b, a
    return a if b == -np.inf else a + np.log1p(np.exp(b - a))
