"""What rows have in common, within a manifest and across manifests, found with a few bytes for each row. N rows.

Values are compared by hashes of 63 bits: among 10 million rows two different ones agree with a probability of 5e-6.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ds2cli.checks.faults import Finding
from ds2cli.manifest import Row

Ints = NDArray[np.int64]

NONE = 0
"""The hash of a value that is missing."""

OVERLAP_S = 0.01
"""Segments that overlap by less than this (s) touch each other: times are rounded."""

FIELDS = ("id", "text", "speaker", "audio")


class Columns:
    """What is remembered of the rows of a manifest: line numbers, hashes of values, and the times of segments."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.lines = array("q")
        self.hashes = {name: array("q") for name in (*FIELDS, "segment", "samples")}
        self.begins, self.ends = array("d"), array("d")

    def add(self, line: int, row: Row) -> None:
        """Remember a row."""
        self.lines.append(line)
        hashes = self.hashes
        hashes["id"].append(_hash(row.get("id")))
        text = row.get("text")
        hashes["text"].append(NONE if text is None or text.isspace() else _hash(text))
        hashes["speaker"].append(_hash(row.get("speaker")))
        path = row.get("audio_filepath")
        if path:
            real = _real_path(path)
            hashes["audio"].append(_hash(real))
            hashes["segment"].append(_hash((real, row.get("channel"), row.get("speed"))))
        else:
            hashes["audio"].append(NONE)
            hashes["segment"].append(NONE)
        hashes["samples"].append(NONE)
        begin, duration = row.get("offset"), row.get("duration")
        self.begins.append(begin or 0.0)
        # a row without an offset is the whole recording
        whole = begin is None or duration is None
        self.ends.append(np.inf if whole else begin + duration * row.get("speed", 1.0))

    def set_samples(self, index: int, digest: int) -> None:
        """Remember the hash of the samples of a row."""
        self.hashes["samples"][index] = digest

    def forget_segment(self, index: int) -> None:
        """Do not compare the segment of a row, which is not in its recording."""
        self.hashes["segment"][index] = NONE

    def column(self, name: str) -> Ints:
        """The hashes (N,) of a field."""
        return np.frombuffer(self.hashes[name], np.int64) if len(self.lines) else np.zeros(0, np.int64)

    @property
    def line_numbers(self) -> Ints:
        """The line (N,) of each row."""
        return np.frombuffer(self.lines, np.int64) if len(self.lines) else np.zeros(0, np.int64)


def find_repeats(columns: Columns) -> dict[str, tuple[Ints, Ints]]:
    """Rows with something of an earlier row, by kind: their indices (K,), ascending, and those of the first such rows.

    Rows with the same segment are not reported again for its samples.
    """
    found = {
        kind: _repeated(columns.column(name)) for kind, name in (("duplicate-id", "id"), ("duplicate-text", "text"))
    }
    found["repeated-segment"], found["overlapping-segments"] = _overlaps(columns)
    again, first = _repeated(columns.column("samples"))
    is_new = ~np.isin(again, found["repeated-segment"][0])
    found["duplicate-audio"] = again[is_new], first[is_new]
    return {kind: pair for kind, pair in found.items() if len(pair[0])}


def find_shared(columns: Columns, earlier: Columns) -> dict[str, tuple[Ints, Ints]]:
    """Rows with something of a row of an earlier manifest, by kind: their indices (K,), and those of the earlier rows.

    A recording is shared if its path is the same, or its samples are.
    """
    found = {f"shared-{name}": _common(columns.column(name), earlier.column(name)) for name in FIELDS}
    rows, others = found["shared-audio"]
    same_samples = _common(columns.column("samples"), earlier.column("samples"))
    is_new = ~np.isin(same_samples[0], rows)
    rows, others = (np.concatenate([a, b[is_new]]) for a, b in zip((rows, others), same_samples, strict=True))
    order = np.argsort(rows, kind="stable")
    found["shared-audio"] = rows[order], others[order]
    return {kind: pair for kind, pair in found.items() if len(pair[0])}


def describe(kind: str, row: Row, other: str) -> Finding:
    """A finding of these kinds on a row. other: the place of the other row, such as `line 12`."""
    values: dict[str, Any] = {
        "duplicate-id": f"the id {row.get('id')!r} is also in {other} (ds2 data fix drops the later row)",
        "duplicate-text": f"the text {str(row.get('text'))[:40]!r} is also in {other}",
        "repeated-segment": f"{row.get('audio_filepath')}: the same recording or segment is also in {other}",
        "overlapping-segments": f"{row.get('audio_filepath')}: the segment overlaps that in {other}",
        "duplicate-audio": f"{row.get('audio_filepath')}: its samples are those of the recording in {other}",
        "shared-id": f"the id {row.get('id')!r} is also in {other}",
        "shared-text": f"the text {str(row.get('text'))[:40]!r} is also in {other}",
        "shared-speaker": f"the speaker {row.get('speaker')!r} is also in {other}",
        "shared-audio": f"{row.get('audio_filepath')}: the same recording is also in {other}",
    }
    return kind, values[kind]


def _hash(value: Any) -> int:
    return NONE if value is None or value == "" else (hash(value) >> 1) or 1


@lru_cache(maxsize=4096)
def _real_folder(folder: str) -> str:
    return os.path.realpath(folder)


def _real_path(path: str) -> str:
    """The path with its folder resolved; resolving each file would take longer than all other checks of a row."""
    folder, _, name = path.rpartition("/")
    return f"{_real_folder(folder or ('/' if path.startswith('/') else '.'))}/{name}"


def _repeated(hashes: Ints) -> tuple[Ints, Ints]:
    """Indices of values that an earlier one equals, ascending, and those of the first equal values."""
    order = np.argsort(hashes, kind="stable")
    values = hashes[order]
    starts = np.flatnonzero(np.diff(values, prepend=values[:1] - 1) != 0) if len(values) else order
    first = np.repeat(order[starts], np.diff(starts, append=len(values)))
    again = (first != order) & (values != NONE)
    rows, firsts = order[again], first[again]
    ascending = np.argsort(rows)
    return rows[ascending], firsts[ascending]


def _common(hashes: Ints, earlier: Ints) -> tuple[Ints, Ints]:
    """Indices of values that are among the earlier ones, ascending, and those of the first equal ones there."""
    order = np.argsort(earlier, kind="stable")
    values = earlier[order]
    place = np.searchsorted(values, hashes)
    is_inside = place < len(values)
    rows = np.flatnonzero(is_inside & (hashes != NONE))
    rows = rows[values[place[rows]] == hashes[rows]]
    return rows, order[place[rows]]


def _overlaps(columns: Columns) -> tuple[tuple[Ints, Ints], tuple[Ints, Ints]]:
    """Rows with a segment of an earlier row, and those that overlap another one: each with the other rows."""
    keys = columns.column("segment")
    begins, ends = (np.frombuffer(x, np.float64) if len(keys) else np.zeros(0) for x in (columns.begins, columns.ends))
    order = np.lexsort((np.arange(len(keys)), ends, begins, keys))
    same = keys[order][1:] == keys[order][:-1]
    is_candidate = np.zeros(len(keys), bool)
    is_candidate[1:] = same & (keys[order][1:] != NONE)
    repeated: list[tuple[int, int]] = []
    overlapping: list[tuple[int, int]] = []
    for row, other, is_repeat in _sweep(order, is_candidate, begins, ends):
        (repeated if is_repeat else overlapping).append((row, other))
    return _pairs(repeated), _pairs(overlapping)


def _sweep(
    order: Ints, is_candidate: NDArray[np.bool_], begins: NDArray[np.float64], ends: NDArray[np.float64]
) -> Iterator[tuple[int, int, bool]]:
    """Overlapping segments of each recording, ordered by begin: the row, the other one, whether they are the same."""
    widest = previous = -1
    for row, follows in zip(order.tolist(), is_candidate.tolist(), strict=True):
        if not follows:
            widest = previous = row
            continue
        if begins[row] == begins[previous] and ends[row] == ends[previous]:
            yield row, previous, True
            continue
        if begins[row] < ends[widest] - OVERLAP_S:
            yield row, widest, False
        widest, previous = (row if ends[row] > ends[widest] else widest), row


def _pairs(found: list[tuple[int, int]]) -> tuple[Ints, Ints]:
    found.sort()
    rows = np.array(found, np.int64).reshape(-1, 2)
    return rows[:, 0], rows[:, 1]
