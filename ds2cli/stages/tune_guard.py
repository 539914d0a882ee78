"""Whether tuned weights deserve to be stored: of a network that knows nothing, or by chance, any weights look best."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ds2cli.metrics.alignment import count
from ds2cli.metrics.wer import UNITS, Counts
from ds2cli.recognizer.emissions import Emission
from ds2cli.search.greedy import greedy
from ds2cli.search.tune import Axis, Trial, find_far, find_outside
from ds2cli.stages.tune import Summary
from ds2cli.text.vocab import Vocab

BEYOND_CHANCE = 95.0
"""Share of the resamplings (percent) in which the tuned weights must make fewer errors to count as better."""


class Verdict(NamedTuple):
    """The trial whose weights are stored, and one line about it, "" if there is nothing to warn of."""

    trial: Trial
    warning: str


def greedy_errors(items: Sequence[Emission], vocab: Vocab) -> Counts:
    """The character errors of the best paths, which no language model and no weight can change."""
    total = Counts()
    for item in items:
        total += count(UNITS["char"](item.row["text"]), UNITS["char"](greedy(item.log_probs, vocab).text))
    return total


def describe_useless(errors: Counts, limit: float) -> str:
    """Why the weights of a network with these greedy errors are not tuned."""
    return (
        f"without a language model {errors.rate:.1f} % of the characters are wrong, expected less than {limit:g} %: "
        "any weights would be chance, so the defaults were stored (train longer or on more data; --max-cer 1000 tunes)"
    )


def check(axes: Sequence[Axis], summary: Summary) -> Verdict:
    """Which weights to store: the tuned ones, unless they are far from the grid and not better beyond chance."""
    best, untuned = summary.best, summary.untuned
    if best.weights == untuned.weights:
        return Verdict(best, "")
    is_better = summary.better >= BEYOND_CHANCE
    far = find_far(axes, best.weights)
    reasons = [_describe_outside(axis, summary.weights[axis.name]) for axis in far or find_outside(axes, best.weights)]
    if not is_better:
        share = f"fewer errors than the defaults in {summary.better:.1f} % of the resamplings"
        reasons.append(f"the gain may be chance ({share}, expected {BEYOND_CHANCE:g} %)")
    if not reasons:
        return Verdict(best, "")
    advice = "a larger dev set finds better ones" if far and not is_better else "check them on a larger dev set"
    kept, trial = ("default", untuned) if far and not is_better else ("tuned", best)
    return Verdict(trial, f"{', and '.join(reasons)}: stored the {kept} weights ({advice})")


def _describe_outside(axis: Axis, value: float) -> str:
    low, high = min(axis.values), max(axis.values)
    return f"{axis.name} {value:g} is outside the values tried first ({low:g} to {high:g})"
