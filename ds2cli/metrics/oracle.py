"""What the error rate would be if the best of N hypotheses were always chosen: what rescoring them could still win."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ds2cli.metrics.wer import Counts

LADDER = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
"""The numbers of hypotheses that are told of, as far as there are so many, and the largest of all."""


@dataclass
class Oracle:
    """Counts of the best of the first N hypotheses, for several N; `add` one utterance at a time."""

    largest: int = 0
    totals: dict[int, Counts] = field(default_factory=dict)
    whole: Counts = field(default_factory=Counts)

    def add(self, hyps: Sequence[Counts]) -> None:
        """hyps: the counts of each hypothesis, best first, one at least; of equally good ones the first is taken."""
        self.largest = max(self.largest, len(hyps))
        best = hyps[0]
        for n in LADDER:
            # one that has fewer hypotheses has no better one among more
            best = min(best, *hyps[:n], key=_errors)
            self.totals[n] = self.totals.get(n, Counts()) + best
        self.whole += min(hyps, key=_errors)

    def rates(self) -> Iterator[tuple[int, Counts]]:
        """N and the counts of the best of N, to the largest N."""
        yield from ((n, self.totals[n]) for n in LADDER if n < self.largest)
        if self.largest:
            yield self.largest, self.whole


def _errors(counts: Counts) -> int:
    return counts.errors
