"""Hotwords: phrases to boost or to penalize, compiled to the automaton that the search steps (kernels/hotwords.py)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from ds2cli.errors import DataError
from ds2cli.kernels.hotwords import Hotwords
from ds2cli.text.vocab import Vocab

Symbols = tuple[int, ...]


def build_hotwords(vocab: Vocab, phrases: Mapping[str, float]) -> Hotwords:
    """The automaton of phrases and their weights (nats added per occurrence; negative to penalize).

    In an alphabet with a space a phrase matches complete words only.
    Raises BadUtterance "unspellable" that names the phrase, and DataError for a phrase that is empty or listed twice,
    or whose weight is not finite.
    """
    edge = (vocab.symbols.index(" "),) if " " in vocab.symbols else ()
    weights: dict[Symbols, float] = {}
    for phrase, weight in phrases.items():
        text = " ".join(phrase.split())
        symbols = (*edge, *vocab.encode(text), *edge)
        if not text:
            raise DataError(f"a hotword with the weight {weight} is empty: expected a phrase")
        if not math.isfinite(weight):
            raise DataError(f"wrong weight of the hotword {text!r}: expected a finite number, found {weight}")
        if symbols in weights:
            raise DataError(f"the hotword {text!r} is listed twice")
        weights[symbols] = float(weight)
    partial: dict[Symbols, float] = {(): 0.0}
    for symbols, weight in weights.items():
        length = len(symbols) - len(edge)
        for depth in range(length):
            # phrases that share a prefix: the one with the largest share counts
            prefix, share = symbols[: len(edge) + depth], weight * depth / length
            if abs(share) >= abs(partial.get(prefix, 0.0)):
                partial[prefix] = share
    for symbols in weights:
        for depth in range(1, len(symbols) + 1):
            partial.setdefault(symbols[:depth], 0.0)
    return _build_automaton(partial, weights, edge if weights else ())


def _build_automaton(partial: Mapping[Symbols, float], weights: Mapping[Symbols, float], edge: Symbols) -> Hotwords:
    """States in breadth-first order, and their failure links (Aho & Corasick 1975).

    partial: nats credited in each state.  weights: of complete phrases.  edge: the symbol before and after a phrase.
    """
    states = sorted(partial, key=lambda state: (len(state), state))
    number = {state: i for i, state in enumerate(states)}
    children = np.bincount([number[state[:-1]] for state in states[1:]], minlength=len(states))
    failure = [0]
    partial_bonus, bonus = [partial[()]], [0.0]
    for state in states[1:]:
        suffix, target = number[state[:-1]], -1
        while suffix and target < 0:
            suffix = failure[suffix]
            target = number.get((*states[suffix], state[-1]), -1)
        failure.append(max(target, 0))
        bonus.append(weights.get(state, 0.0) + bonus[failure[-1]])
        partial_bonus.append(max(partial_bonus[failure[-1]], partial[state], key=abs))
    return Hotwords(
        np.concatenate([[1], 1 + np.cumsum(children)]).astype(np.int32),
        np.array([0, *(state[-1] for state in states[1:])], np.int32),
        np.array(failure, np.int32),
        np.array(partial_bonus),
        np.array(bonus),
        number[edge],
        edge[0] if edge else -1,
        max(0.0, *map(sum, zip(bonus, partial_bonus, strict=True))) - min(partial_bonus),
    )
