"""Confidence intervals of error rates by the bootstrap over utterances (Bisani & Ney 2004).

Each draw resamples N of the N utterances with replacement; the error rates of the draws approximate the distribution
of the rate over test sets of this kind. Where utterances depend on each other, as those of one speaker do, whole groups
are drawn instead. Notation: N utterances or groups, C columns of counts, R draws.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from ds2cli.kernels.bootstrap import FIELD_BITS, FIELDS, LARGEST_PACKED, draw_sums

DRAWS = 1000
LEVEL = 0.95
_LARGEST_SEED = (1 << 63) - 1


def draw_rates(counts: NDArray[np.int64], seed: int, draws: int = DRAWS) -> NDArray[np.float64]:
    """The error rate of each draw: (R,) float64, percent.

    The same seed draws the same utterances from sets of the same size. A draw without any words has the rate 0.
    counts: (N, 2) int64, errors and reference length of each utterance.
    """
    sums = draw_totals(counts, seed, draws)
    return 100.0 * sums[:, 0] / np.maximum(sums[:, 1], 1)


def draw_totals(counts: NDArray[np.int64], seed: int, draws: int, threads: int = 1) -> NDArray[np.int64]:
    """The sums of each draw: (R, C), for one draw of utterances in all columns.

    The result depends on the counts, the seed and the number of draws, not on the threads.
    counts: (N, C) int64, not negative; the columns may be the errors of several systems and the reference length.
    """
    columns = np.ascontiguousarray(counts.T, dtype=np.int64)
    fields = FIELDS if columns.size and int(columns.max()) <= LARGEST_PACKED else 1
    packed = np.zeros((-(-len(columns) // fields), columns.shape[1]), np.int64)
    for column, values in enumerate(columns):
        packed[column // fields] |= values << (column % fields * FIELD_BITS)
    sums = np.empty((draws, len(packed) * fields), np.int64)
    limits = [draws * part // threads for part in range(threads + 1)]

    def work(part: int) -> None:
        begin, end = limits[part], limits[part + 1]
        draw_sums(packed, fields, seed & _LARGEST_SEED, begin, sums[begin:end])

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))
    return sums[:, : len(columns)]


def interval(rates: NDArray[np.float64], level: float = LEVEL) -> tuple[float, float]:
    """The central interval that contains the share `level` of the draws (percent)."""
    low, high = np.quantile(rates, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def share_better(rates: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    """The share of draws in which the first system has the lower rate; ties count half.

    rates, others: (R,) rates of two systems on the same draws.
    """
    return float((rates < others).mean() + 0.5 * (rates == others).mean())
