"""How well a model predicts a text, as KenLM's `query` counts it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ds2cli.lm.query import NgramLm


@dataclass(frozen=True)
class Perplexity:
    """Sums over a text. log10: of all tokens, sentence ends included; log10_oov: the share of the unknown ones.

    types: different words.  unknown: how often each unknown word occurs.
    """

    sentences: int
    words: int
    types: int
    unknown: Counter[str]
    log10: float
    log10_oov: float

    @property
    def oov(self) -> int:
        """How many running words are unknown."""
        return self.unknown.total()

    @property
    def oov_types(self) -> int:
        """How many different words are unknown."""
        return len(self.unknown)

    @property
    def including_oov(self) -> float:
        """10 to the mean -log10 p of all words and sentence ends, unknown words scored as <unk>; nan without text."""
        tokens = self.words + self.sentences
        return _power_of_ten(-self.log10 / tokens) if tokens else float("nan")

    @property
    def excluding_oov(self) -> float:
        """The same over the known words and the sentence ends."""
        tokens = self.words + self.sentences - self.oov
        return _power_of_ten(-(self.log10 - self.log10_oov) / tokens) if tokens else float("nan")

    @property
    def oov_percent(self) -> float:
        """Unknown words among the running words (percent)."""
        return 100.0 * self.oov / self.words if self.words else 0.0

    @property
    def oov_types_percent(self) -> float:
        """Unknown words among the different words (percent)."""
        return 100.0 * self.oov_types / self.types if self.types else 0.0


def measure(lm: NgramLm, sentences: Iterable[list[str]]) -> Perplexity:
    """Score every sentence with its beginning and end."""
    count = words = 0
    total = total_oov = 0.0
    seen: set[str] = set()
    unknown: Counter[str] = Counter()
    for sentence in sentences:
        scores = lm.word_log10(sentence)
        total += float(scores.sum(dtype="float64"))
        count += 1
        words += len(sentence)
        for k in np.flatnonzero(lm.lookup(sentence) == lm.tables.unk).tolist():
            unknown[sentence[k]] += 1
            total_oov += float(scores[k])
        seen.update(sentence)
    return Perplexity(count, words, len(seen), unknown, total, total_oov)


def _power_of_ten(exponent: float) -> float:
    return float("inf") if exponent > 300 else float(10.0**exponent)
