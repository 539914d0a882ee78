"""What is kept of two systems while utterances are added, and what the comparison finds about them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ds2cli.metrics.interval import Z_95
from ds2cli.metrics.significance import Differences, TestResult

MIN_DRAWN = 8
"""Utterances or groups from which on a difference may count as real: draws of fewer tell little."""

Verdict = Literal["same", "none", "uncertain", "real", "too-few"]
"""same: no segment differs.  none: no difference is shown.  uncertain: the tests disagree.  real: the difference is
real.  too-few: fewer than MIN_DRAWN utterances or groups."""

MIN_SEGMENTS = 50
"""Segments with errors from which on the normal approximation of MAPSSWE decides."""

LEVEL = 0.05
"""Probability of finding a difference between systems that are equal."""

POWER_FACTOR = Z_95 + 0.841621
"""Standard errors that a difference must have to be found at 5 %, two-sided, in 80 % of such test sets."""


@dataclass
class PairSums:
    """What is kept of two systems.

    segments: differences of the errors of segments.  sizes: how many of these have each absolute value.
    better, worse: utterances in which the second system has fewer errors, and more.
    only_first, only_second: utterances that only one system has right.
    """

    segments: Differences = field(default_factory=Differences)
    sizes: Counter[int] = field(default_factory=Counter)
    better: int = 0
    worse: int = 0
    only_first: int = 0
    only_second: int = 0

    def add(self, segments: NDArray[np.int64], errors: NDArray[np.int64]) -> None:
        """Add utterances. segments: (G, 2) errors of each segment.  errors: (P, 2)."""
        first, second = errors[:, 0], errors[:, 1]
        self.segments += Differences.of(segments[:, 0], segments[:, 1])
        sizes, numbers = np.unique(np.abs(segments[:, 0] - segments[:, 1]), return_counts=True)
        self.sizes.update(dict(zip(sizes.tolist(), numbers.tolist(), strict=True)))
        self.better += int((second < first).sum())
        self.worse += int((second > first).sum())
        self.only_first += int(((first == 0) & (second > 0)).sum())
        self.only_second += int(((second == 0) & (first > 0)).sum())


@dataclass(frozen=True)
class PairResult:
    """The second system of a pair against the first.

    difference: of the rates in points (percent of the reference), negative if the second has fewer errors.
    interval: of the difference, 95 %.  share_better: of the draws in which the second has the lower rate.
    p_bootstrap: twice the share of the draws in which the better system is not better, at least one draw.
    p_exact: of MAPSSWE by randomization, for fewer than MIN_SEGMENTS.
    p_corrected: of the test that decides, corrected for the number of pairs (Holm 1979): MAPSSWE, with few segments its
    exact p; the bootstrap where groups are drawn.
    signs: of better and worse utterances; ties are left out.  group_signs, ranks: of the groups; None without groups.
    smallest: difference that this set shows with the probability 0.8.  words_per_point: that a set of this kind would
    need to show one point. None if there is nothing to estimate them from.
    """

    first: int
    second: int
    sums: PairSums
    difference: float
    interval: tuple[float, float]
    share_better: float
    p_bootstrap: float
    mapsswe: TestResult
    p_exact: float | None
    p_corrected: float
    mcnemar: TestResult
    signs: TestResult
    group_signs: TestResult | None
    ranks: TestResult | None
    smallest: float | None
    words_per_point: int | None
    verdict: Verdict = "none"
