"""A text and an emission as the arrays of the alignment kernel. Notation: T steps, V symbols, L labels, W words."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ds2cli.errors import BadUtterance
from ds2cli.kernels.viterbi_steps import Target
from ds2cli.text.units import split_runs
from ds2cli.text.vocab import Vocab

WILDCARD = -1
"""In the place of a symbol: a word that the network cannot spell."""

UNSPELLED_COST = 0.05
"""Nats per step of a gap or a wildcard, which otherwise emit the most probable symbol of each step: so they end where
the blanks begin."""

_FIRST_SYMBOL = 3
_BLANK, _ANYTHING, _NEVER = range(_FIRST_SYMBOL)
"""Columns of the scores: the blank, what a gap or a wildcard emits, and what nothing emits; symbols follow."""


@dataclass(frozen=True)
class GapCosts:
    """What it costs (nats) that text and recording differ: each gap, and each symbol of the words left out in it."""

    gap: float
    symbol: float


@dataclass(frozen=True)
class Spelling:
    """A text as labels. words: the labels of each word, without the spaces, and how it is written."""

    labels: list[int]
    words: list[tuple[slice, str]]


def spell(text: str, vocab: Vocab) -> Spelling:
    """The labels of a normalized transcript; a word that the network cannot spell is one label, WILDCARD.

    Chinese and Japanese characters are words, so that a text without spaces gets times.

    BadUtterance "unspellable" if it can spell none of them, or no space.
    """
    labels: list[int] = []
    words = []
    error = None
    for part in split_runs(" ".join(text.split())):
        begin = len(labels)
        try:
            labels += vocab.encode(part)
        except BadUtterance as e:
            if part == " ":
                raise
            labels.append(WILDCARD)
            error = e
        if part != " ":
            words.append((slice(begin, len(labels)), part))
    if error is not None and all(labels[where] == [WILDCARD] for where, _ in words):
        raise error
    return Spelling(labels, words)


def spelling_of(labels: Sequence[int], vocab: Vocab) -> Spelling:
    """The words of a text that is given as symbols, without a space at either end or two in a row.

    Words are what is between spaces, in every script.
    """
    spaces = [i for i, symbol in enumerate(labels) if vocab.symbols[symbol] == " "]
    edges = itertools.pairwise([-1, *spaces, len(labels)]) if labels else ()
    words = [(slice(space + 1, end), vocab.decode(labels[space + 1 : end])) for space, end in edges]
    return Spelling([*labels], words)


def build_trellis(
    log_probs: NDArray[np.float32], spelling: Spelling, costs: GapCosts | None
) -> tuple[NDArray[np.float32], Target]:
    """The scores (T, U) of the symbols of a text, relative to the most probable symbol of each step, and the target.

    Only the columns that the text needs are kept, which matters with 6,000 symbols.  costs: None for no gaps.
    """
    labels = np.array(spelling.labels, np.int64)
    symbols, place = np.unique(labels[labels != WILDCARD], return_inverse=True)
    scores = np.empty((len(log_probs), _FIRST_SYMBOL + len(symbols)), np.float32)
    best = log_probs.max(axis=1, initial=-np.inf)
    # a step without any probability is impossible for each symbol, as it should be
    best[np.isneginf(best)] = 0
    np.subtract(log_probs[:, 0], best, out=scores[:, _BLANK])
    scores[:, _ANYTHING], scores[:, _NEVER] = -UNSPELLED_COST, -np.inf
    for i, symbol in enumerate(symbols.tolist(), _FIRST_SYMBOL):
        np.subtract(log_probs[:, symbol], best, out=scores[:, i])
    columns = np.full(len(labels) + 1, _ANYTHING, np.int32)
    columns[:-1][labels != WILDCARD] = place + _FIRST_SYMBOL
    columns[-1] = _NEVER
    jump = np.full(len(columns), -np.inf, np.float32)
    jump[1:-1][labels[1:] != labels[:-1]] = 0
    if costs is None:
        return scores, Target(columns, jump, np.empty(0, np.int32), np.empty(0, np.float32), 0.0, _ANYTHING)
    starts = np.array([*(where.start for where, _ in spelling.words), len(labels)], np.int32)
    skip_costs = np.zeros(len(starts), np.float32)
    skip_costs[1:] = costs.symbol * np.diff(starts)
    return scores, Target(columns, jump, starts, skip_costs, costs.gap, _ANYTHING)
