"""Find what manifests have in common: error rates on a test set mean little if training had its speakers or texts."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ds2cli.drops import no_utterances
from ds2cli.manifest import Row

NAMES = {"audio_filepath": "recording"}
"""What a field holds, in words, where its name does not say it."""


@dataclass(frozen=True)
class Overlap:
    """Values of a field that are in two manifests. shared, total: rows of the second one with such a value, and all."""

    field: str
    first: str
    second: str
    values: tuple[str, ...]
    shared: int
    total: int

    def describe(self, most: int) -> str:
        """`test.jsonl: 3 of 45 rows share their text with train.jsonl: 'yes', 'no'`, with at most `most` values."""
        values = ", ".join(map(repr, self.values[:most]))
        rest = f" and {len(self.values) - most} more" if len(self.values) > most else ""
        rows = f"{self.shared} of {self.total} rows {'share their' if self.shared > 1 else 'shares its'}"
        return f"{self.second}: {rows} {NAMES.get(self.field, self.field)} with {self.first}: {values}{rest}"


@dataclass(frozen=True)
class Missing:
    """Rows of a manifest without a value of the field, which cannot be compared. rows, total: their number, and all."""

    field: str
    manifest: str
    rows: int
    total: int

    def describe(self) -> str:
        """`test.jsonl: 3 of 45 rows have no speaker to compare`."""
        rows = f"{self.rows} of {self.total} rows {'have' if self.rows > 1 else 'has'}"
        return f"{self.manifest}: {rows} no {NAMES.get(self.field, self.field)} to compare"


def find_overlaps(manifests: Iterable[tuple[str, Iterable[Row]]], fields: Sequence[str]) -> Iterator[Overlap | Missing]:
    """Yield what each manifest has in common with each earlier one, and what cannot be compared, by field.

    manifests: names with rows, which are read once. Paths are compared by the files they lead to.
    DataError for a manifest without rows, which can overlap with no other.
    """
    earlier: list[tuple[str, dict[str, Counter[str]]]] = []
    for name, rows in manifests:
        counts: dict[str, Counter[str]] = {field: Counter() for field in fields}
        total = 0
        for row in rows:
            total += 1
            for field in fields:
                if row.get(field) not in (None, ""):
                    counts[field][_comparable(field, row[field])] += 1
        if not total:
            raise no_utterances(name)
        for field in fields:
            if missing := total - counts[field].total():
                yield Missing(field, name, missing, total)
            for other, other_counts in earlier:
                if common := sorted(counts[field].keys() & other_counts[field].keys()):
                    shared = sum(counts[field][value] for value in common)
                    yield Overlap(field, other, name, tuple(common), shared, total)
        earlier.append((name, counts))


def _comparable(field: str, value: Any) -> str:
    return os.path.realpath(value) if field == "audio_filepath" else str(value)
