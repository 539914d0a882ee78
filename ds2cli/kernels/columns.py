"""Columns of wide emissions. Notation: T steps, V symbols.

A step of 6,000 symbols takes 24 kB, of which a text needs some numbers here and there. Memory is fetched 2 to 3 times
as fast in order: so the lines of a step are touched in order before the numbers are read.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ds2cli.kernels._jit import inner_kernel

WIDE = 512
"""Steps of more numbers than this are touched before they are read."""

LINE = 16
"""float32 numbers in a cache line."""


@inner_kernel
def touch(row):
    """Fetch a row (V,) float32 into the cache; what it returns keeps the compiler from leaving that out."""
    total = np.float32(0)
    for v in range(0, len(row), LINE):
        total += row[v]
    return total


@inner_kernel
def select_columns(log_probs, columns, selected, sink):
    """Copy some columns (S,) int32 of log_probs (T, V) float32 to selected (T, S).  sink: (1,) float32, is written."""
    total = np.float32(0)
    for t in range(len(log_probs)):
        row = log_probs[t]
        if len(row) > WIDE:
            total += touch(row)
        for i in range(len(columns)):
            selected[t, i] = row[columns[i]]
    sink[0] = total


def select_columns_ref(log_probs: NDArray[np.float32], columns: NDArray[np.int32]) -> NDArray[np.float32]:
    """The columns that `select_columns` copies; the reference."""
    return np.take(log_probs, columns, axis=1)
