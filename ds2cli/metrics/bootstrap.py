"""How far an error rate would differ on other utterances of the same kind: the bootstrap (Bisani & Ney 2004).

Utterances are drawn with replacement, as many as there are, again and again; the rates of the draws are the
distribution. Letters: N utterances, R draws.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DRAWS = 1000
LEVEL = 0.95
_CELLS = 1 << 22


def draw_rates(each: NDArray[np.int64], seed: int, draws: int = DRAWS) -> NDArray[np.float64]:
    """The error rate of every draw, (R,) in percent; the same seed draws the same utterances of sets of one size.

    each: (N, 2) errors and length of each utterance.  A draw without any words has no errors either: rate 0.
    """
    rng = np.random.default_rng(seed)
    sums = np.empty((draws, 2))
    block = max(1, _CELLS // max(1, len(each)))
    for begin in range(0, draws, block):
        size = min(block, draws - begin)
        sums[begin : begin + size] = each[rng.integers(0, len(each), (size, len(each)))].sum(axis=1)
    return 100.0 * sums[:, 0] / np.maximum(sums[:, 1], 1.0)


def interval(rates: NDArray[np.float64], level: float = LEVEL) -> tuple[float, float]:
    """The range that `level` of the draws lie in, as many below it as above (percent)."""
    low, high = np.quantile(rates, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def share_better(rates: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    """Of draws of the same utterances, the share in which the first system has the lower rate; ties are half."""
    return float((rates < others).mean() + 0.5 * (rates == others).mean())
