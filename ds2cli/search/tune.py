"""The weights of the language model, by trying them all on a development set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ds2cli.metrics.wer import UNITS, Counts, count


@dataclass(frozen=True)
class Trial:
    """One point of the grid and the errors it made."""

    alpha: float
    beta: float
    counts: Counts


def grid(
    decode: Callable[[float, float], Iterable[str]],
    texts: Sequence[str],
    alphas: Sequence[float],
    betas: Sequence[float],
    unit: str,
) -> Iterator[Trial]:
    """Try each alpha with each beta.

    decode: the hypotheses for all of `texts`, in their order, with these weights.  unit: "word" or "char".
    """
    split = UNITS[unit]
    for alpha in alphas:
        for beta in betas:
            pairs = zip(texts, decode(alpha, beta), strict=True)
            yield Trial(alpha, beta, sum((count(split(text), split(found)) for text, found in pairs), Counts()))


def best_of(trials: Sequence[Trial]) -> Trial:
    """The trial of the fewest errors; the first of equals, so the smallest weight of the model."""
    return min(trials, key=lambda trial: trial.counts.errors)


def at_the_edge(best: Trial, alphas: Sequence[float], betas: Sequence[float]) -> list[str]:
    """The weights whose best value is the last that was tried on one side, where a wider grid may find a better one."""
    edges = []
    if len(alphas) > 1 and best.alpha in (min(a for a in alphas), max(alphas)) and best.alpha > 0:
        edges.append("alpha")
    if len(betas) > 1 and best.beta in (min(betas), max(betas)):
        edges.append("beta")
    return edges
