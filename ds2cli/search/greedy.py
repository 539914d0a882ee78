"""The best path: the likeliest symbol of every step. Letters: T steps, V symbols with blank 0."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ds2cli.search.hypothesis import Hypothesis
from ds2cli.text.vocab import Vocab


def collapse(path: NDArray[np.int64]) -> NDArray[np.int64]:
    """The labels a path (T,) spells: repeats merge, then blanks go."""
    if not len(path):
        return path
    first_of_run = np.concatenate([[True], path[1:] != path[:-1]])
    labels: NDArray[np.int64] = path[(path != 0) & first_of_run]
    return labels


def squeeze(labels: NDArray[np.int64], space: int) -> NDArray[np.int64]:
    """Labels with one space between words, and none at the ends.  space: its symbol."""
    is_space = labels == space
    spoken = np.flatnonzero(~is_space)
    if not len(spoken):
        return labels[:0]
    kept = ~is_space
    kept[1:] |= ~is_space[:-1]
    kept[: spoken[0]] = kept[spoken[-1] + 1 :] = False
    squeezed: NDArray[np.int64] = labels[kept]
    return squeezed


def greedy(log_probs: NDArray[np.float32], vocab: Vocab) -> Hypothesis:
    """Read off the best path.

    log_probs: (T, V) float32, log-probabilities. The score is that path's log-probability, not the text's.
    """
    path = log_probs.argmax(axis=1) if len(log_probs) else np.empty(0, dtype=np.int64)
    score = float(log_probs.max(axis=1).sum(dtype=np.float64)) if len(log_probs) else 0.0
    labels = collapse(path)
    if " " in vocab.symbols:
        labels = squeeze(labels, vocab.symbols.index(" "))
    return Hypothesis(vocab.decode(labels.tolist()), score, score, 0.0, tuple(labels.tolist()))


@dataclass(frozen=True)
class GreedySearch:
    """Greedy decoding with one vocabulary; it keeps no state, so threads may share it."""

    vocab: Vocab

    def __call__(self, log_probs: NDArray[np.float32], best: int = 1) -> list[Hypothesis]:
        """The one text of the best path, whatever `best` asks for. log_probs: (T, V) float32, log-probabilities."""
        return [greedy(log_probs, self.vocab)]
