"""The weights of the language model, by trying them all on a development set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from ds2cli.metrics.wer import UNITS, Counts, count


@dataclass(frozen=True)
class Weights:
    """What a search adds to log p_ctc: alpha log p_lm + beta words + unknown unknown_words (nats)."""

    alpha: float
    beta: float
    unknown: float


@dataclass(frozen=True)
class Trial:
    """One point of the grid and the errors it made."""

    weights: Weights
    counts: Counts


@dataclass(frozen=True)
class Grid:
    """The values to try of each weight."""

    alphas: Sequence[float]
    betas: Sequence[float]
    unknowns: Sequence[float]

    def __len__(self) -> int:
        return len(self.alphas) * len(self.betas) * len(self.unknowns)

    def __iter__(self) -> Iterator[Weights]:
        for unknown, alpha, beta in product(self.unknowns, self.alphas, self.betas):
            yield Weights(alpha, beta, unknown)


def try_all(grid: Grid, decode: Callable[[Weights], Iterable[str]], texts: Sequence[str], unit: str) -> Iterator[Trial]:
    """Try every point.

    decode: the hypotheses for all of `texts`, in their order, with these weights.  unit: "word" or "char".
    """
    split = UNITS[unit]
    for weights in grid:
        pairs = zip(texts, decode(weights), strict=True)
        yield Trial(weights, sum((count(split(text), split(found)) for text, found in pairs), Counts()))


def best_of(trials: Sequence[Trial]) -> Trial:
    """The trial of the fewest errors; of equals the one tried first."""
    return min(trials, key=lambda trial: trial.counts.errors)


def at_the_edge(best: Weights, grid: Grid) -> list[str]:
    """The weights whose best value is the last that was tried on one side, where others may be better still.

    0 is no such edge for alpha and unknown: a model weighs no less than nothing, and no reward goes to strangers.
    """
    edges = []
    for name, value, tried in (
        ("alpha", best.alpha, grid.alphas),
        ("beta", best.beta, grid.betas),
        ("unknown", best.unknown, grid.unknowns),
    ):
        if len(set(tried)) > 1 and value in (min(tried), max(tried)) and (name == "beta" or value != 0):
            edges.append(name)
    return edges
