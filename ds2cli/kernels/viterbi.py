"""The best CTC path of a given text, and the cost of all its paths.

Notation: T steps, V symbols with blank 0, L labels.

The trellis has S = 2L + 1 states: 2j is the blank before label j (2L the blank after the last), 2j + 1 is label j.
Blanks and labels are kept in two arrays, so that neither loop gathers or tests for a skip; only states from which the
end can still be reached are computed. Deep Speech 2, section 5.1, equation 13 (the path) and equation 9 (the cost).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ds2cli.kernels._jit import kernel
from ds2cli.kernels.logspace import log_add

_IMPOSSIBLE = np.float32(-1e30)
STAYS, FROM_BLANK, FROM_PREVIOUS, FROM_LABEL = np.uint8(0), np.uint8(1), np.uint8(2), np.uint8(4)
"""Where a label and the blank before it come from: both in one byte, as flags."""


def steps_needed(labels: NDArray[np.int32]) -> int:
    """The minimum number of steps to spell `labels` (L,): one per label, and one per blank between two equal labels."""
    return len(labels) + int(np.count_nonzero(labels[1:] == labels[:-1]))


def viterbi_ref(log_probs: NDArray[np.float32], labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """The states of the most probable path; the reference.

    log_probs: (T, V) float32, log-probabilities.  labels: (L,) int32, none of them blank, T >= steps_needed(labels).
    Returns (T,) int32 states. Ties prefer staying in a state, then coming from the previous one.
    """
    T, S = len(log_probs), 2 * len(labels) + 1
    symbol: list[int] = [int(labels[s // 2]) if s % 2 else 0 for s in range(S)]
    score = np.full((T, S), -np.inf)
    backpointer = np.zeros((T, S), dtype=np.int64)
    for t in range(T):
        for s in range(S):
            if t == 0:
                score[t, s] = log_probs[0, symbol[s]] if s < 2 else -np.inf
                continue
            sources: list[int] = [s, s - 1] if s else [s]
            if s % 2 and s > 1 and symbol[s] != symbol[s - 2]:
                sources.append(s - 2)
            backpointer[t, s] = max(sources, key=lambda p: score[t - 1, p])
            score[t, s] = score[t - 1, backpointer[t, s]] + log_probs[t, symbol[s]]
    path = np.empty(T, dtype=np.int32)
    s = S - 1 if S == 1 or score[T - 1, S - 1] >= score[T - 1, S - 2] else S - 2
    for t in range(T - 1, -1, -1):
        path[t] = s
        s = backpointer[t, s]
    return path


@kernel
def _viterbi_step(blank, previous, label, next_blank, next_label, label_logp, skip, backpointer, blank_logp):
    """One step over a band of n labels.

    blank[j]: score of the blank before label j.  previous[j]: that of label j - 1.  label[j]: that of label j.
    backpointer[j]: of label j and of the blank before it, whose source may be the label before both.
    Slices that start at 0, range(n) and selects instead of max() let LLVM vectorize the loops (1-2 ns per cell).
    """
    n = len(label_logp)
    for j in range(n + 1):
        stay = blank[j]
        step = previous[j]
        next_blank[j] = (step if step > stay else stay) + blank_logp
    for j in range(n):
        stay = label[j]
        step = blank[j]
        best = step if step > stay else stay
        jump = previous[j] + skip[j]
        next_label[j] = (jump if jump > best else best) + label_logp[j]
    for j in range(n):
        stay = label[j]
        step = blank[j]
        best = step if step > stay else stay
        source = FROM_PREVIOUS if previous[j] + skip[j] > best else FROM_BLANK if step > stay else STAYS
        backpointer[j] = source + (FROM_LABEL if previous[j] > step else STAYS)
    backpointer[n] = FROM_LABEL if previous[n] > blank[n] else STAYS


@kernel
def viterbi(log_probs: NDArray[np.float32], labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """As `viterbi_ref`, with one byte of memory per label and step."""
    T, L = len(log_probs), len(labels)
    skip = np.full(L, _IMPOSSIBLE, np.float32)
    for j in range(1, L):
        if labels[j] != labels[j - 1]:
            skip[j] = 0
    # label[j + 1] is the score of label j, so that label[j] is that of the label before it
    blank = np.full(L + 1, _IMPOSSIBLE, np.float32)
    label = np.full(L + 1, _IMPOSSIBLE, np.float32)
    next_blank = blank.copy()
    next_label = label.copy()
    backpointer = np.zeros((T, L + 1), np.uint8)
    label_logp = np.empty(L, np.float32)
    path = np.zeros(T, np.int32)
    if T == 0:
        return path
    blank[0] = log_probs[0, 0]
    if L > 0:
        label[1] = log_probs[0, labels[0]]
    for t in range(1, T):
        row = log_probs[t]
        low = max(0, L - (T - t))
        high = min(L, t + 1)
        for j in range(low, high):
            label_logp[j] = row[labels[j]]
        _viterbi_step(
            blank[low : high + 1],
            label[low : high + 1],
            label[low + 1 : high + 1],
            next_blank[low : high + 1],
            next_label[low + 1 : high + 1],
            label_logp[low:high],
            skip[low:high],
            backpointer[t, low : high + 1],
            row[0],
        )
        blank, next_blank = next_blank, blank
        label, next_label = next_label, label
    on_blank = L == 0 or blank[L] >= label[L]
    j = L if on_blank else L - 1
    for t in range(T - 1, -1, -1):
        path[t] = 2 * j if on_blank else 2 * j + 1
        if on_blank:
            if backpointer[t, j] & FROM_LABEL:
                on_blank = False
                j -= 1
        elif backpointer[t, j] & FROM_PREVIOUS:
            j -= 1
        elif backpointer[t, j] & FROM_BLANK:
            on_blank = True
    return path


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
    """As `ctc_cost_ref`, in place: states are updated from last to first, as each depends only on those before it.

    `search/ctc_cost.py` uses it where the native library, which is much faster, is not installed.
    """
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
