"""Compute the features of each row into archives, and the statistics that normalise them."""

from __future__ import annotations

import heapq
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import tee
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ds2cli.archive import ArkWriter
from ds2cli.audio.perturb import speed, speed_id
from ds2cli.audio.read import channel_number, read
from ds2cli.config.featurize import FeaturizeConfig
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, UsageError
from ds2cli.feats import cmvn
from ds2cli.feats.spectrogram import log_power
from ds2cli.manifest import Row
from ds2cli.parallel import Worker, spread

Done = Row | tuple[str, str, str]
"""A finished row, or the id, reason and detail of one that is dropped."""


@dataclass
class Tally:
    """What a run has done, for its last log line."""

    files: int = 0
    resampled: int = 0
    seconds: float = 0.0
    stats: NDArray[np.float64] | None = None

    def add(self, other: Tally) -> None:
        """Add what another process did."""
        self.files += other.files
        self.resampled += other.resampled
        self.seconds += other.seconds
        if other.stats is not None:
            self.stats = other.stats if self.stats is None else self.stats + other.stats


@dataclass(frozen=True)
class Task:
    """One copy of one row: the id of the copy and its speed relative to the row's own."""

    id: str
    factor: float
    row: Row


def run(
    config: FeaturizeConfig, rows: Iterable[Row], ledger: Ledger, stem: str, tally: Tally | None = None
) -> Iterator[Row]:
    """Yield each row with `feats` and `num_frames`, its copies at other speeds in their sorted place.

    stem: "data/feats/train" makes data/feats/train.1.ark … train.NJ.ark and data/feats/train.cmvn.ark. They appear when
    the last row has been taken, all of them whole, or none if the generator is closed early or too many rows are bad
    (Ds2Error): those of an earlier run then stay.
    tally: gets the counts at the end.
    """
    tally = tally if tally is not None else Tally()
    channel_number(config.channel)
    tasks = _chosen(config, _tasks(speeds(config), rows), ledger)
    make: Callable[[int], Worker[Task, Done]] = partial(_Featurizer, config, stem)
    kept = 0

    def judge() -> None:
        ledger.refuse("featurize", config.max_bad, kept)

    for done in spread(make, tasks, config.nj, tally.add, judge):
        if isinstance(done, dict):
            kept += 1
            yield done
        else:
            ledger.drop(*done)
    with ArkWriter(f"{stem}.cmvn.ark") as ark:
        ark.write("global", tally.stats if tally.stats is not None else cmvn.empty(config.num_bins))


def speeds(config: FeaturizeConfig) -> list[float]:
    """The speeds asked for; UsageError when one is not a number between 0.5 and 2."""
    try:
        factors = sorted({float(word) for word in config.speeds.replace(",", " ").split()})
    except ValueError:
        factors = []
    if not factors or not all(0.5 <= f <= 2 for f in factors):
        raise UsageError(f'--speeds {config.speeds!r}: expected numbers from 0.5 to 2, as "0.9 1.0 1.1"')
    return factors


def _tasks(factors: list[float], rows: Iterable[Row]) -> Iterator[Task]:
    """The copies of sorted rows, sorted by id in one pass: rows wait in memory until their last copy is made."""

    def copies(factor: float, own: Iterable[Row]) -> Iterator[Task]:
        return (Task(speed_id(row["id"], factor), factor, row) for row in own)

    streams = [copies(f, own) for f, own in zip(factors, tee(rows, len(factors)), strict=True)]
    return heapq.merge(*streams, key=lambda task: task.id)


def _chosen(config: FeaturizeConfig, tasks: Iterable[Task], ledger: Ledger) -> Iterator[Task]:
    last = ""
    for task in tasks:
        if task.id == last:
            ledger.drop(task.id, "duplicate-id", "a copy at another speed has the id of another row")
            continue
        last = task.id
        seconds = task.row.get("duration")
        if seconds is not None:
            seconds /= task.factor
            if seconds < config.min_duration:
                detail = f"{seconds:.2f} s, at least {config.min_duration:g} wanted"
                ledger.drop(task.id, "shorter-than-min-duration", detail, bad=False)
                continue
            if config.max_duration is not None and seconds > config.max_duration:
                detail = f"{seconds:.2f} s, at most {config.max_duration:g} wanted"
                ledger.drop(task.id, "longer-than-max-duration", detail, bad=False)
                continue
        yield task


class _Featurizer:
    """The job of one process: it owns one archive and its part of the statistics."""

    def __init__(self, config: FeaturizeConfig, stem: str, number: int) -> None:
        self.config = config
        self.channel = channel_number(config.channel)
        self.ark = ArkWriter(f"{stem}.{number}.ark", compress=config.compress)
        self.tally = Tally(stats=cmvn.empty(config.num_bins))

    def __enter__(self) -> _Featurizer:
        self.ark.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ark.__exit__(kind, error, trace)

    def __call__(self, task: Task) -> Done:
        try:
            row, features = self._features(task)
        except BadUtterance as e:
            return task.id, e.reason, e.detail
        assert self.tally.stats is not None
        cmvn.accumulate(self.tally.stats, features)
        return {**row, "feats": self.ark.write(task.id, features), "num_frames": len(features)}

    def result(self) -> Tally:
        return self.tally

    def _features(self, task: Task) -> tuple[Row, NDArray[np.float32]]:
        config, row = self.config, task.row
        # a row that is itself a copy at another speed: its duration is on the clock of the copy
        before = row.get("speed", 1.0)
        factor = before * task.factor
        stated = row.get("duration")
        segment: dict[str, Any] = {}
        if "offset" in row:
            segment = {"offset_s": row["offset"], "duration_s": None if stated is None else stated * before}
        samples, rate = read(row["audio_filepath"], channel=self.channel, **segment)
        seconds = len(samples) / rate
        if stated is not None and seconds < 0.9 * stated * before:
            detail = f"{row['audio_filepath']} has {seconds:.2f} s, the row says {stated * before:.2f} s"
            raise BadUtterance("truncated-audio", detail)
        if rate != config.sample_rate:
            if config.resample == "no":
                raise BadUtterance("wrong-sample-rate", f"{rate} Hz, {config.sample_rate} wanted (--resample yes)")
            self.tally.resampled += 1
        features = log_power(speed(samples, factor, rate, config.sample_rate), config)
        self.tally.files += 1
        self.tally.seconds += seconds / factor
        duration = (seconds / before if stated is None else stated) / task.factor
        copy = {**row, "id": task.id, "duration": round(duration, 6)}
        if round(factor, 9) != 1.0:
            copy["speed"] = round(factor, 9)
        else:
            copy.pop("speed", None)
        return copy, features


def place(config: FeaturizeConfig, out: str) -> str:
    """The stem of the archives: `--dir` or the folder feats/ beside OUT, then the name of OUT without .jsonl.

    UsageError when OUT is a pipe and `--dir` was not given.
    """
    file = Path(out)
    pipe = out == "-" or (file.exists() and not file.is_file())
    if config.dir is None and pipe:
        raise UsageError("featurize: OUT is a pipe, so say where the archives go (--dir feats)")
    name = "feats" if pipe else file.name.removesuffix(".gz").removesuffix(".jsonl")
    if config.dir is not None:
        return os.path.join(config.dir, name)
    # relative, so that the manifest and its archives can be moved together
    return os.path.relpath(file.parent / "feats" / name)
