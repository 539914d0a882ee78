"""-log p_ctc of a text: the cost of all its paths together (Deep Speech 2, section 5.1, equation 9).

Notation: T steps, V symbols with blank 0, L labels. `search/ctc_cost.py` uses it where the native library, which is
much faster, is not installed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ds2cli.kernels._jit import kernel
from ds2cli.kernels.logspace import log_add


def ctc_cost_ref(log_probs: NDArray[np.float32], labels: NDArray[np.int32]) -> float:
    """-log of the summed probability of all paths that spell `labels`, infinity if there are none; the reference.

    log_probs: (T, V) float32, log-probabilities.  labels: (L,) int32, none of them blank.
    Returns nats.
    """
    S = 2 * len(labels) + 1
    symbol: list[int] = [int(labels[s // 2]) if s % 2 else 0 for s in range(S)]
    score = np.full(S, -np.inf)
    score[0] = 0.0  # before the first step, as if after a blank
    for t, row in enumerate(log_probs):
        previous = score.copy()
        for s in range(S):
            total = previous[s]
            if s:
                total = np.logaddexp(total, previous[s - 1])
            if s % 2 and s > 1 and symbol[s] != symbol[s - 2]:
                total = np.logaddexp(total, previous[s - 2])
            score[s] = total + row[symbol[s]] if s < 2 * (t + 1) else -np.inf
    return -float(np.logaddexp(score[S - 1], score[S - 2] if S > 1 else -np.inf))


@kernel
def ctc_cost(log_probs: NDArray[np.float32], labels: NDArray[np.int32]) -> float:
    """As `ctc_cost_ref`, in place: states are updated from last to first, as each depends only on those before it."""
    T, L = len(log_probs), len(labels)
    blank = np.full(L + 1, -np.inf)
    label = np.full(L, -np.inf)
    blank[0] = 0.0
    for t in range(T):
        row = log_probs[t]
        for j in range(min(L, t + 1), max(0, L - (T - t)) - 1, -1):
            if j < L:
                total = log_add(label[j], blank[j])
                if j > 0 and labels[j] != labels[j - 1]:
                    total = log_add(total, label[j - 1])
                label[j] = total + row[labels[j]]
            blank[j] = (log_add(blank[j], label[j - 1]) if j > 0 else blank[j]) + row[0]
    return -log_add(blank[L], label[L - 1] if L > 0 else -np.inf)
