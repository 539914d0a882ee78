"""A loaded n-gram model: word ids, scores in Python, and tables for compiled code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ds2cli.errors import DataError
from ds2cli.kernels.ngram import LN10, NgramTables, ngram_begin, ngram_end, ngram_score, ngram_sentence
from ds2cli.kernels.ngram_words import find_words
from ds2cli.lm import arpa, kenlm, probing
from ds2cli.lm.arpa import BOS, EOS, UNK, Arpa


class State(NamedTuple):
    """A context: its word ids, most recent first, and the back-off weights of its last 1, 2, … words (log10).

    Only words that can still affect a score are kept. `State()` is the empty context. The compiled code in
    kernels/ngram.py keeps the same values in arrays, one state per row.
    """

    words: tuple[int, ...] = ()
    backoff: tuple[float, ...] = ()


@dataclass(frozen=True)
class NgramLm:
    """A back-off n-gram model, memory-mapped or in memory; read-only, so threads can share it.

    counts: the number of n-grams of each order, including <unk>. Pass `tables` to the functions of kernels/ngram.py.
    """

    model: kenlm.ProbingModel
    counts: list[int]

    @classmethod
    def load(cls, path: str) -> NgramLm:
        """Map a KenLM binary or read an ARPA file (gzipped or not), by content; DataError when it is neither."""
        if kenlm.is_binary(path):
            binary = kenlm.open_binary(path)
            return cls(binary, [binary.size, *binary.layout.counts[1:]])
        try:
            return cls.from_arpa(arpa.read(path))
        except DataError as e:
            raise e if str(e).startswith(path) else DataError(f"{path}: {e}") from e

    @classmethod
    def from_arpa(cls, model: Arpa) -> NgramLm:
        """Prepare a model for queries."""
        tables = probing.build_tables(model)
        return cls(tables, [tables.size, *model.counts[1:]])

    @classmethod
    def none(cls) -> NgramLm:
        """A model that scores everything 0: the search runs the same code without a language model."""
        section = arpa.Section(np.arange(3, dtype=np.int32)[:, None], *np.zeros((2, 3), dtype=np.float32))
        return cls.from_arpa(Arpa([UNK, BOS, EOS], [section]))

    @property
    def tables(self) -> NgramTables:
        """The tables for compiled code."""
        return self.model.tables

    @property
    def order(self) -> int:
        """Length of the longest n-grams."""
        return len(self.counts)

    @cached_property
    def words(self) -> list[str]:
        """The words by id, <unk> first; decoded on first use."""
        return self.model.words()

    @cached_property
    def ids(self) -> dict[str, int]:
        """The id of each word."""
        return {word: i for i, word in enumerate(self.words)}

    def lookup(self, words: Sequence[str]) -> NDArray[np.int32]:
        """The ids (L,) of words; out-of-vocabulary words get that of <unk>."""
        ids = np.empty(len(words), dtype=np.int32)
        find_words(self.tables, *kenlm.pack_words(words), ids)
        return ids

    def id(self, word: str) -> int:
        """The id of a word; that of <unk> when it is out of vocabulary."""
        return int(self.lookup([word])[0])

    def __contains__(self, word: str) -> bool:
        return self.id(word) != self.tables.unk

    def rows(self, count: int, *states: State) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """`count` states for compiled code, (count, H) history and backoff: `states`, then empty contexts."""
        history = np.full((count, self.tables.order - 1), -1, dtype=np.int32)
        backoff = np.zeros(history.shape, dtype=np.float32)
        for row, state in enumerate(states):
            history[row, : len(state.words)] = state.words
            backoff[row, : len(state.backoff)] = state.backoff
        return history, backoff

    @property
    def begin(self) -> State:
        """The state after <s>."""
        rows = self.rows(1)
        ngram_begin(self.tables, *rows, 0)
        return _state(*rows, 0)

    def score(self, state: State, word: int) -> tuple[float, State]:
        """Natural log p(word | state), and the state after the word."""
        rows = self.rows(2, state)
        logp = ngram_score(self.tables, *rows, 0, word, 1)
        return float(logp), _state(*rows, 1)

    def end(self, state: State) -> float:
        """Natural log p(</s> | state)."""
        return float(ngram_end(self.tables, *self.rows(1, state), 0))

    def unigrams(self) -> NDArray[np.float64]:
        """Natural log p (V,) of every word without context."""
        start = self.tables.starts[1]
        return -LN10 * np.abs(self.tables.floats[start : start + 2 * self.model.size : 2]).astype(np.float64)

    def word_log10(self, words: Sequence[str]) -> NDArray[np.float32]:
        """log10 p (L + 1,) of each word of a sentence and of </s>."""
        out = np.empty(len(words) + 1, dtype=np.float32)
        ngram_sentence(self.tables, self.lookup(words), out)
        return out

    def sentence_log10(self, text: str) -> float:
        """log10 p of a sentence with <s> and </s>, summed in float32 like `kenlm.Model.score`."""
        return float(np.cumsum(self.word_log10(text.split()), dtype=np.float32)[-1])


def _state(history: NDArray[np.int32], backoff: NDArray[np.float32], row: int) -> State:
    length = int(np.count_nonzero(history[row] >= 0))
    return State(tuple(history[row, :length].tolist()), tuple(backoff[row, :length].tolist()))
