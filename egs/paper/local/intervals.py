"""Means with intervals over seeds, and what a comparison of two rows shows: numbers in, numbers and words out.

Runs that differ in their seed alone are taken as draws from one normal distribution, so an interval says what another
seed would change, and nothing about other test sets or other training sets.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, variance

SAME, OPPOSITE, NOT_SHOWN, MISSING = "same", "opposite", "not shown", "no runs"
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean, and the t-interval around it; low and high are infinite if there are too few runs for one."""

    mean: float
    low: float
    high: float

    def contains(self, value: float) -> bool:
        """Whether the value is no less likely than the confidence allows."""
        return self.low <= value <= self.high


def t_quantile(freedom: float, confidence: float = CONFIDENCE) -> float:
    """The multiple of the standard error that a two-sided interval takes (Student's t; freedom may be a fraction)."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.5 + confidence / 2))


def interval(values: Sequence[float]) -> Interval:
    """The mean of the runs and its t-interval; ValueError without values."""
    if not values:
        raise ValueError("no values")
    center = mean(values)
    if len(values) < 2:
        return Interval(center, -math.inf, math.inf)
    half = t_quantile(len(values) - 1) * math.sqrt(variance(values) / len(values))
    return Interval(center, center - half, center + half)


def difference(higher: Sequence[float], lower: Sequence[float]) -> Interval:
    """mean(higher) - mean(lower) with Welch's t-interval: the runs of two rows are not paired by their seeds."""
    center = mean(higher) - mean(lower)
    if len(higher) < 2 or len(lower) < 2:
        return Interval(center, -math.inf, math.inf)
    parts = [(variance(values) / len(values), len(values) - 1) for values in (higher, lower)]
    total = sum(part for part, _ in parts)
    if total == 0:
        return Interval(center, center, center)
    freedom = total**2 / sum(part**2 / free for part, free in parts)
    half = t_quantile(freedom) * math.sqrt(total)
    return Interval(center, center - half, center + half)


def verdict(found: Interval | None, paper: float) -> str:
    """Whether an interval lies on the side of 0 that the paper's value lies on; MISSING for None."""
    if found is None:
        return MISSING
    if found.contains(0.0):
        return NOT_SHOWN
    return SAME if (found.mean > 0) == (paper > 0) else OPPOSITE


def gains(before: Sequence[float], after: Sequence[float]) -> list[float]:
    """By how many percent of itself each run's error rate falls; runs without errors before are left out."""
    return [100 * (old - new) / old for old, new in zip(before, after, strict=True) if old > 0]


def fall_per_tenfold(points: Sequence[tuple[float, float]]) -> float:
    """By how many percent the error rate falls with ten times the hours: least squares on logarithms.

    points: hours and error rates, each > 0, of at least two different hours.
    """
    xs, ys = ([math.log10(value) for value in values] for values in zip(*points, strict=True))
    center, level = mean(xs), mean(ys)
    slope = sum((x - center) * (y - level) for x, y in zip(xs, ys, strict=True)) / sum((x - center) ** 2 for x in xs)
    return 100 * (1 - math.pow(10.0, slope))


def describe(values: Sequence[float], digits: int = 1) -> str:
    """Mean, range and interval for a cell of a table: `26.3 (24.0–28.1; ±5.1)`; `-` without values."""
    if not values:
        return "-"
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    found = interval(values)
    half = f"±{found.high - found.mean:.{digits}f}"
    return f"{found.mean:.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f}; {half})"
