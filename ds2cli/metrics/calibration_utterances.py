"""Do hypotheses of confidence c have the share c of right words? And do those without errors have higher confidences?

Notation: P utterances.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ds2cli.errors import DataError
from ds2cli.metrics.calibration import BINS, CELLS, area_under_curve, bins_of, cells_of, format_measure, is_confidence


class UtteranceCalibration:
    """Counts utterances, and sums the shares of right words in their hypotheses, by confidence.

    The share of a hypothesis without words is 1 if the reference has none either, else 0. Words of the reference that
    the hypothesis lacks do not lower a share, but they are errors of the utterance.
    """

    def __init__(self) -> None:
        self._counts = np.zeros((2, CELLS + 1), np.int64)  # with errors, without
        self._confidences = np.zeros(BINS)
        self._shares = np.zeros(BINS)

    def add(self, counts: NDArray[np.int64], confidences: NDArray[np.float64]) -> None:
        """Add P utterances.

        counts: (P, 4) hits, substitutions, insertions and deletions of words.  confidences: (P,), from 0 to 1.
        DataError for a confidence that is not, or if their number is another one.
        """
        cells = cells_of(confidences, len(counts), "utterances")
        hits, subs, ins, dels = counts.T
        words = hits + subs + ins
        shares = np.where(words > 0, hits / np.maximum(1, words), dels == 0)
        np.add.at(self._counts, ((subs + ins + dels == 0).astype(np.int64), cells), 1)
        np.add.at(self._confidences, bins_of(cells), confidences)
        np.add.at(self._shares, bins_of(cells), shares)

    @property
    def utterances(self) -> int:
        """The number of utterances."""
        return int(self._counts.sum())

    @property
    def without_errors(self) -> int:
        """The number of those that have no error."""
        return int(self._counts[1].sum())

    @property
    def mean(self) -> float:
        """The mean confidence, 0 without utterances."""
        return float(self._confidences.sum()) / max(1, self.utterances)

    @property
    def share(self) -> float:
        """The mean share of right words, 0 without utterances."""
        return float(self._shares.sum()) / max(1, self.utterances)

    @property
    def ece(self) -> float:
        """Expected calibration error: the mean difference of confidence and share of right words in a bin (0 to 1)."""
        return float(np.abs(self._confidences - self._shares).sum()) / max(1, self.utterances)

    @property
    def auc(self) -> float | None:
        """The probability that an utterance without errors has a higher confidence than one with; ties count half.

        None if all utterances have errors, or none.
        """
        return area_under_curve(*self._counts)

    def summary(self) -> str:
        """All measures in one line."""
        if not self.utterances:
            return "pred_conf: no utterances"
        return (
            f"pred_conf: mean {100 * self.mean:.1f} %, {100 * self.share:.1f} % of a hypothesis' words are correct, "
            f"ECE {100 * self.ece:.1f} %; {self.without_errors} of {self.utterances} utterances have no errors, "
            f"AUC {format_measure(self.auc)}"
        )

    def lines(self) -> list[str]:
        """The reliability table, without the bins that have no utterances, and the summary."""
        utterances = self._per_bin()
        table = [f"{'pred_conf':<12}{'utterances':>10}{'mean':>8}{'correct':>9}"] if self.utterances else []
        for i in np.flatnonzero(utterances):
            mean, share = self._confidences[i] / utterances[i], self._shares[i] / utterances[i]
            table.append(f"{f'{i / BINS:g} to {(i + 1) / BINS:g}':<12}{utterances[i]:>10}{mean:>8.3f}{share:>9.3f}")
        return [*table, self.summary()]

    def as_fields(self) -> dict[str, Any]:
        """All of it as plain values, shares from 0 to 1."""
        utterances = self._per_bin()
        bins = [
            {
                "low": i / BINS,
                "high": (i + 1) / BINS,
                "utterances": int(utterances[i]),
                "mean": float(self._confidences[i] / utterances[i]),
                "share": float(self._shares[i] / utterances[i]),
            }
            for i in np.flatnonzero(utterances).tolist()
        ]
        measures = {"mean": self.mean, "share": self.share, "ece": self.ece, "auc": self.auc}
        return {"utterances": self.utterances, "without_errors": self.without_errors, **measures, "bins": bins}

    def _per_bin(self) -> NDArray[np.int64]:
        """Utterances of each bin."""
        return np.bincount(bins_of(np.arange(CELLS + 1)), self._counts.sum(axis=0), BINS).astype(np.int64)


def utterance_confidence(row: dict[str, Any]) -> float | None:
    """The row's `pred_conf`, None if it has none.  DataError if it is not a number from 0 to 1."""
    if "pred_conf" not in row:
        return None
    confidence = row["pred_conf"]
    if not is_confidence(confidence):
        raise DataError(f"{row.get('id')}: `pred_conf`: expected a number from 0 to 1, got {confidence!r}")
    return float(confidence)
