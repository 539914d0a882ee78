"""Merge sorted manifests in one pass; many of them by way of temporary files, as each is an open file."""

from __future__ import annotations

import contextlib
import heapq
import math
from collections.abc import Iterable, Iterator, Sequence

from ds2cli.atomic import temporary_folder
from ds2cli.drops import Ledger
from ds2cli.manifest_lines import CHUNK, Line
from ds2cli.stages.data_sort import Key, read_run, write_run

MAX_OPEN = 100
"""Manifests that are read at a time."""

LEAST_CHUNK = 1 << 16


def chunk_for(number: int) -> int:
    """How many characters to read at a time of each of `number` manifests, to hold a chunk of each in memory."""
    return max(LEAST_CHUNK, 2 * CHUNK // number)


def combine(parts: Sequence[Iterable[Line]], ledger: Ledger) -> Iterator[Line]:
    """Merge sorted streams; if an id occurs in several of them, only its first row is kept."""
    streams = [_number(k, lines) for k, lines in enumerate(parts)]
    with contextlib.ExitStack() as stack:
        if len(streams) > MAX_OPEN:
            folder = stack.enter_context(temporary_folder("ds2-combine-"))
            files = [folder / str(begin) for begin in range(0, len(streams), MAX_OPEN)]
            for file in files:
                begin = int(file.name)
                write_run(file, heapq.merge(*streams[begin : begin + MAX_OPEN]))
            streams = [read_run(file) for file in files]
        last = None
        for row_id, k, text in heapq.merge(*streams):
            if row_id == last:
                ledger.drop(row_id, "duplicate-id", "the id is in more than one manifest")
                continue
            last = row_id
            yield Line(row_id, k, text, math.nan, ())


def _number(k: int, lines: Iterable[Line]) -> Iterator[Key]:
    return ((line.id, k, line.text) for line in lines)
