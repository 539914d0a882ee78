"""A loaded n-gram model: words to ids, and scores in Python and in compiled code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ds2cli.errors import DataError
from ds2cli.kernels import ngram_arpa as kernels
from ds2cli.kernels.ngram import NgramTables, ngram_end, ngram_score, ngram_sentence
from ds2cli.lm import arpa
from ds2cli.lm.arpa import BOS, EOS, UNK, Arpa

NO_UNK_LOG10 = -100.0
"""log10 p of a word outside the vocabulary when the model has no <unk>; KenLM's choice."""


@dataclass(frozen=True)
class NgramLm:
    """A backoff n-gram model in memory. `tables` goes whole into `ngram_score` and `ngram_end` of kernels/ngram.py."""

    tables: NgramTables
    words: list[str]
    ids: dict[str, int]
    counts: list[int]

    @classmethod
    def load(cls, path: str) -> NgramLm:
        """Load an ARPA file, .gz or not; DataError when it is not one or lacks <s> or </s>."""
        try:
            return cls.from_arpa(arpa.read(path))
        except DataError as e:
            raise e if str(e).startswith(path) else DataError(f"{path}: {e}") from e

    @classmethod
    def from_arpa(cls, model: Arpa) -> NgramLm:
        """Lay a model out for queries."""
        words, ids = list(model.words), {word: i for i, word in enumerate(model.words)}
        for needed in (BOS, EOS):
            if needed not in ids:
                raise DataError(f"no 1-gram {needed}, expected a model of whole sentences")
        sections = list(model.sections)
        if UNK not in ids:
            ids[UNK] = len(words)
            words.append(UNK)
            sections[0] = _with_unk(sections[0], ids[UNK])
        return cls(_tables(words, ids, sections), words, ids, [len(s.ids) for s in sections])

    @classmethod
    def none(cls) -> NgramLm:
        """A model that scores everything 0, so that a search needs no second path for `no language model`."""
        section = arpa.Section(np.arange(3, dtype=np.int32)[:, None], *np.zeros((2, 3), dtype=np.float32))
        return cls.from_arpa(Arpa([UNK, BOS, EOS], [section]))

    @property
    def order(self) -> int:
        """The longest n-gram's length."""
        return len(self.counts)

    @property
    def begin(self) -> int:
        """The state after <s>; the empty context is state 0."""
        return self.tables.begin

    def id(self, word: str) -> int:
        """The id of a word, that of <unk> when it is out of vocabulary."""
        return self.ids.get(word, self.tables.unk)

    def __contains__(self, word: str) -> bool:
        return self.ids.get(word, self.tables.unk) != self.tables.unk

    def score(self, state: int, word: int) -> tuple[float, int]:
        """Natural log p(word | state) and the state after it."""
        logp, after = ngram_score(self.tables, state, word)
        return float(logp), int(after)

    def end(self, state: int) -> float:
        """Natural log p(</s> | state)."""
        return float(ngram_end(self.tables, state))

    def word_log10(self, words: Sequence[str]) -> NDArray[np.float32]:
        """log10 p of each word of a sentence and of its end, (L + 1,)."""
        out = np.empty(len(words) + 1, dtype=np.float32)
        ngram_sentence(self.tables, np.array([self.id(w) for w in words], dtype=np.int64), out)
        return out

    def log10(self, text: str) -> float:
        """log10 p of a sentence with its beginning and end, as `kenlm.Model.score`."""
        return float(self.word_log10(text.split()).sum(dtype=np.float64))


def _with_unk(unigrams: arpa.Section, unk: int) -> arpa.Section:
    return arpa.Section(
        np.append(unigrams.ids, np.array([[unk]], dtype=np.int32), axis=0),
        np.append(unigrams.log10_prob, np.float32(NO_UNK_LOG10)),
        np.append(unigrams.log10_backoff, np.float32(0.0)),
    )


def _tables(words: list[str], ids: dict[str, int], sections: list[arpa.Section]) -> NgramTables:
    """Nodes in the order of the sections: 0 the empty context, then the unigrams, the bigrams, …"""
    nodes = 1 + sum(len(s.ids) for s in sections)
    contexts = nodes - len(sections[-1].ids) if len(sections) > 1 else 1
    longer = nodes - 1 - len(words)
    edges = np.full((_slots(longer), 2), -1, dtype=np.int64)
    suffix, used = np.zeros(nodes, dtype=np.int32), np.zeros(nodes, dtype=np.bool_)
    used[0] = True
    first = 1 + len(words)
    for n, section in enumerate(sections[1:], start=2):
        fault, where = kernels.link_section(edges, section.ids, first, suffix, used)
        if fault:
            gram = " ".join(words[i] for i in section.ids[where])
            what = "is listed twice" if fault == kernels.TWICE else f"is listed, its context of {n - 1} word(s) is not"
            raise DataError(f"the {n}-gram {gram!r} {what}")
        first += len(section.ids)
    zero = np.zeros(1, dtype=np.float32)
    backoffs = np.concatenate([zero, *(s.log10_backoff for s in sections)])[:contexts]
    next_state = np.empty(nodes, dtype=np.int32)
    kernels.minimal_states(suffix, used, backoffs, next_state)
    arrays = (
        edges,
        np.concatenate([zero, *(s.log10_prob for s in sections)]),
        next_state,
        backoffs,
        next_state[suffix[:contexts]],
    )
    for a in arrays:
        a.flags.writeable = False
    return NgramTables(*arrays, unk=ids[UNK], eos=ids[EOS], begin=int(next_state[1 + ids[BOS]]))


def _slots(edges: int) -> int:
    """Slots for so many edges: a power of two, at most two thirds full, so that few looks find that one is missing."""
    return 1 << (edges * 3 // 2 + 1).bit_length()
