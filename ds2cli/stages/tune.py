"""Tune the search of an experiment: the network runs once, then the same emissions are searched hundreds of times."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ds2cli import __version__
from ds2cli.config.base import MADE_BY
from ds2cli.config.decode import LIMITS, WEIGHTS, DecodeConfig
from ds2cli.drops import Ledger
from ds2cli.errors import DataError, UsageError
from ds2cli.io import open_out
from ds2cli.kernels.prefix import CHAR_LM, WORD_LM
from ds2cli.manifest import Row
from ds2cli.metrics import bootstrap
from ds2cli.metrics.alignment import count
from ds2cli.metrics.heatmap import Panel
from ds2cli.metrics.wer import UNITS, Counts
from ds2cli.recognizer.decoder import TUNED_FILE
from ds2cli.recognizer.emissions import Emission, load_emissions
from ds2cli.recognizer.experiment import Experiment
from ds2cli.search.beam import BeamSearch
from ds2cli.search.tune import Axis, Trial, TrialHistory, Weights, plot_grid

TEST_NAME = re.compile(r"(^|[^a-z])test($|[^a-z])")

LADDERS: dict[str, Sequence[float]] = {
    "beam": (4, 8, 16, 32, 64, 128, 256, 512),
    "beam_gap": (4.0, 6.0, 8.0, 10.0, 12.0, 15.0, 20.0),
    "prune_top": (3, 5, 10, 20, 40),
    "prune_mass": (0.9, 0.95, 0.98, 0.99, 0.995),
}
"""Values tried for each pruning limit of the search, the cheapest first."""


def refuse_test_set(path: str) -> None:
    """UsageError if the file is named like a test set: the error rate on a set used for tuning means nothing."""
    if TEST_NAME.search(Path(path).name.lower()):
        raise UsageError(f"--tune: {path} is named like a test set, whose error rate must stay unseen (tune on dev)")


def refuse_test_row(row: Row) -> Row:
    """Return the row; UsageError if its `part` or `split` is a test set."""
    for name in ("part", "split"):
        if str(row.get(name, "")).startswith("test"):
            evidence = f"{row['id']} has {name} {row[name]!r}"
            raise UsageError(f"--tune: {evidence}, and the error rate of a test set must stay unseen (tune on dev)")
    return row


def choose_axes(config: DecodeConfig, search: BeamSearch) -> list[Axis]:
    """The weights to tune; UsageError if one of them has no value to try.

    A closed search, or a character model with every symbol of the network, never encounters an unknown unit.
    """
    lexicon = search.lexicon
    is_word_lm = lexicon.kind == WORD_LM
    meets_unknown = not config.closed and not (lexicon.kind == CHAR_LM and search.task.lm.unk not in lexicon.unit[1:])
    axes = [Axis("alpha", config.alphas, minimum=0.0), Axis("beta", config.betas)]
    axes += [Axis("unknown", config.unknowns)] if meets_unknown else []
    # with a lexicon every word that may be written is in the trie, so no letter lies outside it
    has_letters = meets_unknown and is_word_lm and config.lexicon is None
    axes += [Axis("unknown_letter", config.unknown_letters, maximum=0.0)] if has_letters else []
    for axis in axes:
        if not axis.values:
            raise UsageError(f"--tune: {axis.name}s is empty: expected at least one value (--set '{axis.name}s=[1]')")
    return axes


def start_weights(axes: Sequence[Axis]) -> Weights:
    """The weights of `ds2 decode` without tuning; a weight with a single value takes that."""
    start: dict[str, float] = {"alpha": 0.0, "beta": 0.0}
    for axis in axes:
        start[axis.name] = WEIGHTS[axis.name] if axis.step else axis.values[0]
    return Weights(**start)


@dataclass
class TrialRunner:
    """Searches one development set with various settings, in threads; each distinct text is scored once.

    unit: "word" or "char", the unit of the error rate.  seconds: processor time of the searches so far.
    """

    search: BeamSearch
    items: Sequence[Emission]
    unit: str
    pool: ThreadPoolExecutor
    nj: int
    seconds: float = 0.0
    _scored: dict[tuple[int, str], tuple[Counts, int]] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """Steps of all emissions."""
        return sum(len(item.log_probs) for item in self.items)

    def try_weights(self, points: Sequence[Weights]) -> Iterator[Trial]:
        """Yield a trial for each point."""
        # a closed search keeps its infinite penalty for unknown words
        is_closed = self.search.options.unknown == -np.inf
        options = [
            {name: value for name, value in vars(point).items() if not (is_closed and name.startswith("unknown"))}
            for point in points
        ]
        for point, (counts, letters, per_utterance) in zip(points, self._run(options), strict=True):
            yield Trial(point, counts, letters, per_utterance)

    def try_limits(
        self, weights: dict[str, float], limits: Sequence[dict[str, float]]
    ) -> Iterator[tuple[Counts, float]]:
        """Yield, for each set of limits, the error counts and the microseconds per step in one thread."""
        for values in limits:
            before = self.seconds
            ((counts, _, _),) = self._run([weights | values])
            yield counts, 1e6 * (self.seconds - before) / max(1, self.steps)

    def _run(self, options: Sequence[dict[str, float]]) -> Iterator[tuple[Counts, int, Any]]:
        """Yield, for each set of options, the counts, the character errors, and (N, 2) int64 errors and lengths."""
        # every search is divided among the threads, so that none is idle during the last ones
        futures: list[list[Future[Any]]] = []
        for values in options:
            search = self.search.with_options(**values)
            futures.append([self.pool.submit(self._run_part, search, part) for part in range(self.nj)])
        for parts in futures:
            per_utterance = np.zeros((len(self.items), 2), np.int64)
            total, total_letters = Counts(), 0
            for part, future in enumerate(parts):
                scores, seconds = future.result()
                self.seconds += seconds
                for i, (counts, letters) in zip(range(part, len(self.items), self.nj), scores, strict=True):
                    per_utterance[i] = counts.errors, counts.total
                    total, total_letters = total + counts, total_letters + letters
            yield total, total_letters, per_utterance

    def _run_part(self, search: BeamSearch, part: int) -> tuple[list[tuple[Counts, int]], float]:
        """The errors of every nj-th utterance, and the processor time of the searches (s)."""
        scores, seconds = [], 0.0
        for i in range(part, len(self.items), self.nj):
            start = time.thread_time()
            text = search(self.items[i].log_probs)[0].text
            seconds += time.thread_time() - start
            if (i, text) not in self._scored:
                ref = self.items[i].row["text"]
                counts, letters = (count(UNITS[unit](ref), UNITS[unit](text)) for unit in (self.unit, "char"))
                self._scored[i, text] = counts, letters.errors
            scores.append(self._scored[i, text])
        return scores, seconds


@contextmanager
def open_trial_runner(
    rows: Iterable[Row], ledger: Ledger, experiment: Experiment, search: BeamSearch, unit: str, nj: int
) -> Iterator[TrialRunner]:
    """A TrialRunner for the rows, whose emissions are read or computed once.

    UsageError if a row belongs to a test set, DataError if there is nothing to tune on.
    """
    chunks = load_emissions(map(refuse_test_row, rows), ledger, experiment, needs_step_s=False)
    items = [item for chunk in chunks for item in chunk]
    ledger.kept += len(items)
    if not items:
        raise DataError("--tune: no utterance has both a text and an emission")
    if not any(item.row["text"].strip() for item in items):
        raise DataError(f"--tune: the texts of all {len(items)} utterances are empty: expected references to score by")
    pool = ThreadPoolExecutor(nj, "search")
    try:
        yield TrialRunner(search, items, unit, pool, nj)
    finally:
        pool.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class Summary:
    """The best trial, compared with the search as it was before tuning.

    weights: the tuned ones by name.  panels: error rates around the best point, two weights at a time.
    interval: 95 % bootstrap interval of the best error rate (percent) from `draws` draws.
    better: percent of the draws in which the best trial has a lower error rate than the untuned one.
    """

    best: Trial
    untuned: Trial
    weights: dict[str, float]
    panels: list[Panel]
    interval: tuple[float, float]
    draws: int
    better: float


def rate_interval(trial: Trial, seed: int) -> tuple[float, float]:
    """The 95 % bootstrap interval of the error rate of a trial (percent)."""
    return bootstrap.interval(bootstrap.draw_rates(trial.per_utterance, seed))


def summarize(
    axes: Sequence[Axis], start: Weights, history: TrialHistory, seed: int, *, with_panels: bool = True
) -> Summary:
    """Try the points around the best one, until none of them is better, and compare it with `start`.

    with_panels: False compares the trials so far.
    """
    panels = _measure_panels(axes, history) if with_panels else []
    best, untuned = history.best()[0], history[start]
    rates, untuned_rates = (bootstrap.draw_rates(trial.per_utterance, seed) for trial in (best, untuned))
    better = 100 * bootstrap.share_better(rates, untuned_rates)
    weights = {axis.name: getattr(best.weights, axis.name) for axis in axes}
    return Summary(best, untuned, weights, panels, bootstrap.interval(rates), len(rates), better)


def _measure_panels(axes: Sequence[Axis], history: TrialHistory) -> list[Panel]:
    pairs = list(zip(axes[::2], axes[1::2], strict=False))
    while True:
        # a point around the best one may be better still: then the points around that one are tried
        best = history.best()[0].weights
        planes = [plot_grid(best, down, across) for down, across in pairs]
        for _ in history.run(point for rows in planes for row in rows for point in row):
            pass
        if history.best()[0].weights == best:
            break
    panels = []
    for (down, across), rows in zip(pairs, planes, strict=True):
        values = [getattr(row[0], down.name) for row in rows], [getattr(point, across.name) for point in rows[0]]
        place = next((i, j) for i, row in enumerate(rows) for j, point in enumerate(row) if point == best)
        rates = np.array([[history[point].counts.rate for point in row] for row in rows])
        panels.append(Panel(down.name, across.name, *values, rates, place))
    return panels


class LimitTrial(NamedTuple):
    """One value of a pruning limit and its cost; `limit` is None for all limits as they were given."""

    limit: str | None
    values: dict[str, float]
    counts: Counts
    us_per_step: float
    accepted: bool


def tighten_limits(
    runner: TrialRunner, weights: dict[str, float], given: dict[str, float]
) -> tuple[dict[str, float], list[LimitTrial]]:
    """The cheapest value of each pruning limit that makes no more errors than the `given` limits, and all trials."""
    limits = {name: given[name] for name in LADDERS}
    ((allowed, cost),) = runner.try_limits(weights, [limits])
    trials = [LimitTrial(None, dict(limits), allowed, cost, True)]
    for name, ladder in LADDERS.items():
        for value in [v for v in ladder if v < limits[name]]:
            ((counts, cost),) = runner.try_limits(weights, [limits | {name: value}])
            accepted = counts.errors <= allowed.errors
            trials.append(LimitTrial(name, {name: value}, counts, cost, accepted))
            if accepted:
                limits[name] = value
                break
    return {name: type(LIMITS[name])(value) for name, value in limits.items()}, trials


def save_settings(exp: str, settings: dict[str, float], **made_by: object) -> None:
    """Write settings to EXP/decode.toml, where `ds2 decode` finds them, with a table of their origin."""
    import tomli_w

    with open_out(str(Path(exp) / TUNED_FILE)) as f:
        f.write(tomli_w.dumps({**settings, MADE_BY: {"ds2cli": __version__, **made_by}}))
