"""Find the weights of a search on a development set: a coarse grid, then steps from its best points.

Error counts are steps with many flat places, so no derivative helps; a search costs little once the emissions are
there, so hundreds of points are tried. Nothing is random: the same set gives the same weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product

import numpy as np
from numpy.typing import NDArray

from ds2cli.metrics.wer import Counts

STARTS = 3
"""Points of the grid that are gone on from: its best may stand on a small hill."""

HALVINGS = 3
"""How often the steps are halved where none of them leads to less errors."""

AROUND = 3
"""Steps to each side of the best point that are shown."""


@dataclass(frozen=True)
class Weights:
    """What a search adds to log p_ctc: alpha log p_lm + beta words + unknown + unknown_letter letters (nats)."""

    alpha: float
    beta: float
    unknown: float = 0.0
    unknown_letter: float = 0.0


@dataclass(frozen=True, eq=False)
class Trial:
    """What one point does. each: (N, 2) int64, errors and length of each utterance.  letters: errors in characters."""

    weights: Weights
    counts: Counts
    letters: int
    each: NDArray[np.int64]

    @property
    def rank(self) -> tuple[int, int]:
        """What is compared: the errors, and among equals those in characters, which tell finer."""
        return self.counts.errors, self.letters


@dataclass(frozen=True)
class Axis:
    """One weight: the values its grid has, and the bounds of others."""

    name: str
    values: Sequence[float]
    least: float = -math.inf
    most: float = math.inf

    @property
    def step(self) -> float:
        """The first step beyond the grid: half of what lies between its values, 0 where there is one only."""
        return min((b - a for a, b in pairwise(sorted(set(self.values)))), default=0.0) / 2

    def around(self, weights: Weights, steps: Iterable[int], step: float) -> list[Weights]:
        """The points so many steps along the axis from `weights`, inside its bounds, each once."""
        here = getattr(weights, self.name)
        values = dict.fromkeys(round(min(max(here + k * step, self.least), self.most), 6) + 0.0 for k in steps)
        return [replace(weights, **{self.name: value}) for value in values]


Evaluate = Callable[[Sequence[Weights]], Iterable[Trial]]


class Tried:
    """Every trial so far, in order; a point is tried once."""

    def __init__(self, evaluate: Evaluate) -> None:
        self._evaluate = evaluate
        self._trials: dict[Weights, Trial] = {}

    def __getitem__(self, weights: Weights) -> Trial:
        return self._trials[weights]

    def __len__(self) -> int:
        return len(self._trials)

    def of(self, points: Iterable[Weights]) -> Iterator[Trial]:
        """Try those of the points that were not tried yet."""
        for trial in self._evaluate([point for point in dict.fromkeys(points) if point not in self._trials]):
            self._trials[trial.weights] = trial
            yield trial

    def best(self, count: int = 1) -> list[Trial]:
        """The trials of the fewest errors; of equals those tried first."""
        return sorted(self._trials.values(), key=lambda trial: trial.rank)[:count]


def optimise(axes: Sequence[Axis], first: Weights, tried: Tried) -> Iterator[Trial]:
    """Yield trials as they are made: `first`, the grid, then from the best points one step along each axis.

    A step is taken where it leads to less errors; where none does, all are halved.
    """
    values = product(*(axis.values for axis in axes))
    grid = (replace(first, **dict(zip((axis.name for axis in axes), some, strict=True))) for some in values)
    yield from tried.of([first, *grid])
    for start in tried.best(STARTS):
        here, halved = start, 0
        while halved <= HALVINGS:
            size = 0.5**halved
            near = [w for axis in axes if axis.step for w in axis.around(here.weights, (-1, 1), size * axis.step)]
            yield from tried.of(near)
            there = min((tried[weights] for weights in near), key=lambda trial: trial.rank, default=here)
            halved += there.rank >= here.rank
            here = min(here, there, key=lambda trial: trial.rank)


def plane(best: Weights, down: Axis, across: Axis) -> list[list[Weights]]:
    """The points around the best one: a row for each value of `down`, a column for each of `across`."""
    steps = range(-AROUND, AROUND + 1)
    return [across.around(row, steps, across.step) for row in down.around(best, steps, down.step)]
