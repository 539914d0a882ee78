"""Whether two systems differ on the same references: the tests of NIST's sc_stats.

- Matched pairs sentence-segment word error test, MAPSSWE (Gillick & Cox 1989): utterances are divided where both
  systems have two words in a row right, so that the errors of the segments are independent.
- McNemar's test of utterances with errors (same paper), sign test and Wilcoxon's signed-rank test of speakers.

All are two-sided. A positive difference or Z says that the first system has more errors. Each p comes twice: `p` is
what it should be, `p_sc_stats` what sc_stats 1.3 prints. That looks up the normal distribution in steps of 0.01, which
changes the third digit, and halves a count when it approximates the binomial distribution (over 20 cases): its p of
the sign test and of McNemar's is then far too small. Notation: P pairs of texts, S slots, G segments.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ds2cli.kernels.edit import HIT, INS
from ds2cli.metrics.alignment import Alignments

MIN_BLOCKS = 8
"""Speakers from which on the Z of Wilcoxon's test means something, according to sc_stats."""

_EQUAL_RATES = 0.005
"""Percentage points by which the rates of equal speakers may differ, as in sc_stats."""

LAST_EXACT = 20
"""Cases up to which sc_stats computes the binomial distribution."""

MAX_SUM = 1_000_000
"""Largest sum of differences, in units of their common divisor, for which `randomization_p` needs no rounding."""

_LAST_Z = 5.14
"""Where the table of sc_stats ends."""


@dataclass(frozen=True)
class TestResult:
    """The result of a test.

    z: positive if the first system has more errors; None for tests that count.  p, p_sc_stats: see the module.
    cases: what was compared: segments, speakers, or utterances that only one system has right.
    """

    __test__ = False

    z: float | None
    p: float
    p_sc_stats: float
    cases: int


def normal_p(z: float) -> float:
    """The probability of a standard normal number at least as far from 0 as z."""
    return math.erfc(abs(z) / math.sqrt(2))


def binomial_p(fewer: int, cases: int) -> float:
    """The probability that the rarer side of fair coin tosses occurs at most `fewer` times; at most 1."""
    if 2 * fewer >= cases:
        return 1.0
    total, term, k = 0.0, _binomial(fewer, cases), fewer
    # each term is smaller than the one before it
    while k >= 0 and term > total * 1e-17:
        total += term
        term *= k / (cases - k + 1)
        k -= 1
    return min(1.0, 2 * total)


def _sc_stats_normal_p(z: float) -> float:
    # numbers such as 0.29 are in the table
    return normal_p(min(math.floor(abs(z) * 100 + 1e-9) / 100, _LAST_Z))


def _sc_stats_binomial_p(fewer: int, cases: int) -> float:
    if 2 * fewer == cases:
        return 1.0
    if cases <= LAST_EXACT:
        return binomial_p(fewer, cases)
    return _sc_stats_normal_p((fewer / 2 - cases / 2) / math.sqrt(cases / 4))


def _normal_result(z: float, cases: int) -> TestResult:
    return TestResult(z, normal_p(z), _sc_stats_normal_p(z), cases)


@dataclass(frozen=True)
class Slots:
    """Where the errors of a system lie in the references: a slot per word, and one after the last word of each text.

    errors: (S,) the wrong word (0 or 1) and the insertions before it.  right: (S,) whether the word is right.
    inserted: (S,) whether something is inserted before the word.  ends: (P,) where the slots of each text end.
    """

    errors: NDArray[np.int64]
    right: NDArray[np.bool_]
    inserted: NDArray[np.bool_]
    ends: NDArray[np.int64]


def find_slots(alignments: Alignments) -> Slots:
    """Where the errors lie."""
    steps = alignments.steps
    is_word = steps != INS
    lengths = np.diff(alignments.ends, prepend=0)
    # the words before each step, and one slot more for each text before it
    slot = np.cumsum(is_word) - is_word + np.repeat(np.arange(len(lengths)), lengths)
    ends = np.cumsum(alignments.counts[:, [0, 1, 3]].sum(axis=1) + 1)
    size = int(ends[-1]) if len(ends) else 0
    right = np.zeros(size, dtype=np.bool_)
    right[slot[steps == HIT]] = True
    inserted = np.zeros(size, dtype=np.bool_)
    inserted[slot[~is_word]] = True
    return Slots(np.bincount(slot[steps != HIT], minlength=size), right, inserted, ends)


def segment_errors(first: Slots, second: Slots) -> NDArray[np.int64]:
    """The segments in which either system has errors: (G, 3) errors of the first, of the second, reference words.

    A segment ends after two words in a row, with nothing inserted between, that both systems have right. Its words
    include those two, and up to two before the first error: words of neighboring segments are counted twice.
    ValueError if the references differ in length.
    """
    if not np.array_equal(first.ends, second.ends):
        raise ValueError("the references differ in length")
    errors = first.errors + second.errors
    right = first.right & second.right
    closes = np.zeros(len(right), dtype=np.bool_)
    closes[1:] = right[1:] & right[:-1] & ~(first.inserted | second.inserted)[1:]
    wrong = np.flatnonzero(errors)
    if not len(wrong):
        return np.zeros((0, 3), np.int64)
    text = np.searchsorted(first.ends, wrong, side="right")
    segment = np.cumsum(closes)[wrong] + text
    starts = np.flatnonzero(np.diff(segment, prepend=-1))
    counts = [np.add.reduceat(system.errors[wrong], starts) for system in (first, second)]
    begin = np.concatenate([[0], first.ends])[text[starts]]
    end = first.ends[text[starts]] - 1
    last = wrong[np.append(starts[1:], len(wrong)) - 1]
    close = np.append(np.flatnonzero(closes), len(right))
    until = np.minimum(close[np.searchsorted(close, last, side="right")] + 1, end)
    return np.stack([*counts, until - np.maximum(wrong[starts] - 2, begin)], axis=1)


@dataclass(frozen=True)
class Differences:
    """Sums over the differences of errors; they add up over chunks.

    cases: how many.  total, squares: sums of the differences and of their squares.
    """

    cases: int = 0
    total: int = 0
    squares: int = 0

    @classmethod
    def of(cls, first: NDArray[np.int64], second: NDArray[np.int64]) -> Differences:
        """Those of two systems."""
        differences = first - second
        return cls(len(differences), int(differences.sum()), int((differences * differences).sum()))

    def __add__(self, other: Differences) -> Differences:
        return Differences(self.cases + other.cases, self.total + other.total, self.squares + other.squares)

    @property
    def variance(self) -> float:
        """The variance of a difference; 0 for fewer than two."""
        if self.cases < 2:
            return 0.0
        return (self.cases * self.squares - self.total**2) / (self.cases * (self.cases - 1))


def matched_pairs(segments: Differences) -> TestResult:
    """MAPSSWE: whether the mean difference of the segments is 0.

    If all differences are equal, there is no Z, and p is that of the sign test (sc_stats: Z 0, p 1).
    """
    if segments.variance == 0:
        return TestResult(None, binomial_p(0, segments.cases) if segments.total else 1.0, 1.0, segments.cases)
    error = math.sqrt(segments.variance / segments.cases)
    return _normal_result(segments.total / segments.cases / error, segments.cases)


def randomization_p(sizes: Mapping[int, int], total: int) -> float:
    """The exact p of a sum of differences, if each could have had the other sign: for few segments.

    The work is at most n * MAX_SUM for n differences. If their absolute values add up to more than that (in units of
    their greatest common divisor), they are rounded so that they do not: p is then exact or slightly too large.
    sizes: how many differences have each absolute value.  total: their sum.
    """
    values = [size for size, number in sizes.items() for _ in range(number) if size]
    step, rounding = math.gcd(*values) or 1, 0.0
    if sum(values) > MAX_SUM * step:
        step, rounding = math.ceil(sum(values) / MAX_SUM), len(values) / 2
    units = [round(value / step) for value in values]
    chances = sum_chances(units)
    sums = np.abs(2 * np.arange(len(chances)) - sum(units))
    return min(1.0, float(chances[sums >= abs(total) / step - rounding].sum()))


def sum_chances(values: Sequence[int]) -> NDArray[np.float64]:
    """(sum + 1,) the probability of each sum of values >= 0, if a fair coin decides about each whether it counts."""
    chances = np.ones(1)
    for value in values:
        chances = (np.pad(chances, (0, value)) + np.pad(chances, (value, 0))) / 2
    return chances


def _binomial(k: int, cases: int) -> float:
    """The probability of k heads."""
    return math.exp(math.lgamma(cases + 1) - math.lgamma(k + 1) - math.lgamma(cases - k + 1) - cases * math.log(2))


def mcnemar(only_first: int, only_second: int) -> TestResult:
    """Whether as many utterances are right with the first system only as with the second only."""
    return _count_result(min(only_first, only_second), only_first + only_second)


def _count_result(fewer: int, cases: int) -> TestResult:
    return TestResult(None, binomial_p(fewer, cases), _sc_stats_binomial_p(fewer, cases), cases)


def sign_test(
    first: Sequence[float] | NDArray[np.float64], second: Sequence[float] | NDArray[np.float64]
) -> TestResult:
    """Whether the first system has the higher rate as often as the lower one.

    Half of the equal rates count for each side as in sc_stats, an odd one for the system that is better on average.
    first, second: error rates (percent) of each speaker.
    """
    worse, better, _ = _order(first, second)
    plus, minus = int((worse - better > _EQUAL_RATES).sum()), int((better - worse > _EQUAL_RATES).sum())
    equal = len(worse) - plus - minus
    return _count_result(min(plus + equal // 2, minus + equal - equal // 2), len(worse))


def wilcoxon_test(
    first: Sequence[float] | NDArray[np.float64], second: Sequence[float] | NDArray[np.float64]
) -> TestResult:
    """Whether the ranks of the differences between error rates favor a system, by the normal approximation.

    The ranks of equal rates alternate between the sides, as in sc_stats, and count first for the system that is worse
    on average. first, second: error rates (percent) of each speaker.
    """
    worse, better, is_first_worse = _order(first, second)
    differences = worse - better
    ranks = _average_ranks(np.abs(differences))
    equal = np.abs(differences) <= _EQUAL_RATES
    alternate = np.zeros(len(ranks), dtype=np.bool_)
    alternate[np.flatnonzero(equal)[::2]] = True
    positive = float(ranks[alternate | (~equal & (differences > 0))].sum())
    n = len(ranks)
    deviation = math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
    z = (positive - n * (n + 1) / 4) / deviation if n else 0.0
    return _normal_result(z if is_first_worse else -z, n)


def _order(
    first: Sequence[float] | NDArray[np.float64], second: Sequence[float] | NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], bool]:
    """The system that is worse on average, the other one, and whether the first is worse."""
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    # added in order, as sc_stats does
    is_first_worse = sum(a.tolist()) > sum(b.tolist())
    return (a, b, True) if is_first_worse else (b, a, False)


def _average_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rank of each value, from 1; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return ((last - counts + 1 + last) / 2)[inverse]
