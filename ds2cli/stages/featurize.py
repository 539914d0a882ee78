"""Compute the features of each row, store them in archives, and collect the statistics for normalization."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import tee
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ds2cli import memory
from ds2cli.archive import ArkWriter
from ds2cli.audio.perturb import change_speed, format_speed_id
from ds2cli.audio.read import parse_channel, read
from ds2cli.config.featurize import FeaturizeConfig
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, UsageError
from ds2cli.feats import cmvn, kinds
from ds2cli.feats.bandwidth import find_bandwidth
from ds2cli.manifest import Row
from ds2cli.parallel import Worker, map_ordered

Outcome = Row | tuple[str, str, str]
"""A finished row, or the id, reason and detail of a dropped one."""


@dataclass
class Tally:
    """Counts of a run, and its normalization statistics. seconds: of audio, after any change of speed.

    narrow: recordings without the upper part of their band, by the highest frequency with sound (kHz).
    """

    utterances: int = 0
    resampled: int = 0
    narrow: Counter[int] = field(default_factory=Counter)
    narrow_example: str = ""
    seconds: float = 0.0
    stats: NDArray[np.float64] | None = None

    def add(self, other: Tally) -> None:
        """Add the counts and statistics of another process."""
        self.utterances += other.utterances
        self.resampled += other.resampled
        self.narrow += other.narrow
        self.narrow_example = self.narrow_example or other.narrow_example
        self.seconds += other.seconds
        if other.stats is not None:
            self.stats = other.stats if self.stats is None else self.stats + other.stats


@dataclass(frozen=True)
class Task:
    """One row at one speed. id: of the copy.  factor: speed relative to that of the row."""

    id: str
    factor: float
    row: Row


def run(
    config: FeaturizeConfig, rows: Iterable[Row], ledger: Ledger, stem: str, tally: Tally | None = None
) -> Iterator[Row]:
    """Yield each row with `feats` and `num_frames`, and its copies at other speeds, all sorted by id.

    stem: "data/feats/train" writes data/feats/train.1.ark …, one per process, and data/feats/train.cmvn.ark. They
    appear after the last row. If the generator is closed early, or too many rows are bad (Ds2Error), none
    appears and those of an earlier run stay.
    tally: receives the counts at the end.
    """
    tally = tally if tally is not None else Tally()
    parse_channel(config.channel)
    tasks = _filter_durations(config, _make_tasks(parse_speeds(config), rows), ledger)
    make_worker: Callable[[int], Worker[Task, Outcome]] = partial(_Featurizer, config, stem)
    kept = 0

    def check_drops() -> None:
        ledger.enforce_max_bad("featurize", config.max_bad, kept)

    for outcome in map_ordered(make_worker, tasks, config.nj, tally.add, check_drops):
        if isinstance(outcome, dict):
            kept += 1
            yield outcome
        else:
            ledger.drop(*outcome)
    with ArkWriter(f"{stem}.cmvn.ark") as ark:
        ark.write("global", tally.stats if tally.stats is not None else cmvn.empty(kinds.num_bins(config)))


def parse_speeds(config: FeaturizeConfig) -> list[float]:
    """The factors in --speeds, sorted; UsageError for anything but numbers from 0.5 to 2."""
    try:
        factors = sorted({float(word) for word in config.speeds.replace(",", " ").split()})
    except ValueError:
        factors = []
    if not factors or not all(0.5 <= f <= 2 for f in factors):
        raise UsageError(f'--speeds {config.speeds!r}: expected numbers from 0.5 to 2, such as "0.9 1.0 1.1"')
    return factors


def _make_tasks(factors: list[float], rows: Iterable[Row]) -> Iterator[Task]:
    """The copies of sorted rows, sorted by id in one pass; a row stays in memory until its last copy is yielded."""

    def copies(factor: float, stream: Iterable[Row]) -> Iterator[Task]:
        return (Task(format_speed_id(row["id"], factor), factor, row) for row in stream)

    streams = [copies(f, stream) for f, stream in zip(factors, tee(rows, len(factors)), strict=True)]
    return heapq.merge(*streams, key=lambda task: task.id)


def _filter_durations(config: FeaturizeConfig, tasks: Iterable[Task], ledger: Ledger) -> Iterator[Task]:
    """Drop duplicate ids, and copies outside --min-duration and --max-duration."""
    last = ""
    for task in tasks:
        if task.id == last:
            ledger.drop(task.id, "duplicate-id", "the id of a copy at another speed is also that of a row")
            continue
        last = task.id
        seconds = task.row.get("duration")
        if seconds is not None:
            seconds /= task.factor
            if seconds < config.min_duration:
                detail = f"{seconds:.2f} s, shorter than --min-duration {config.min_duration:g}"
                ledger.drop(task.id, "shorter-than-min-duration", detail, bad=False)
                continue
            if config.max_duration is not None and seconds > config.max_duration:
                detail = f"{seconds:.2f} s, longer than --max-duration {config.max_duration:g}"
                ledger.drop(task.id, "longer-than-max-duration", detail, bad=False)
                continue
        yield task


class _Featurizer:
    """The worker of one process, with its own archive and its part of the statistics."""

    def __init__(self, config: FeaturizeConfig, stem: str, number: int) -> None:
        self.config = config
        self.channel = parse_channel(config.channel)
        self.ark = ArkWriter(f"{stem}.{number}.ark", compress=config.compress)
        self.tally = Tally(stats=cmvn.empty(kinds.num_bins(config)))

    def __enter__(self) -> _Featurizer:
        self.ark.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ark.__exit__(kind, error, trace)

    def __call__(self, task: Task) -> Outcome:
        try:
            name = "the recording with its features"
            row, features, counts = memory.fit_utterance(partial(self._compute, task), name, memory.SHORTER)
            # the archive is written to once the matrix is encoded, so that this may be repeated
            place = memory.fit_utterance(partial(self.ark.write, task.id, features), name, memory.SHORTER)
        except BadUtterance as e:
            return task.id, e.reason, e.detail
        self.tally.add(counts)
        assert self.tally.stats is not None
        cmvn.accumulate(self.tally.stats, features)
        return {**row, "feats": place, "num_frames": len(features)}

    def result(self) -> Tally:
        return self.tally

    def _compute(self, task: Task) -> tuple[Row, NDArray[np.float32], Tally]:
        config, row, counts = self.config, task.row, Tally(utterances=1)
        # the row may itself be a copy at another speed: its duration is then that of the copy, not of the file
        row_speed = row.get("speed", 1.0)
        factor = row_speed * task.factor
        stated = row.get("duration")
        segment: dict[str, Any] = {}
        if "offset" in row:
            segment = {"offset_s": row["offset"], "duration_s": None if stated is None else stated * row_speed}
        samples, rate = read(row["audio_filepath"], channel=row.get("channel", self.channel), **segment)
        seconds = len(samples) / rate
        if stated is not None and seconds < 0.9 * stated * row_speed:
            detail = f"{row['audio_filepath']} has {seconds:.2f} s, the row states {stated * row_speed:.2f} s"
            raise BadUtterance("truncated-audio", detail)
        if rate != config.sample_rate:
            if config.resample == "no":
                raise BadUtterance("wrong-sample-rate", f"{rate} Hz, expected {config.sample_rate} (--resample yes)")
            counts.resampled = 1
        features = kinds.compute(change_speed(samples, factor, rate, config.sample_rate), config)
        if highest := find_bandwidth(features, config):
            counts.narrow[round(highest / 1000)] = 1
            counts.narrow_example = task.id
        counts.seconds = seconds / factor
        duration = (seconds / row_speed if stated is None else stated) / task.factor
        copy = {**row, "id": task.id, "duration": round(duration, 6)}
        if round(factor, 9) != 1.0:
            copy["speed"] = round(factor, 9)
        else:
            copy.pop("speed", None)
        return copy, features, counts
