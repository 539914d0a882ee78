"""Greedy search: the most probable symbol of each step (the best path). Notation: T steps, V symbols with blank 0."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ds2cli.search.hypothesis import Hypothesis
from ds2cli.text.vocab import Vocab


def collapse(path: NDArray[np.int64]) -> NDArray[np.int64]:
    """The labels that a path (T,) spells: repeats are merged, then blanks removed."""
    if not len(path):
        return path
    run_starts = np.concatenate([[True], path[1:] != path[:-1]])
    labels: NDArray[np.int64] = path[(path != 0) & run_starts]
    return labels


def collapse_spaces(labels: NDArray[np.int64], space: int) -> NDArray[np.int64]:
    """Labels with one space between words and none at either end.  space: index of the space."""
    is_space = labels == space
    letters = np.flatnonzero(~is_space)
    if not len(letters):
        return labels[:0]
    kept = ~is_space
    kept[1:] |= ~is_space[:-1]
    kept[: letters[0]] = kept[letters[-1] + 1 :] = False
    collapsed: NDArray[np.int64] = labels[kept]
    return collapsed


def greedy(log_probs: NDArray[np.float32], vocab: Vocab) -> Hypothesis:
    """Decode the best path.

    log_probs: (T, V) float32, log-probabilities.  The score is the log-probability of the path, not of the text.
    """
    path = log_probs.argmax(axis=1) if len(log_probs) else np.empty(0, dtype=np.int64)
    score = float(log_probs.max(axis=1).sum(dtype=np.float64)) if len(log_probs) else 0.0
    labels = collapse(path)
    if " " in vocab.symbols:
        labels = collapse_spaces(labels, vocab.symbols.index(" "))
    return Hypothesis(vocab.decode(labels.tolist()), score, score, 0.0, tuple(labels.tolist()))


@dataclass(frozen=True)
class GreedySearch:
    """Greedy decoding with one vocabulary; it keeps no state, so threads may share it."""

    vocab: Vocab

    def __call__(self, log_probs: NDArray[np.float32], best: int = 1) -> list[Hypothesis]:
        """The one text of the best path, whatever `best` asks for. log_probs: (T, V) float32, log-probabilities."""
        return [greedy(log_probs, self.vocab)]

    def stream(self) -> GreedyStream:
        """A search of one utterance that arrives in chunks."""
        return GreedyStream(self.vocab)


class GreedyStream:
    """The best path of one utterance that arrives in chunks of any length."""

    def __init__(self, vocab: Vocab) -> None:
        self.vocab = vocab
        self._space = vocab.symbols.index(" ") if " " in vocab.symbols else -1
        self._labels: list[int] = []
        self._last, self._score = 0, 0.0

    def advance(self, log_probs: NDArray[np.float32]) -> None:
        """Search more steps.  log_probs: (T, V) float32, log-probabilities."""
        for symbol, score in zip(log_probs.argmax(axis=1).tolist(), log_probs.max(axis=1).tolist(), strict=True):
            self._score += score
            if symbol not in (0, self._last) and (
                symbol != self._space or (self._labels and self._labels[-1] != self._space)
            ):
                self._labels.append(symbol)
            self._last = symbol

    def best(self, count: int = 1) -> list[Hypothesis]:
        """The text if the utterance ended here, as the search returns it for all steps at once."""
        labels = self._labels[:-1] if self._labels and self._labels[-1] == self._space else self._labels
        return [Hypothesis(self.vocab.decode(labels), self._score, self._score, 0.0, tuple(labels))]
