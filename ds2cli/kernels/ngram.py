"""Queries of a backoff n-gram model from compiled code. Letters: V words, M n-grams, H contexts, S hash slots.

The model is a trie read forward: node 0 is the empty context, node 1 + w is the unigram w, and the edge (context, word)
leads to the n-gram they make. A state is the node of the longest context that can still matter: one that has a
continuation or a backoff weight. Equal states score every future alike, so paths may be merged on them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ds2cli.kernels._jit import kernel

LN10 = math.log(10.0)
_MIX = -7046029254386353131
"""2^64 divided by the golden ratio, odd, as a signed number: multiplying by it spreads the keys over the high bits."""


class NgramTables(NamedTuple):
    """A model as plain arrays, immutable; numba takes it as one argument.

    edges: (S, 2) int64, key `context << 32 | word` (-1 empty) and node; S a power of two.
    log10_prob: (M + 1,) float32.  next_state: (M + 1,) int32, the state after an n-gram.
    log10_backoff: (H,) float32, the weight of leaving a context.  lower: (H,) int32, the state of the next shorter one.
    unk, eos: words.  begin: the state after <s>.
    """

    edges: NDArray[np.int64]
    log10_prob: NDArray[np.float32]
    next_state: NDArray[np.int32]
    log10_backoff: NDArray[np.float32]
    lower: NDArray[np.int32]
    unk: int
    eos: int
    begin: int


@kernel
def find_node(edges, context, word):
    """The node of the n-gram `context` + `word`, or -1 when the model does not list it."""
    if context == 0:
        return np.int64(word + 1)
    mask = edges.shape[0] - 1
    key = (np.int64(context) << 32) | np.int64(word)
    mixed = key * _MIX
    slot = (mixed ^ (mixed >> 32)) & mask
    while True:
        found = edges[slot, 0]
        if found == key:
            return edges[slot, 1]
        if found == -1:
            return np.int64(-1)
        slot = (slot + 1) & mask


@kernel
def add_node(edges, context, word, node):
    """Enter an n-gram of two words or more; -1 when it is there already, else its node. The table must have room."""
    mask = edges.shape[0] - 1
    key = (np.int64(context) << 32) | np.int64(word)
    mixed = key * _MIX
    slot = (mixed ^ (mixed >> 32)) & mask
    while edges[slot, 0] != -1:
        if edges[slot, 0] == key:
            return np.int64(-1)
        slot = (slot + 1) & mask
    edges[slot, 0] = key
    edges[slot, 1] = node
    return np.int64(node)


@kernel
def ngram_log10(lm, state, word):
    """log10 p(word | state) as float32 and the state after it; `word` must be in 0..V-1 (out of vocabulary: lm.unk).

    The float32 sum runs in KenLM's order, the n-gram first and then backoffs from the shortest context up.
    """
    context = np.int64(state)
    node = find_node(lm.edges, context, word)
    while node < 0:
        context = np.int64(lm.lower[context])
        node = find_node(lm.edges, context, word)
    total = lm.log10_prob[node]
    while context != state:
        longer = np.int64(state)
        while lm.lower[longer] != context:
            longer = np.int64(lm.lower[longer])
        total += lm.log10_backoff[longer]
        context = longer
    return total, np.int64(lm.next_state[node])


@kernel
def ngram_score(lm, state, word):
    """Natural log p(word | state) as float64 and the state after it; see `ngram_log10`."""
    total, after = ngram_log10(lm, state, word)
    return LN10 * np.float64(total), after


@kernel
def ngram_end(lm, state):
    """Natural log p(</s> | state): what a sentence pays for ending here."""
    return ngram_score(lm, state, lm.eos)[0]


@kernel
def ngram_sentence(lm, words, out):
    """Score `words` (L,) as a whole sentence: fills `out` (L + 1,) float32 with log10 p of each word and of </s>."""
    state = np.int64(lm.begin)
    for i in range(len(words)):
        out[i], state = ngram_log10(lm, state, words[i])
    out[len(words)] = ngram_log10(lm, state, lm.eos)[0]


Listed = Mapping[tuple[int, ...], tuple[float, float]]
"""n-gram → (log10 probability, log10 backoff)."""


def ngram_log10_ref(listed: Listed, history: Sequence[int], word: int) -> float:
    """log10 p(word | history), the definition: use the n-gram if it is listed, else back off to a shorter history.

    listed: every n-gram of the model as word tuples; all unigrams must be there.
    """
    history = tuple(history)
    if (*history, word) in listed:
        return listed[(*history, word)][0]
    return listed.get(history, (0.0, 0.0))[1] + ngram_log10_ref(listed, history[1:], word)
