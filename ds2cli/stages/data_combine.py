"""Merge sorted manifests in one pass."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence

from ds2cli.drops import Ledger
from ds2cli.manifest_lines import CHUNK, Line

LEAST_CHUNK = 1 << 16


def chunk_for(number: int) -> int:
    """How many characters to read at a time of each of `number` manifests, to hold a chunk of each in memory."""
    return max(LEAST_CHUNK, 2 * CHUNK // number)


def combine(parts: Sequence[Iterable[Line]], ledger: Ledger) -> Iterator[Line]:
    """Merge sorted streams; if an id occurs in several of them, only its first row is kept."""

    def number(k: int, lines: Iterable[Line]) -> Iterator[tuple[str, int, Line]]:
        return ((line.id, k, line) for line in lines)

    last = None
    for row_id, _, line in heapq.merge(*(number(k, lines) for k, lines in enumerate(parts))):
        if row_id == last:
            ledger.drop(row_id, "duplicate-id", "the id is in more than one manifest")
            continue
        last = row_id
        yield line
