"""A text and an emission as the arrays of the alignment kernel. Notation: T steps, V symbols, L labels, W words."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ds2cli.errors import BadUtterance
from ds2cli.kernels.columns import select_columns
from ds2cli.kernels.viterbi_steps import Target
from ds2cli.text.units import split_runs
from ds2cli.text.vocab import Vocab

WILDCARD = -1
"""In the place of a symbol: a word that the network cannot spell."""

UNSPELLED_COST = 0.06
"""Nats per step of a gap or a wildcard, which otherwise emit the most probable symbol of each step: so they end where
the blanks begin."""

SILENCE_COST = 0.05
"""The same in a step whose most probable symbol is the blank: a gap that needs a step only takes it from a pause."""

SILENT_SPACE_COST = 2.0
"""Nats for a blank in the place of a space, where gaps are allowed."""

_FIRST_SYMBOL = 2
_BLANK, _ANYTHING = range(_FIRST_SYMBOL)
"""Columns of the scores: the blank, and what a gap or a wildcard emits; symbols follow."""


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
            error = error or e
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


@dataclass(frozen=True)
class Columns:
    """The columns of an emission that a text needs, which are few of 6,000 symbols.

    symbols: (S,) int32, in order, those of the columns after the first two; None if the columns are those of the
    emission.  log_probs: (T, 2 + S) float32, nats, or the emission (T, V).
    top: (T,) int32, the most probable symbol of each step; (0,) if it was not asked for.
    """

    symbols: NDArray[np.int32] | None
    log_probs: NDArray[np.float32]
    top: NDArray[np.int32]

    @classmethod
    def select(cls, log_probs: NDArray[np.float32], spelling: Spelling, *, gaps: bool) -> Columns:
        """The columns of an emission, which is not copied if nothing but symbols is needed.

        log_probs: (T, V) float32, log-probabilities without NaN.  gaps: whether they are for an alignment with gaps.
        """
        if not gaps and WILDCARD not in spelling.labels:
            return cls(None, log_probs, np.empty(0, np.int32))
        symbols = np.array(sorted({*spelling.labels} - {WILDCARD}), np.int32)
        selected = np.empty((len(log_probs), _FIRST_SYMBOL + len(symbols)), np.float32)
        columns = np.array([0] * _FIRST_SYMBOL + symbols.tolist(), np.int32)
        select_columns(log_probs, columns, selected, np.empty(1, np.float32))
        best = log_probs.max(axis=1)
        # also in a step in which everything is impossible, such as one that was damaged
        sound = np.where(np.isneginf(best), np.float32(0), best) - np.float32(UNSPELLED_COST)
        selected[:, _ANYTHING] = np.maximum(sound, log_probs[:, 0] - np.float32(SILENCE_COST))
        return cls(symbols, selected, log_probs.argmax(axis=1).astype(np.int32) if gaps else np.empty(0, np.int32))

    @classmethod
    def join(cls, parts: Sequence[Columns]) -> Columns:
        """The columns of several emissions for the same text, one after the other."""
        arrays = ([getattr(part, name) for part in parts] for name in ("log_probs", "top"))
        return cls(parts[0].symbols, *map(np.concatenate, arrays))

    def allow_silent_spaces(self, space: int) -> None:
        """Let a blank stand for a space, for SILENT_SPACE_COST nats.  space: its symbol.

        Networks hardly ever emit one in a long pause, as their training utterances have no space at an end.
        """
        (i,) = self.of_labels([space]).tolist()
        silent = self.log_probs[:, _BLANK] - np.float32(SILENT_SPACE_COST)
        np.maximum(self.log_probs[:, i], silent, out=self.log_probs[:, i])

    def of_labels(self, labels: Sequence[int]) -> NDArray[np.int32]:
        """The column of each label (L,) int32."""
        if self.symbols is None:
            return np.array(labels, np.int32)
        columns = np.searchsorted(self.symbols, labels).astype(np.int32) + np.int32(_FIRST_SYMBOL)
        columns[np.equal(labels, WILDCARD)] = _ANYTHING
        return columns


def build_target(spelling: Spelling, columns: Columns, costs: GapCosts | None) -> Target:
    """What the kernel looks for in the columns.  costs: None for no gaps."""
    labels = np.array(spelling.labels, np.int64)
    places = np.append(columns.of_labels(spelling.labels), np.int32(_BLANK))
    jump = np.full(len(places), -np.inf, np.float32)
    jump[1:-1][labels[1:] != labels[:-1]] = 0
    if costs is None:
        return Target(places, jump, np.empty(0, np.int32), np.empty(0, np.float32), 0.0, _ANYTHING)
    starts = np.array([*(where.start for where, _ in spelling.words), len(labels)], np.int32)
    skip_costs = np.zeros(len(starts), np.float32)
    skip_costs[1:] = costs.symbol * np.diff(starts)
    return Target(places, jump, starts, skip_costs, costs.gap, _ANYTHING)
