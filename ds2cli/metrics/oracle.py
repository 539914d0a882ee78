"""Oracle error rate of n-best lists: the rate if the best of N hypotheses were always chosen, a bound for rescoring."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ds2cli.metrics.wer import Counts

LADDER = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
"""Values of N that are reported, up to the length of the longest n-best list."""


@dataclass
class Oracle:
    """Error counts of the best of the first N hypotheses, for several N; `add` one utterance at a time."""

    largest: int = 0
    totals: dict[int, Counts] = field(default_factory=dict)
    best_of_all: Counts = field(default_factory=Counts)

    def add(self, hyps: Sequence[Counts]) -> None:
        """Add an utterance. hyps: counts of each hypothesis, best score first, at least one; the first wins a tie."""
        self.largest = max(self.largest, len(hyps))
        best = hyps[0]
        for n in LADDER:
            # an utterance with fewer than n hypotheses counts with the best of those
            best = min(best, *hyps[:n], key=_errors)
            self.totals[n] = self.totals.get(n, Counts()) + best
        self.best_of_all += min(hyps, key=_errors)

    def add_single(self, counts: Counts, number: int) -> None:
        """Add `number` utterances with one hypothesis each. counts: of all of them together."""
        if number:
            self.largest = max(self.largest, 1)
            for n in LADDER:
                self.totals[n] = self.totals.get(n, Counts()) + counts
            self.best_of_all += counts

    def rates(self) -> Iterator[tuple[int, Counts]]:
        """Yield N and the counts of the best of N, up to the longest n-best list."""
        yield from ((n, self.totals[n]) for n in LADDER if n < self.largest)
        if self.largest:
            yield self.largest, self.best_of_all


def _errors(counts: Counts) -> int:
    return counts.errors
