"""Tune the weights of a search on a development set: a coarse grid, then a local search from its best points.

Error counts are piecewise constant, so gradients do not help; a search is cheap once the emissions exist, so hundreds
of points are tried. Nothing is random: the same development set gives the same weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product

import numpy as np
from numpy.typing import NDArray

from ds2cli.metrics.wer import Counts

LOCAL_SEARCHES = 3
"""Points of the grid from which a local search starts: the best one may be a local optimum."""

MAX_HALVINGS = 3
"""How often the step size is halved where no step reduces the errors."""

FAR = 1.0
"""Widths of its grid outside of which a weight is far: 10 is, where a word insertion bonus of -1 to 3 was tried."""

PLOT_STEPS = 3
"""Steps shown to each side of the best point."""


@dataclass(frozen=True)
class Weights:
    """What a search adds to log p_ctc: alpha log p_lm + beta words + unknown + unknown_letter letters (nats)."""

    alpha: float
    beta: float
    unknown: float = 0.0
    unknown_letter: float = 0.0


@dataclass(frozen=True, eq=False)
class Trial:
    """The errors at one point.

    counts: in the unit of the error rate.  char_errors: in characters.  per_utterance: (N, 2) int64, errors and
    reference length of each utterance.
    """

    weights: Weights
    counts: Counts
    char_errors: int
    per_utterance: NDArray[np.int64]

    @property
    def rank(self) -> tuple[int, int]:
        """What trials are compared by: the errors, and for equal errors the finer count in characters."""
        return self.counts.errors, self.char_errors


@dataclass(frozen=True)
class Axis:
    """One weight: its grid values, and the bounds of the values tried around them."""

    name: str
    values: Sequence[float]
    minimum: float = -math.inf
    maximum: float = math.inf

    @property
    def step(self) -> float:
        """The initial step size of the local search: half the grid spacing, 0 for a single value."""
        return min((b - a for a, b in pairwise(sorted(set(self.values)))), default=0.0) / 2

    def points_around(self, weights: Weights, steps: Iterable[int], step: float) -> list[Weights]:
        """The points this many steps along the axis from `weights`, clipped to its bounds, without duplicates."""
        start = getattr(weights, self.name)
        values = dict.fromkeys(round(min(max(start + k * step, self.minimum), self.maximum), 6) + 0.0 for k in steps)
        return [replace(weights, **{self.name: value}) for value in values]


def find_outside(axes: Iterable[Axis], weights: Weights, widths: float = 0.0) -> list[Axis]:
    """The axes whose grid a point lies outside of, by more than `widths` times the width of the grid.

    The local search follows falling errors out of the grid. A weight with a single value is not searched.
    """
    found = []
    for axis in axes:
        low, high, value = min(axis.values), max(axis.values), getattr(weights, axis.name)
        margin = widths * (high - low)
        if high > low and not low - margin <= value <= high + margin:
            found.append(axis)
    return found


def find_far(axes: Iterable[Axis], weights: Weights) -> list[Axis]:
    """The axes whose grid a point is further away from than the grid is wide."""
    return find_outside(axes, weights, FAR)


Evaluate = Callable[[Sequence[Weights]], Iterable[Trial]]


class TrialHistory:
    """All trials so far, in order; each point is evaluated once."""

    def __init__(self, evaluate: Evaluate) -> None:
        self._evaluate = evaluate
        self._trials: dict[Weights, Trial] = {}

    def __getitem__(self, weights: Weights) -> Trial:
        return self._trials[weights]

    def __len__(self) -> int:
        return len(self._trials)

    def run(self, points: Iterable[Weights]) -> Iterator[Trial]:
        """Evaluate the points that have not been tried yet."""
        for trial in self._evaluate([point for point in dict.fromkeys(points) if point not in self._trials]):
            self._trials[trial.weights] = trial
            yield trial

    def best(self, count: int = 1) -> list[Trial]:
        """The trials with the fewest errors; ties in the order tried."""
        return sorted(self._trials.values(), key=lambda trial: trial.rank)[:count]


def tune_weights(axes: Sequence[Axis], first: Weights, history: TrialHistory) -> Iterator[Trial]:
    """Yield trials as they finish: `first`, the grid, then local searches one step along each axis at a time.

    A step is taken where it reduces the errors; where none does, the step size is halved.
    """
    names = [axis.name for axis in axes]
    grid = (replace(first, **dict(zip(names, values, strict=True))) for values in product(*(a.values for a in axes)))
    yield from history.run([first, *grid])
    for start in history.best(LOCAL_SEARCHES):
        current, halvings = start, 0
        while halvings <= MAX_HALVINGS:
            scale = 0.5**halvings
            neighbors = [
                weights
                for axis in axes
                if axis.step
                for weights in axis.points_around(current.weights, (-1, 1), scale * axis.step)
            ]
            yield from history.run(neighbors)
            best_neighbor = min(
                (history[weights] for weights in neighbors), key=lambda trial: trial.rank, default=current
            )
            halvings += best_neighbor.rank >= current.rank
            current = min(current, best_neighbor, key=lambda trial: trial.rank)


def plot_grid(best: Weights, rows: Axis, columns: Axis) -> list[list[Weights]]:
    """The points around the best one: a row per value of the axis `rows`, a column per value of `columns`."""
    steps = range(-PLOT_STEPS, PLOT_STEPS + 1)
    return [columns.points_around(row, steps, columns.step) for row in rows.points_around(best, steps, rows.step)]
