"""log p_ctc of a given text, as the beam search counts it. Notation: T steps, V symbols with blank 0, L labels.

The search collapses consecutive spaces and ignores those at both ends. So a text has more paths than its labels have in
plain CTC (`viterbi.ctc_cost`); in an alphabet without a space the two are equal.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ds2cli.kernels._jit import kernel
from ds2cli.kernels.logspace import log_add


def text_logprob_ref(log_probs: NDArray[np.float32], labels: Sequence[int], space: int) -> float:
    """The definition: the sum over all V^T paths that spell `labels` once their spaces are collapsed.

    log_probs: (T, V) float32, log-probabilities.  labels: (L,), without a space at either end or two in a row.
    space: index of the space, negative in an alphabet without one.  Returns nats, -inf where no path spells the text.
    """
    T, V = log_probs.shape
    logs = [-np.inf]
    for path in itertools.product(range(V), repeat=T):
        collapsed = [symbol for symbol, _ in itertools.groupby(path) if symbol != 0]
        words = [list(run) for is_space, run in itertools.groupby(collapsed, lambda s: s == space) if not is_space]
        text = [symbol for i, word in enumerate(words) for symbol in ([space, *word] if i else word)]
        if text == list(labels):
            logs.append(sum(float(log_probs[t, symbol]) for t, symbol in enumerate(path)))
    return float(np.logaddexp.reduce(logs))


@kernel
def text_logprob(log_probs: NDArray[np.float32], labels: NDArray[np.int32], space: int) -> float:
    """As `text_logprob_ref`, by dynamic programming over prefixes of p symbols that end in a blank or in a label.

    Prefix 0 counts as ending in a space, and prefix L + 1 is the text followed by a space. Prefixes are updated from
    the longest to the shortest, as each depends only on itself and the one before, so a step works in place.
    """
    T, L = len(log_probs), len(labels)
    last = L + 1 if space >= 0 and L > 0 else L
    blank = np.full(last + 1, -np.inf)
    label = np.full(last + 1, -np.inf)
    blank[0] = 0.0
    for t in range(T):
        row = log_probs[t]
        for p in range(min(last, t + 1), max(0, L - (T - 1 - t)) - 1, -1):
            total = log_add(blank[p], label[p])
            symbol = space if p == 0 or p > L else labels[p - 1]
            emitted = -np.inf
            if symbol >= 0:
                # blanks may separate consecutive spaces
                emitted = (total if symbol == space else label[p]) + row[symbol]
            if p > 0:
                repeated = p > 1 and symbol == labels[p - 2]
                before = blank[p - 1] if repeated else log_add(blank[p - 1], label[p - 1])
                emitted = log_add(emitted, before + row[symbol])
            label[p] = emitted
            blank[p] = total + row[0]
    log_p = log_add(blank[L], label[L])
    return log_add(log_p, log_add(blank[last], label[last])) if last > L else log_p
