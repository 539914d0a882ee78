"""Find what manifests have in common: error rates on a test set mean little if training had its speakers or texts."""

from __future__ import annotations

import contextlib
import os
from array import array
from bisect import insort
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ds2cli.drops import no_utterances

Hashes = NDArray[np.uint64]
ReadValues = Callable[[], Iterable[Sequence[Any]]]
"""Reads the values of the compared fields of each row; None or "" for a missing one."""

NO_VALUE = 0
"""The hash of a missing value."""

MASK = (1 << 64) - 1

NAMES = {"audio_filepath": "recording"}
"""What a field holds, in words, where its name does not say it."""


@dataclass(frozen=True)
class Overlap:
    """Values of a field that are in two manifests.

    values: the first ones, in order.  count: of all of them.
    shared, total: rows of the second manifest with such a value, and all.
    """

    field: str
    first: str
    second: str
    values: tuple[str, ...]
    count: int
    shared: int
    total: int

    def describe(self) -> str:
        """`test.jsonl: 3 of 45 rows share their text with train.jsonl: 'no', 'yes' and 1 more`."""
        values = ", ".join(map(repr, self.values))
        rest = f" and {self.count - len(self.values)} more" if self.count > len(self.values) else ""
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


def find_overlaps(
    manifests: Iterable[tuple[str, ReadValues]], fields: Sequence[str], most: int
) -> Iterator[Overlap | Missing]:
    """Yield what each manifest has in common with each earlier one, and what cannot be compared, by field.

    manifests: names, each with a function that reads the values of the fields; where there are common ones, it is
    called twice.  most: values to find of each overlap.  Paths are compared by the files they lead to.
    DataError for a manifest without rows, which can overlap with no other.

    Values are compared by hashes of 64 bits: of 10 million values in each manifest, two different ones are taken for
    the same once in 200,000 cases.
    """
    earlier: list[tuple[str, list[Hashes]]] = []
    for name, read_values in manifests:
        hashes = _hash_values(read_values(), fields)
        total = len(hashes[0])
        if not total:
            raise no_utterances(name)
        distinct = [np.unique(column[column != NO_VALUE]) for column in hashes]
        common = {}
        for k, column in enumerate(hashes):
            for other, other_distinct in earlier:
                shared = np.intersect1d(distinct[k], other_distinct[k], assume_unique=True)
                if len(shared):
                    common[k, other] = len(shared), np.isin(column, shared)
        masks = [(k, mask.tobytes()) for (k, _), (_, mask) in common.items()]
        values = dict(zip(common, _first_values(read_values(), fields, masks, most), strict=True)) if common else {}
        for k, field in enumerate(fields):
            if missing := int((hashes[k] == NO_VALUE).sum()):
                yield Missing(field, name, missing, total)
            for other, _ in earlier:
                if (k, other) in common:
                    count, mask = common[k, other]
                    yield Overlap(field, other, name, values[k, other], count, int(mask.sum()), total)
        earlier.append((name, distinct))


def _hash_values(rows: Iterable[Sequence[Any]], fields: Sequence[str]) -> list[Hashes]:
    """The hashes of each field's values, by row; NO_VALUE for a row without one."""
    columns = [array("Q") for _ in fields]
    adders = [(column.append, _comparison(field)) for column, field in zip(columns, fields, strict=True)]
    for values in rows:
        for value, (add, comparable) in zip(values, adders, strict=True):
            add(NO_VALUE if value is None or value == "" else hash(comparable(value)) & MASK or NO_VALUE + 1)
    return [np.frombuffer(column, np.uint64) for column in columns]


def _first_values(
    rows: Iterable[Sequence[Any]], fields: Sequence[str], masks: Sequence[tuple[int, bytes]], most: int
) -> list[tuple[str, ...]]:
    """The first values, in order, of a field in the rows of a mask, for each of the masks."""
    found: list[list[str]] = [[] for _ in masks]
    wanted = [(kept, k, mask, _comparison(fields[k])) for kept, (k, mask) in zip(found, masks, strict=True)]
    for i, values in enumerate(rows):
        for kept, k, mask, comparable in wanted:
            # a file that grows while it is compared has more rows
            if i < len(mask) and mask[i]:
                value = comparable(values[k])
                if (len(kept) < most or value < kept[-1]) and value not in kept:
                    insort(kept, value)
                    del kept[most:]
    return [tuple(kept) for kept in found]


def _comparison(field: str) -> Callable[[Any], str]:
    """What is compared of a value of this field."""
    return real_path if field == "audio_filepath" else str


def real_path(path: str) -> str:
    """What `os.path.realpath` returns; the folders, of which there are few, are looked up."""
    folder, slash, name = path.rpartition("/")
    real, links = _real_folder(folder + slash, os.getcwd())  # noqa: PTH109
    return os.path.realpath(path) if name in links else f"{real}/{name}"


@lru_cache(1 << 14)
def _real_folder(folder: str, _current: str) -> tuple[str, frozenset[str]]:
    """The real path of a folder, and the names in it that are not simply behind it."""
    real, links = os.path.realpath(folder), {"", ".", ".."}
    with contextlib.suppress(OSError), os.scandir(real) as entries:
        links.update(entry.name for entry in entries if entry.is_symlink())
    return real.rstrip("/"), frozenset(links)
