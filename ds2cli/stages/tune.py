"""Tune the search of an experiment: one pass of the network, then hundreds of searches of the same emissions."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ds2cli import __version__
from ds2cli.config.base import MADE_BY
from ds2cli.config.decode import WEIGHTS, DecodeConfig
from ds2cli.drops import Ledger
from ds2cli.errors import DataError, UsageError
from ds2cli.io import open_out
from ds2cli.kernels.prefix import CHAR_LM, WORD_LM
from ds2cli.manifest import Row
from ds2cli.metrics.wer import UNITS, Counts, count
from ds2cli.recognizer.decoder import KEPT
from ds2cli.recognizer.emissions import Emission, load_emissions
from ds2cli.recognizer.experiment import Experiment
from ds2cli.search.beam import BeamSearch
from ds2cli.search.tune import Axis, Trial, Weights

TEST_NAME = re.compile(r"(^|[^a-z])test($|[^a-z])")

LADDERS: dict[str, Sequence[float]] = {
    "beam": (4, 8, 16, 32, 64, 128, 256, 512),
    "beam_gap": (4.0, 6.0, 8.0, 10.0, 12.0, 15.0, 20.0),
    "prune_top": (3, 5, 10, 20, 40),
    "prune_mass": (0.9, 0.95, 0.98, 0.99, 0.995),
}
"""What is tried of each limit of the search, the cheapest first."""


def refuse_test_set(path: str) -> None:
    """UsageError when the file is named as a test set: rates on a set that was tuned on mean nothing."""
    if TEST_NAME.search(Path(path).name.lower()):
        raise UsageError(f"--tune: {path} is named as a test set, its error rate would mean nothing (tune on dev)")


def refuse_test_row(row: Row) -> Row:
    """The row; UsageError when it says that it belongs to a test set."""
    for name in ("part", "split"):
        if str(row.get(name, "")).startswith("test"):
            what = f"{row['id']} has {name} {row[name]!r}"
            raise UsageError(f"--tune: {what}, an error rate on it would mean nothing (tune on dev)")
    return row


def axes_of(config: DecodeConfig, search: BeamSearch) -> list[Axis]:
    """The weights to tune and where to begin; UsageError when one has no value to try.

    A closed search, or a character model that knows every symbol, never meets an unknown unit.
    """
    lexicon = search.lexicon
    words = lexicon.kind == WORD_LM
    strangers = not config.closed and not (lexicon.kind == CHAR_LM and search.task.lm.unk not in lexicon.unit[1:])
    axes = [Axis("alpha", config.alphas, least=0.0), Axis("beta", config.betas)]
    axes += [Axis("unknown", config.unknowns)] if strangers else []
    # all that a list allows is in the trie, and letters are counted from where a word leaves it
    letters = strangers and words and config.lexicon is None
    axes += [Axis("unknown_letter", config.unknown_letters, most=0.0)] if letters else []
    for axis in axes:
        if not axis.values:
            raise UsageError(f"--tune: {axis.name}s must have a value to try")
    return axes


def start_of(axes: Sequence[Axis]) -> Weights:
    """What `ds2 decode` would take untuned; the only value of a weight that has one."""
    given: dict[str, float] = {"alpha": 0.0, "beta": 0.0}
    for axis in axes:
        given[axis.name] = WEIGHTS[axis.name] if axis.step else axis.values[0]
    return Weights(**given)


@dataclass
class Trials:
    """Searches of one development set with whatever settings, in threads; a text is compared with its reference once.

    unit: what errors are counted in.  seconds: that the threads have searched.
    """

    search: BeamSearch
    items: Sequence[Emission]
    unit: str
    pool: ThreadPoolExecutor
    nj: int
    seconds: float = 0.0
    _compared: dict[tuple[int, str], tuple[Counts, int]] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """Steps of all emissions."""
        return sum(len(item.log_probs) for item in self.items)

    def weighed(self, points: Sequence[Weights]) -> Iterator[Trial]:
        """A trial for each point."""
        # the search of a closed vocabulary keeps its own price for unknown words
        closed = self.search.options.unknown == -np.inf
        options = [
            {name: value for name, value in vars(point).items() if not (closed and name.startswith("unknown"))}
            for point in points
        ]
        for point, (counts, letters, each) in zip(points, self._run(options), strict=True):
            yield Trial(point, counts, letters, each)

    def limited(self, weights: dict[str, float], limits: Sequence[dict[str, float]]) -> Iterator[tuple[Counts, float]]:
        """The errors, and the microseconds a step of one thread, with weights and each of the limits."""
        for some in limits:
            before = self.seconds
            ((counts, _, _),) = self._run([weights | some])
            yield counts, 1e6 * (self.seconds - before) / max(1, self.steps)

    def _run(self, options: Sequence[dict[str, float]]) -> Iterator[tuple[Counts, int, Any]]:
        # each in parts, so that the last of few leaves no thread without work
        futures: list[list[Future[Any]]] = []
        for some in options:
            search = self.search.with_options(**some)
            futures.append([self.pool.submit(self._part, search, part) for part in range(self.nj)])
        for parts in futures:
            each = np.zeros((len(self.items), 2), np.int64)
            total, letters = Counts(), 0
            for part, future in enumerate(parts):
                found, seconds = future.result()
                self.seconds += seconds
                for i, (counts, of_letters) in zip(range(part, len(self.items), self.nj), found, strict=True):
                    each[i] = counts.errors, counts.total
                    total, letters = total + counts, letters + of_letters
            yield total, letters, each

    def _part(self, search: BeamSearch, part: int) -> tuple[list[tuple[Counts, int]], float]:
        """The errors of every nj-th utterance, and the processor time of the searches (s)."""
        out, seconds = [], 0.0
        for i in range(part, len(self.items), self.nj):
            began = time.thread_time()
            text = search(self.items[i].log_probs)[0].text
            seconds += time.thread_time() - began
            if (i, text) not in self._compared:
                truth = self.items[i].row["text"]
                of_unit, letters = (count(UNITS[unit](truth), UNITS[unit](text)) for unit in (self.unit, "char"))
                self._compared[i, text] = of_unit, letters.errors
            out.append(self._compared[i, text])
        return out, seconds


@contextmanager
def trials(
    rows: Iterable[Row], ledger: Ledger, experiment: Experiment, search: BeamSearch, unit: str, nj: int
) -> Iterator[Trials]:
    """What tries settings on the rows; their emissions are read or computed once.

    UsageError when a row says that it belongs to a test set, DataError when there is nothing to tune on.
    """
    items = [
        item for some in load_emissions(map(refuse_test_row, rows), ledger, experiment, times=False) for item in some
    ]
    ledger.kept += len(items)
    if not items:
        raise DataError("--tune: no utterance with a text and an emission to tune on")
    if not any(item.row["text"].strip() for item in items):
        raise DataError(f"--tune: not one word in the texts of {len(items)} utterances, so nothing can be told wrong")
    pool = ThreadPoolExecutor(nj, "search")
    try:
        yield Trials(search, items, unit, pool, nj)
    finally:
        pool.shutdown(cancel_futures=True)


def save(exp: str, found: dict[str, float], **made: object) -> None:
    """Keep settings in EXP/decode.toml, where `ds2 decode` looks for them, and how they came to be."""
    import tomli_w

    with open_out(str(Path(exp) / KEPT)) as f:
        f.write(tomli_w.dumps({**found, MADE_BY: {"ds2cli": __version__, **made}}))
