"""What a filter of transcripts keeps at each threshold of its score. Notation: N texts, P thresholds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Texts:
    """N texts with what is known of them, each (N,).

    errors: word errors against the true text.  words: of the true text.  weights: how many such texts each stands for.
    """

    errors: NDArray[np.int64]
    words: NDArray[np.int64]
    weights: NDArray[np.float64]

    @property
    def rates(self) -> NDArray[np.float64]:
        """The word error rate of each text, percent."""
        return 100.0 * self.errors / np.maximum(self.words, 1)

    @property
    def wer(self) -> float:
        """The word error rate of all together, percent."""
        return 100.0 * float(self.weights @ self.errors) / max(float(self.weights @ self.words), 1e-12)


@dataclass(frozen=True)
class Curve:
    """The operating points of a score: texts with at least that score are kept. Each (P,), from strict to lenient.

    precision: share of good texts among those kept.  recall: share of the good texts that is kept.
    kept: share of all texts.  wer: word error rate of what is kept (percent).
    """

    thresholds: NDArray[np.float64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    kept: NDArray[np.float64]
    wer: NDArray[np.float64]

    def most_below(self, wer: float) -> int | None:
        """The point that keeps most with a word error rate below `wer` (percent); None if there is none."""
        found = np.flatnonzero(self.wer < wer)
        return int(found[-1]) if len(found) else None

    def nearest_to(self, kept: float) -> int:
        """The point that keeps the share nearest to `kept`."""
        return int(np.abs(self.kept - kept).argmin())


def draw_curve(scores: NDArray[np.float64], good: NDArray[np.bool_], texts: Texts) -> Curve:
    """The operating points of N >= 1 scores, one for each distinct score. good: (N,), some of them with weight."""
    thresholds, index = np.unique(-scores, return_inverse=True)

    def sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.cumsum(np.bincount(index, texts.weights * values, len(thresholds)))

    total, correct, words = sums(np.ones(len(scores))), sums(good.astype(float)), sums(texts.words.astype(float))
    errors = sums(texts.errors.astype(float))
    precision, wer = correct / np.maximum(total, 1e-12), 100.0 * errors / np.maximum(words, 1e-12)
    return Curve(-thresholds, precision, correct / max(correct[-1], 1e-12), total / max(total[-1], 1e-12), wer)


def largest_good_rate(texts: Texts, wer: float) -> float:
    """The word error rate up to which a text is good: the largest with which all good ones together are below `wer`.

    That is how Deep Speech 2 (section 5.1) chooses the threshold of the word edit distance. Percent; a text without
    errors is always good.
    """
    rates, index = np.unique(texts.rates, return_inverse=True)
    sums = [np.cumsum(np.bincount(index, texts.weights * n, len(rates))) for n in (texts.errors, texts.words)]
    below = np.flatnonzero(100.0 * sums[0] / np.maximum(sums[1], 1e-12) < wer)
    return float(rates[below[-1]]) if len(below) else 0.0


def weighted_auc(scores: NDArray[np.float64], good: NDArray[np.bool_], weights: NDArray[np.float64]) -> float:
    """The probability that a good text has a higher score than a bad one; ties count half, 0.5 without one of both."""
    values, index = np.unique(scores, return_inverse=True)
    right, wrong = (np.bincount(index, weights * chosen, len(values)) for chosen in (good, ~good))
    pairs = right.sum() * wrong.sum()
    below = np.cumsum(wrong) - wrong
    return float((right * (below + 0.5 * wrong)).sum() / pairs) if pairs else 0.5
