"""Select rows of a manifest. Where the choice needs all of them, the manifest is read twice."""

from __future__ import annotations

import heapq
import math
import random
import re
from array import array
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack

from ds2cli import io, manifest
from ds2cli.config.data import SubsetConfig
from ds2cli.drops import Ledger
from ds2cli.errors import UsageError
from ds2cli.json_lines import is_object
from ds2cli.manifest_lines import Line, read, rereadable


def subset(config: SubsetConfig, path: str, out: str, ledger: Ledger) -> Iterator[Line]:
    """The rows of `path` that meet all conditions, as lines of `out`; the others are counted as not selected."""
    conditions = _Conditions(config)
    selections = [config.first, config.last, config.shortest, config.random]
    if sum(n is not None for n in selections) > 1:
        raise UsageError("--first, --last, --shortest and --random exclude each other: choose one")
    with ExitStack() as stack:
        source, chosen = path, None
        if config.last is not None or config.shortest is not None or config.random is not None:
            source = stack.enter_context(rereadable(path))
            # the second pass drops the same rows
            rows = read(path, out, _Conditions.fields, Ledger(), source)
            chosen = _choose(config, (line for line in rows if conditions.mismatch(line) is None))
        number = 0
        for line in read(path, out, _Conditions.fields, ledger, source):
            conditions.note(line)
            if reason := conditions.mismatch(line):
                ledger.unselected[reason] += 1
                continue
            if number in chosen if chosen is not None else config.first is None or number < config.first:
                yield line
            else:
                ledger.unselected["not-chosen"] += 1
            number += 1
        conditions.report_missing(ledger)


def _choose(config: SubsetConfig, lines: Iterator[Line]) -> set[int]:
    """The numbers of the chosen rows among those that meet the conditions."""
    if config.shortest is not None:
        durations = array("d", (0.0 if math.isnan(line.duration) else line.duration for line in lines))
        return set(heapq.nsmallest(config.shortest, range(len(durations)), key=lambda i: (durations[i], i)))
    numbers = (i for i, _ in enumerate(lines))
    if config.last is not None:
        return set(deque(numbers, maxlen=config.last))
    count = sum(1 for _ in numbers)
    return set(random.Random(config.seed).sample(range(count), min(config.random or 0, count)))


class _Conditions:
    """The conditions that a row has to meet. UsageError for a regular expression that is not valid."""

    fields = ("speaker", "text")

    def __init__(self, config: SubsetConfig) -> None:
        self._config = config
        self._ids = _read_ids(config.ids) if config.ids else None
        self._without = _read_ids(config.without) if config.without else frozenset()
        self._speakers = set(config.speakers.split(",")) if config.speakers else None
        self._missing_ids, self._missing_speakers = set(self._ids or ()), set(self._speakers or ())
        self._longest = config.max_duration if config.max_duration is not None else float("inf")
        try:
            self._pattern = re.compile(config.match) if config.match is not None else None
        except re.error as e:
            raise UsageError(f"--match {config.match}: not a valid regular expression: {e}") from e

    def mismatch(self, line: Line) -> str | None:
        """Which condition a row does not meet; None if it meets all."""
        speaker, text = line.values
        if self._ids is not None and line.id not in self._ids:
            return "not-listed"
        if line.id in self._without:
            return "left-out"
        if self._speakers is not None and speaker not in self._speakers:
            return "other-speaker"
        duration = 0.0 if math.isnan(line.duration) else line.duration
        if not self._config.min_duration <= duration <= self._longest:
            return "duration"
        return "no-match" if self._pattern and not self._pattern.search(text or "") else None

    def note(self, line: Line) -> None:
        """Note the id and the speaker of a row as found."""
        if self._missing_ids:
            self._missing_ids.discard(line.id)
        if self._missing_speakers:
            self._missing_speakers.discard(line.values[0] or "")

    def report_missing(self, ledger: Ledger) -> None:
        """Note the listed ids and speakers that are in no row."""
        if self._missing_ids:
            count = f"{len(self._missing_ids)} of {len(self._ids or ())} ids"
            ledger.notes.append(f"--ids {self._config.ids}: {count} are in no row, such as {min(self._missing_ids)}")
        if self._missing_speakers:
            missing = ", ".join(sorted(self._missing_speakers))
            ledger.notes.append(f"--speakers: no row has the speaker {missing}")


def _read_ids(path: str) -> set[str]:
    """The ids in a file, one per line, or those of the rows of a manifest."""
    lines = [line for _, line in io.read_lines(path) if line.strip()]
    if lines and is_object(lines[0]):
        return {row["id"] for row in manifest.read(path)}
    return {line.split()[0] for line in lines}
