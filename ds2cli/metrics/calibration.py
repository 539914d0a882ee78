"""Do words of confidence c have the share c of right ones? And a scale of confidences with which they come closest.

Notation: S steps of an alignment, W words of hypotheses.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ds2cli.errors import DataError
from ds2cli.kernels.edit import DEL, HIT
from ds2cli.metrics.wer import EditStep

BINS = 10
"""Lines of the reliability table: ranges of confidence of equal width."""

CELLS = 10000
"""Confidences are counted to four decimals, as rows have them, so that any number of words takes the same memory."""

SURE = 1e-7
"""For the cross entropy no confidence is nearer to 0 or 1 than this, as in NIST's sclite."""

SCALES = (0.01, 10.0)
"""The range in which a scale is searched."""

_CEILING = math.log(1 - 1e-4)
"""Highest log of a confidence while a scale is fitted: wrong words of confidence 1 then have a finite cost."""


class Calibration:
    """Counts right and wrong words by confidence. Words of the reference that the hypothesis lacks have none."""

    def __init__(self) -> None:
        self._counts = np.zeros((2, CELLS + 1), np.int64)  # wrong, right
        self._sums = np.zeros(BINS)
        self._entropy = 0.0

    def add(self, steps: Sequence[EditStep] | NDArray[np.uint8], confidences: Sequence[float]) -> None:
        """Add the words of one hypothesis; those that are hits are right.

        steps: its alignment with the reference, as pairs, or (S,) uint8 of HIT, SUB, INS and DEL.
        confidences: of each word of the hypothesis, from 0 to 1.
        DataError for a confidence that is not, or if their number is not that of the words.
        """
        if isinstance(steps, np.ndarray):
            right = steps[steps != DEL] == HIT
        else:
            right = np.array([ref == hyp for ref, hyp in steps if hyp is not None], bool)
        self.add_words(right, np.asarray(confidences, np.float64))

    def add_words(self, right: NDArray[np.bool_], confidences: NDArray[np.float64]) -> None:
        """Add W words: whether each is right, and its confidence; errors as for `add`."""
        cells = cells_of(confidences, len(right), "words")
        np.add.at(self._counts, (right.astype(np.int64), cells), 1)
        np.add.at(self._sums, bins_of(cells), confidences)
        self._entropy -= float(np.log2(_chosen(right, np.clip(confidences, SURE, 1 - SURE))).sum())

    @property
    def words(self) -> int:
        """The number of words."""
        return int(self._counts.sum())

    @property
    def right(self) -> int:
        """The number of those that are right."""
        return int(self._counts[1].sum())

    @property
    def mean(self) -> float:
        """The mean confidence, 0 without words."""
        return float(self._sums.sum()) / max(1, self.words)

    @property
    def ece(self) -> float:
        """Expected calibration error: the mean difference of confidence and share of right words in a bin (0 to 1)."""
        words, right = self._per_bin()
        return float(np.abs(self._sums - right).sum() / max(1, words.sum()))

    @property
    def nce(self) -> float | None:
        """Normalized cross entropy, as sclite's NCE: 1 for perfect confidences, 0 for that of the share of right words.

        It has no lower bound. None if all words are correct, or all wrong.
        """
        n, p = self.words, self.right / max(1, self.words)
        if p in (0.0, 1.0):
            return None
        most = -n * (p * math.log2(p) + (1 - p) * math.log2(1 - p))
        return (most - self._entropy) / most

    @property
    def auc(self) -> float | None:
        """The probability that a right word has a higher confidence than a wrong one; ties count half.

        None if all words are correct, or all wrong.
        """
        return area_under_curve(*self._counts)

    def summary(self) -> str:
        """All measures in one line."""
        if not self.words:
            return "confidence: no words"
        share = 100 * self.right / self.words
        return (
            f"confidence: mean {100 * self.mean:.1f} %, {share:.1f} % of {self.words} words are correct, "
            f"ECE {100 * self.ece:.1f} %, NCE {format_measure(self.nce)}, AUC {format_measure(self.auc)}"
        )

    def lines(self) -> list[str]:
        """The reliability table, without the bins that have no words, and the summary."""
        words, right = self._per_bin()
        table = [f"{'confidence':<12}{'words':>9}{'mean':>9}{'correct':>9}"] if self.words else []
        for i in np.flatnonzero(words):
            mean, share = self._sums[i] / words[i], right[i] / words[i]
            table.append(f"{f'{i / BINS:g} to {(i + 1) / BINS:g}':<12}{words[i]:>9}{mean:>9.3f}{share:>9.3f}")
        return [*table, self.summary()]

    def as_fields(self) -> dict[str, Any]:
        """All of it as plain values, shares from 0 to 1."""
        words, right = self._per_bin()
        bins = [
            {
                "low": i / BINS,
                "high": (i + 1) / BINS,
                "words": int(words[i]),
                "correct": int(right[i]),
                "mean": float(self._sums[i] / words[i]),
            }
            for i in np.flatnonzero(words).tolist()
        ]
        measures = {"mean": self.mean, "ece": self.ece, "nce": self.nce, "auc": self.auc}
        return {"words": self.words, "correct": self.right, **measures, "bins": bins}

    def _per_bin(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Words, and right ones, of each bin."""
        bins = bins_of(np.arange(CELLS + 1))
        wrong, right = (np.bincount(bins, cells, BINS).astype(np.int64) for cells in self._counts)
        return wrong + right, right


def fit_scale(
    log_probs: NDArray[np.float64], right: NDArray[np.bool_], log_weights: NDArray[np.float64] | float = 0.0
) -> float | None:
    """The scale a for which the confidences exp(a * log_probs + log_weights) have the lowest cross entropy.

    The cross entropy is convex in a, so a golden-section search over `SCALES` finds the minimum. Without `log_weights`,
    confidences are raised to the power a. None if all words are correct, or all wrong: then no scale is best.

    log_probs: (W,) log-probabilities of the words (nats), 0 or less.  right: (W,) whether each is right.
    log_weights: (W,) logs of further factors, 0 or less.
    DataError for a number that is not a log of a probability.
    """
    weights = np.broadcast_to(np.asarray(log_weights, np.float64), log_probs.shape)
    if not ((log_probs <= 0) & (weights <= 0) & np.isfinite(weights)).all():
        raise DataError("a scale is fitted to the logs of probabilities: expected numbers up to 0")
    if right.all() or not right.any():
        return None
    # below this the confidence of a right word is 0 with every scale
    finite = np.maximum(log_probs, -1e4)

    def cost(scale: float) -> float:
        logs = scale * finite + weights + _CEILING
        return -float(logs[right].sum() + np.log(-np.expm1(logs[~right])).sum())

    low, high = SCALES
    ratio = (math.sqrt(5) - 1) / 2
    while high - low > 1e-4 * low:
        left, middle = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, middle) if cost(left) <= cost(middle) else (left, high)
    return (low + high) / 2


def word_confidences(row: dict[str, Any]) -> list[float] | None:
    """The confidence of each word of the row's `pred_text`, from its `pred_words`.

    None if the row has no `pred_words`, if they do not spell `pred_text` (it was changed since, or normalized), or if
    one of them has no `conf`.  DataError for a confidence that is not a number from 0 to 1.
    """
    words, text = row.get("pred_words"), row.get("pred_text")
    if not isinstance(words, list) or not isinstance(text, str):
        return None
    if not all(isinstance(word, dict) and "conf" in word for word in words):
        return None
    if [word.get("word") for word in words] != text.split():
        return None
    confidences = [word["conf"] for word in words]
    for confidence in confidences:
        if not is_confidence(confidence):
            raise DataError(
                f"{row.get('id')}: `conf` of `pred_words`: expected a number from 0 to 1, got {confidence!r}"
            )
    return [float(confidence) for confidence in confidences]


def is_confidence(value: Any) -> bool:
    """Whether it is a number from 0 to 1."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1


def area_under_curve(wrong: NDArray[np.int64], right: NDArray[np.int64]) -> float | None:
    """The probability that one of `right` is in a later cell than one of `wrong`; ties count half.

    wrong, right: (N,) counts of each cell.  None if one of them has no counts.
    """
    pairs = int(wrong.sum()) * int(right.sum())
    if not pairs:
        return None
    below = np.cumsum(wrong) - wrong
    return float((right * (below + 0.5 * wrong)).sum() / pairs)


def cells_of(confidences: NDArray[np.float64], number: int, what: str) -> NDArray[np.int64]:
    """The cell of each confidence. number, what: of the things that have one.

    DataError for a confidence that is not from 0 to 1, or if there are more or fewer than things.
    """
    if number != len(confidences):
        raise DataError(f"{len(confidences)} confidences of {number} {what}")
    refused = ~((confidences >= 0) & (confidences <= 1))
    if refused.any():
        raise DataError(f"a confidence of {confidences[refused][0]:g}: expected 0 to 1")
    return np.rint(confidences * CELLS).astype(np.int64)


def bins_of(cells: NDArray[np.int64]) -> NDArray[np.int64]:
    """The line of the reliability table to which each cell belongs."""
    return np.minimum(cells * BINS // CELLS, BINS - 1)


def _chosen(right: NDArray[np.bool_], confidences: NDArray[np.float64]) -> NDArray[np.float64]:
    """The probability that was given to what is the case."""
    return np.where(right, confidences, 1 - confidences)


def format_measure(value: float | None) -> str:
    """A measure with three decimals, - for None."""
    return "-" if value is None else f"{value:.3f}"
