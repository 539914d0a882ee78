"""Split a manifest in two passes: the first decides on the part of each row, the second copies the rows."""

from __future__ import annotations

import contextlib
import heapq
import json
import math
import os
from array import array
from collections.abc import Iterable, Iterator
from itertools import chain, islice, zip_longest

import numpy as np
from numpy.typing import NDArray

from ds2cli import io, manifest, manifest_lines
from ds2cli.config.data import SplitConfig
from ds2cli.errors import DataError, Ds2Error
from ds2cli.manifest_lines import Line, PathChange

MAX_OPEN = 100
"""Parts that are written at a time, as each is an open file; more take further passes over the manifest."""

MASK = (1 << 64) - 1

Parts = NDArray[np.int32]
"""The part of each row, from 0."""


def fields_for(config: SplitConfig) -> tuple[str, ...]:
    """The fields that `plan` asks for."""
    return () if config.by in ("id", "duration") else (config.by,)


def plan(config: SplitConfig, lines: Iterable[Line], name: str = "IN") -> Parts:
    """The part of each row.

    lines: sorted, with the values of `fields_for(config)`.
    Ds2Error (exit status 1) if a part would be empty; by speaker or text, if a row has none or there are fewer of them
    than parts.
    """
    durations, keys, missing = array("d"), array("Q"), _Missing()
    for line in lines:
        durations.append(1.0 if math.isnan(line.duration) else line.duration)
        if line.values:
            # of 10 million texts, two have the same hash once in 400,000 cases, and are then in one part
            keys.append(hash(line.values[0]) & MASK)
            missing.note(line)
    rows = len(durations)
    if config.by in ("id", "duration") and rows < config.parts and not config.allow_empty:
        fix = f"--parts {rows}, or --allow-empty" if rows else "this manifest is empty"
        raise Ds2Error(f"{name}: {rows} rows, expected at least one for each of {config.parts} parts ({fix})")
    if config.by == "id":
        bounds = [rows * i // config.parts for i in range(config.parts + 1)]
        return np.repeat(np.arange(config.parts, dtype=np.int32), np.diff(bounds))
    weights = np.frombuffer(durations, np.float64)
    if config.by == "duration":
        return _balance(weights, np.ones(rows, np.int64), config.parts)
    missing.refuse(config.by, rows, name)
    _, first, group = np.unique(np.frombuffer(keys, np.uint64), return_index=True, return_inverse=True)
    # in the order of their first rows
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    group = rank[group]
    if len(first) < config.parts:
        values = len(first)
        fix = f"--parts {values}, or --by duration, which divides {config.by}s" if values else "this manifest is empty"
        raise Ds2Error(
            f"{name}: {values} different {config.by}s, expected at least one for each of {config.parts} parts ({fix})"
        )
    # the sums of the weights, added in the order of the rows
    sums = np.bincount(group, weights, len(first)).astype(np.float64, copy=False)
    parts = _balance(sums, np.bincount(group, minlength=len(first)), config.parts)
    return parts[group]


def _balance(weights: NDArray[np.float64], rows: NDArray[np.int64], parts: int) -> Parts:
    """The part of each group: the longest group first, each to the part with the least audio so far."""
    loads = [(0.0, 0, i) for i in range(parts)]
    result = np.empty(len(weights), np.int32)
    order = np.argsort(-weights, kind="stable")
    for begin in range(0, len(order), 1 << 16):
        block = order[begin : begin + (1 << 16)]
        chosen = []
        for weight, number in zip(weights[block].tolist(), rows[block].tolist(), strict=True):
            load, before, i = loads[0]
            heapq.heapreplace(loads, (load + weight, before + number, i))
            chosen.append(i)
        result[block] = chosen
    return result


class _Missing:
    """Rows without the field that they are grouped by."""

    def __init__(self) -> None:
        self._rows, self._first = 0, ""

    def note(self, line: Line) -> None:
        """Count a row if it has no value."""
        if not line.values[0]:
            self._first = self._first or line.id
            self._rows += 1

    def refuse(self, field: str, rows: int, name: str) -> None:
        """Ds2Error if there are any."""
        if self._rows:
            fix = "ds2 prepare folder --speaker, ds2 prepare csv --speaker-column; or " if field == "speaker" else ""
            raise Ds2Error(
                f"{name}: {self._rows} of {rows} rows have no {field}, such as {self._first}, "
                f"so that parts could share it ({fix}--by duration divides them nonetheless)"
            )


def count_empty(parts: Parts, number: int) -> int:
    """How many of the parts have no row."""
    return number - len(np.unique(parts))


def write(path: str, out: str, parts: Parts, number: int, source: str | None = None) -> Iterator[str]:
    """Write the rows of `path` to `number` parts; yields the name of each part when its file is complete.

    out: of the parts; JOB stands for the number.  source: the file to read, if it is a copy of `path`.
    """
    names = [out.replace("JOB", str(job)) for job in range(1, number + 1)]
    sizes = np.bincount(parts, minlength=number).tolist()
    in_order = bool(np.all(parts[1:] >= parts[:-1]))
    if in_order:
        lines = _read(path, out, names, parts, source)
        for name, size in zip(names, sizes, strict=True):
            with io.open_out(name) as f:
                f.writelines(text for _, text in islice(lines, size))
            yield name
        # the end is looked at
        next(lines, None)
        return
    for begin in range(0, number, MAX_OPEN):
        some = names[begin : begin + MAX_OPEN]
        lines = _read(path, out, names, parts, source)
        with contextlib.ExitStack() as stack:
            files = [stack.enter_context(io.open_out(name)) for name in some]
            for part, text in lines:
                if begin <= part < begin + MAX_OPEN:
                    files[part - begin].write(text)
        yield from some


def _read(path: str, out: str, names: list[str], parts: Parts, source: str | None) -> Iterator[tuple[int, str]]:
    """The part of each row, and its line there."""
    blocks = (parts[i : i + (1 << 16)].tolist() for i in range(0, len(parts), 1 << 16))
    numbers = chain.from_iterable(blocks)
    if "JOB" not in os.path.dirname(out):
        yield from _pair(numbers, manifest_lines.read(path, names[0], source=source), path)
        return
    # the parts are in folders of their own, which relative paths depend on
    changes = [PathChange("", manifest.output_folder(name)) for name in names]
    for part, text in _pair(numbers, manifest_lines.read(path, "-", source=source), path):
        yield part, manifest.format_row(changes[part].change_row(json.loads(text)))


def _pair(numbers: Iterable[int], lines: Iterable[Line], path: str) -> Iterator[tuple[int, str]]:
    for part, line in zip_longest(numbers, lines):
        if part is None or line is None:
            raise DataError(f"{path}: its number of rows has changed while it was split (run it again)")
        yield part, line.text
