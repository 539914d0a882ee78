"""Perplexity and out-of-vocabulary (OOV) words of a text, counted like KenLM's `query`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ds2cli.lm.query import NgramLm


@dataclass(frozen=True)
class Perplexity:
    """Totals over a text, from which perplexities and OOV rates follow.

    words: running words.  types: distinct words.  oov_counts: occurrences of each OOV word.
    log10: log10 p of all words and sentence ends.  log10_oov: the part due to OOV words.
    """

    sentences: int
    words: int
    types: int
    oov_counts: Counter[str]
    log10: float
    log10_oov: float

    @property
    def oov(self) -> int:
        """Number of running words out of vocabulary."""
        return self.oov_counts.total()

    @property
    def oov_types(self) -> int:
        """Number of distinct words out of vocabulary."""
        return len(self.oov_counts)

    @property
    def including_oov(self) -> float:
        """Perplexity per word and sentence end, with OOV words scored as <unk>; nan for an empty text."""
        tokens = self.words + self.sentences
        return _power_of_ten(-self.log10 / tokens) if tokens else float("nan")

    @property
    def excluding_oov(self) -> float:
        """Perplexity per in-vocabulary word and sentence end; nan for an empty text."""
        tokens = self.words + self.sentences - self.oov
        return _power_of_ten(-(self.log10 - self.log10_oov) / tokens) if tokens else float("nan")

    @property
    def oov_percent(self) -> float:
        """OOV rate: out-of-vocabulary words among the running words (percent)."""
        return 100.0 * self.oov / self.words if self.words else 0.0

    @property
    def oov_types_percent(self) -> float:
        """Out-of-vocabulary words among the distinct words (percent)."""
        return 100.0 * self.oov_types / self.types if self.types else 0.0


def measure(lm: NgramLm, sentences: Iterable[list[str]]) -> Perplexity:
    """Score every sentence, with <s> and </s>."""
    count = words = 0
    log10 = log10_oov = 0.0
    types: set[str] = set()
    oov_counts: Counter[str] = Counter()
    for sentence in sentences:
        scores = lm.word_log10(sentence)
        log10 += float(scores.sum(dtype="float64"))
        count += 1
        words += len(sentence)
        for k in np.flatnonzero(lm.lookup(sentence) == lm.tables.unk).tolist():
            oov_counts[sentence[k]] += 1
            log10_oov += float(scores[k])
        types.update(sentence)
    return Perplexity(count, words, len(types), oov_counts, log10, log10_oov)


def _power_of_ten(exponent: float) -> float:
    return float("inf") if exponent > 300 else float(10.0**exponent)
