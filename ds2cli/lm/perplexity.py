"""How well a model predicts a text, as KenLM's `query` counts it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ds2cli.lm.query import NgramLm


@dataclass(frozen=True)
class Perplexity:
    """Sums over a text. log10: of all tokens, sentence ends included; log10_oov: the share of the unknown ones."""

    sentences: int
    words: int
    types: int
    oov: int
    oov_types: int
    log10: float
    log10_oov: float

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
    count = words = oov = 0
    total = total_oov = 0.0
    seen: set[str] = set()
    for sentence in sentences:
        scores = lm.word_log10(sentence)
        total += float(scores.sum(dtype="float64"))
        count += 1
        words += len(sentence)
        for word, score in zip(sentence, scores, strict=False):
            if word not in lm:
                oov += 1
                total_oov += float(score)
        seen.update(sentence)
    return Perplexity(count, words, len(seen), oov, sum(w not in lm for w in seen), total, total_oov)


def _power_of_ten(exponent: float) -> float:
    return float("inf") if exponent > 300 else float(10.0**exponent)
