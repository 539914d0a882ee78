"""Compute the features of each row, store them in archives, and collect the statistics for normalization.

The tasks, one per row and speed, are divided into blocks by nothing but their position. Each block has its own archive
and its part of the statistics, so that results do not depend on the number of processes, to the bit, and an interrupted
run continues after the blocks that it has finished.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import secrets
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from functools import partial
from itertools import tee
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ds2cli import memory
from ds2cli.archive import ArkWriter
from ds2cli.atomic import workspace
from ds2cli.audio.perturb import change_speed, format_speed_id
from ds2cli.audio.read import parse_channel, read
from ds2cli.config.featurize import FeaturizeConfig
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, UsageError
from ds2cli.feats import cmvn, kinds
from ds2cli.feats.bandwidth import find_bandwidth
from ds2cli.journal import Block, Entry, Journal, Recorder, Replay, replay_drops
from ds2cli.manifest import Row
from ds2cli.parallel import map_blocks
from ds2cli.stages.featurize_blocks import (
    BlockEnd,
    Tally,
    Task,
    is_intact,
    publish_archives,
    remove_files,
    split_blocks,
)
from ds2cli.write_behind import WriteBehind

Outcome = Row | tuple[str, str, str]
"""A finished row, or the id, reason and detail of a dropped one."""


def run(
    config: FeaturizeConfig,
    rows: Iterable[Row],
    ledger: Ledger,
    stem: str,
    tally: Tally | None = None,
    journal: Journal | None = None,
) -> Iterator[Row]:
    """Yield each row with `feats` and `num_frames`, and its copies at other speeds, all sorted by id.

    stem: "data/feats/train" writes data/feats/train.1.ark …, one per block, and data/feats/train.cmvn.ark. They
    appear after the last row. If the generator is closed early, or too many rows are bad (Ds2Error), none
    appears and those of an earlier run stay.
    tally: receives the counts at the end.
    journal: keeps finished blocks.
    """
    tally = tally if tally is not None else Tally()
    parse_channel(config.channel)
    tasks = _filter_durations(config, _make_tasks(parse_speeds(config), rows), ledger)
    blocks = split_blocks(ledger.follow(tasks, attrgetter("id")))
    place = os.path.dirname(stem) or "."
    try:
        with workspace(place) if journal is None else contextlib.nullcontext(journal.folder) as folder:
            count, replay = 0, Replay(journal, blocks, ("audio_filepath",), partial(is_intact, folder))
            for _, entry in replay:
                count += 1
                tally.add(Tally.from_saved(entry.facts["tally"]))
                yield from replay_drops(entry, ledger)
            remove_files(folder, "*.new", "*.part", keep=count)
            ends: deque[BlockEnd] = deque()

            def append(block: Block[list[Task]], entry: Entry) -> None:
                behind.submit(partial(ends.popleft().finish, folder, journal, block, entry))

            recorder = Recorder(append, ledger)
            numbered = enumerate(recorder.read(replay.rest), start=count + 1)
            work = map_blocks(partial(_featurize_block, config, stem, folder), numbered, config.nj)
            try:
                with WriteBehind() as behind, contextlib.closing(work):
                    yield from recorder.write(_take_ends(work, ledger, tally, ends))
            finally:
                remove_files(folder, "*.new")
            ledger.enforce_max_bad("featurize", config.max_bad, tally.utterances)
            publish_archives(folder, stem)
            with ArkWriter(f"{stem}.cmvn.ark") as ark:
                ark.write("global", tally.stats if tally.stats is not None else cmvn.empty(kinds.num_bins(config)))
    finally:
        ledger.sort()


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


def _featurize_block(
    config: FeaturizeConfig, stem: str, folder: Path, block: tuple[int, list[Task]]
) -> Generator[Outcome | BlockEnd]:
    """Yield what becomes of the tasks of a block, and last, when its archive is complete, its end."""
    number, tasks = block
    tally = Tally(stats=cmvn.empty(kinds.num_bins(config)))
    # a process of a killed run may still be writing its own
    new = folder / f"{number}.{os.getpid()}.{secrets.token_hex(4)}.new"
    try:
        with ArkWriter(f"{stem}.{number}.ark", config.compress, new) as ark:
            for task in tasks:
                yield _featurize(config, task, ark, tally)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    yield BlockEnd(number, new, ark.position, tally)


def _featurize(config: FeaturizeConfig, task: Task, ark: ArkWriter, tally: Tally) -> Outcome:
    try:
        name = "the recording with its features"
        row, features, counts = memory.fit_utterance(partial(_compute, config, task), name, memory.SHORTER)
        # the archive is written to once the matrix is encoded, so that this may be repeated
        place = memory.fit_utterance(partial(ark.write, task.id, features), name, memory.SHORTER)
    except BadUtterance as e:
        return task.id, e.reason, e.detail
    tally.add(counts)
    assert tally.stats is not None
    cmvn.accumulate(tally.stats, features)
    return {**row, "feats": place, "num_frames": len(features)}


def _take_ends(
    outcomes: Iterable[Outcome | BlockEnd], ledger: Ledger, tally: Tally, ends: deque[BlockEnd]
) -> Iterator[Row]:
    """The finished rows; drops go to the ledger, ends of blocks to the tally and to `ends`."""
    for outcome in outcomes:
        if isinstance(outcome, BlockEnd):
            # in the order of the blocks, as sums depend on it in the last bit
            tally.add(outcome.tally)
            ends.append(outcome)
        elif isinstance(outcome, dict):
            yield outcome
        else:
            ledger.drop(*outcome)


def _compute(config: FeaturizeConfig, task: Task) -> tuple[Row, NDArray[np.float32], Tally]:
    row, counts = task.row, Tally(utterances=1)
    # the row may itself be a copy at another speed: its duration is then that of the copy, not of the file
    row_speed = row.get("speed", 1.0)
    factor = row_speed * task.factor
    stated = row.get("duration")
    segment: dict[str, Any] = {}
    if "offset" in row:
        segment = {"offset_s": row["offset"], "duration_s": None if stated is None else stated * row_speed}
    samples, rate = read(row["audio_filepath"], channel=row.get("channel", parse_channel(config.channel)), **segment)
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
