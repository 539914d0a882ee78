"""Phrases that are wished for: an automaton over symbols that a search asks as it writes (Aho & Corasick 1975).

A phrase earns its weight when it is complete, and a growing share of it on the way, so that pruning sees it coming;
what was lent is taken back where the text goes on otherwise. Letters: P states, state 0 is the empty match.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ds2cli.kernels._jit import leaf
from ds2cli.kernels.trie import find_child


class Phrases(NamedTuple):
    """The automaton; without phrases it has the state 0 only.

    first, symbol: the states as a trie, see kernels/trie.py.
    shorter: (P,) int32, the longest proper suffix of a state that is a state.
    lent: (P,) float64, nats credited while a match is under way.
    earned: (P,) float64, nats of the phrases that end with a state.
    begin: the state before the first symbol.  close: the symbol that ends the last word, or -1.
    most: no symbol adds more; 0 or more, for a penalty that was lent is given back.
    """

    first: NDArray[np.int32]
    symbol: NDArray[np.int32]
    shorter: NDArray[np.int32]
    lent: NDArray[np.float64]
    earned: NDArray[np.float64]
    begin: int
    close: int
    most: float


@leaf
def has_phrases(phrases):
    """Whether there are any, liked or disliked."""
    return len(phrases.lent) > 1


@leaf
def follow(phrases, state, symbol):
    """The state after `symbol` and the nats it adds, negative where a match broke off."""
    before = phrases.lent[state]
    while True:
        child = find_child(phrases.first, phrases.symbol, state, symbol)
        if child >= 0:
            return child, phrases.earned[child] + phrases.lent[child] - before
        if state == 0:
            return np.int64(0), -before
        state = np.int64(phrases.shorter[state])


@leaf
def close(phrases, state):
    """The nats that the end of the text adds: the last word is complete, a match under way is not."""
    if phrases.close < 0:
        return -phrases.lent[state]
    state, gain = follow(phrases, state, phrases.close)
    return gain - phrases.lent[state]
