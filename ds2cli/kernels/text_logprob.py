"""log p_ctc of one given text, as the beam search counts it. Letters: T steps, V symbols with blank 0, L labels.

For the search a run of spaces is one space, and one at the beginning or the end is none. So a text has more paths than
its labels have in plain CTC (`viterbi.ctc_cost`); where the alphabet has no space the two are the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ds2cli.kernels._jit import kernel
from ds2cli.kernels.logspace import log_add


def text_logprob_ref(log_probs: NDArray[np.float32], labels: Sequence[int], space: int) -> float:
    """The definition: the sum over all V^T paths that spell `labels` once their spaces are squeezed.

    log_probs: (T, V) float32, log-probabilities.  labels: of the text, without a space at either end or twice in a row.
    space: its symbol, negative where the alphabet has none.  Returns nats, minus infinity where no path spells it.
    """
    T, V = log_probs.shape
    found = [-np.inf]
    for path in itertools.product(range(V), repeat=T):
        spoken = [symbol for symbol, _ in itertools.groupby(path) if symbol != 0]
        words = [list(run) for is_space, run in itertools.groupby(spoken, lambda s: s == space) if not is_space]
        text = [symbol for i, word in enumerate(words) for symbol in ([space, *word] if i else word)]
        if text == list(labels):
            found.append(sum(float(log_probs[t, symbol]) for t, symbol in enumerate(path)))
    return float(np.logaddexp.reduce(found))


@kernel
def text_logprob(log_probs: NDArray[np.float32], labels: NDArray[np.int32], space: int) -> float:
    """As `text_logprob_ref`, over the prefixes of the text: p symbols are said, the last step a blank or a label.

    Prefix 0 counts as one that ends in a space, and prefix L + 1 is the text with a space behind it. They are visited
    from the longest, which needs only the one before it, so that a step is done in place.
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
            said = -np.inf
            if symbol >= 0:
                # within a run of spaces blanks may lie
                said = (total if symbol == space else label[p]) + row[symbol]
            if p > 0:
                again = p > 1 and symbol == labels[p - 2]
                before = blank[p - 1] if again else log_add(blank[p - 1], label[p - 1])
                said = log_add(said, before + row[symbol])
            label[p] = said
            blank[p] = total + row[0]
    log_p = log_add(blank[L], label[L])
    return log_add(log_p, log_add(blank[last], label[last])) if last > L else log_p
