"""Phrases to prefer or to avoid, and how strongly: from text to the automaton that the search asks."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from ds2cli.errors import DataError
from ds2cli.kernels.phrases import Phrases
from ds2cli.text.vocab import Vocab

Symbols = tuple[int, ...]


def build_phrases(vocab: Vocab, wanted: Mapping[str, float]) -> Phrases:
    """The automaton of phrases and their weights (nats, added each time a phrase is said; negative to avoid it).

    Where the alphabet has a space a phrase matches whole words only. BadUtterance "unspellable" names the phrase;
    DataError where one is empty or given twice, or its weight is no number.
    """
    edge = (vocab.symbols.index(" "),) if " " in vocab.symbols else ()
    weights: dict[Symbols, float] = {}
    for phrase, weight in wanted.items():
        text = " ".join(phrase.split())
        symbols = (*edge, *vocab.encode(text), *edge)
        if not text:
            raise DataError(f"a phrase without words, of weight {weight}")
        if not math.isfinite(weight):
            raise DataError(f"the phrase {text!r}: expected a finite weight, got {weight}")
        if symbols in weights:
            raise DataError(f"the phrase {text!r} is given twice")
        weights[symbols] = float(weight)
    lent: dict[Symbols, float] = {(): 0.0}
    for symbols, weight in weights.items():
        length = len(symbols) - len(edge)
        for depth in range(length):
            # of two phrases that begin alike the stronger lends
            so_far, share = symbols[: len(edge) + depth], weight * depth / length
            if abs(share) >= abs(lent.get(so_far, 0.0)):
                lent[so_far] = share
    for symbols in weights:
        for depth in range(1, len(symbols) + 1):
            lent.setdefault(symbols[:depth], 0.0)
    return _automaton(lent, weights, edge if weights else ())


def _automaton(lent: Mapping[Symbols, float], earned: Mapping[Symbols, float], edge: Symbols) -> Phrases:
    """The states, in the order of a trie, and from each the way to its longest suffix that is one.

    lent: of all states.  earned: of the whole phrases.  edge: what stands before and behind a phrase.
    """
    states = sorted(lent, key=lambda state: (len(state), state))
    number = {state: i for i, state in enumerate(states)}
    children = np.bincount([number[state[:-1]] for state in states[1:]], minlength=len(states))
    shorter = [0]
    credit, total = [lent[()]], [0.0]
    for state in states[1:]:
        suffix, longer = number[state[:-1]], -1
        while suffix and longer < 0:
            suffix = shorter[suffix]
            longer = number.get((*states[suffix], state[-1]), -1)
        shorter.append(max(longer, 0))
        total.append(earned.get(state, 0.0) + total[shorter[-1]])
        credit.append(max(credit[shorter[-1]], lent[state], key=abs))
    return Phrases(
        np.concatenate([[1], 1 + np.cumsum(children)]).astype(np.int32),
        np.array([0, *(state[-1] for state in states[1:])], np.int32),
        np.array(shorter, np.int32),
        np.array(credit),
        np.array(total),
        number[edge],
        edge[0] if edge else -1,
        max(0.0, *map(sum, zip(total, credit, strict=True))) - min(credit),
    )
