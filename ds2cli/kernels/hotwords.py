"""Hotwords as an Aho-Corasick automaton over symbols (Aho & Corasick 1975), which the search steps symbol by symbol.

A hotword (a phrase) earns its bonus when it is complete. A growing share is credited while a match is in progress, so
that pruning does not remove it early; the share is taken back where the match fails.

Notation: P automaton states; state 0 is the empty match.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ds2cli.kernels._jit import inner_kernel
from ds2cli.kernels.trie import find_child


class Hotwords(NamedTuple):
    """The automaton; without hotwords it has only state 0.

    first, symbol: the states as a trie, see kernels/trie.py.
    failure: (P,) int32, failure links: the longest proper suffix of a state that is a state.
    partial_bonus: (P,) float64, nats credited while a match is in progress.
    bonus: (P,) float64, nats of all hotwords that end in a state.
    start: the state before the first symbol.  end_symbol: the symbol that ends the last word (the space), or -1.
    max_gain: upper bound of what one symbol adds (nats); at least 0, as a credited penalty can be given back.
    """

    first: NDArray[np.int32]
    symbol: NDArray[np.int32]
    failure: NDArray[np.int32]
    partial_bonus: NDArray[np.float64]
    bonus: NDArray[np.float64]
    start: int
    end_symbol: int
    max_gain: float


@inner_kernel
def has_hotwords(hotwords):
    """Whether there are any, boosted or penalized."""
    return len(hotwords.partial_bonus) > 1


@inner_kernel
def step_hotwords(hotwords, state, symbol):
    """The state after `symbol`, and the nats that it adds (negative where a match fails)."""
    before = hotwords.partial_bonus[state]
    while True:
        child = find_child(hotwords.first, hotwords.symbol, state, symbol)
        if child >= 0:
            return child, hotwords.bonus[child] + hotwords.partial_bonus[child] - before
        if state == 0:
            return np.int64(0), -before
        state = np.int64(hotwords.failure[state])


@inner_kernel
def finish_hotwords(hotwords, state):
    """The nats that the end of the text adds: it completes the last word, and a match in progress fails."""
    if hotwords.end_symbol < 0:
        return -hotwords.partial_bonus[state]
    state, gain = step_hotwords(hotwords, state, hotwords.end_symbol)
    return gain - hotwords.partial_bonus[state]
