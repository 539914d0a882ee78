"""The rows that a format was read as, and their order: sorted in bounded memory if the format is not."""

from __future__ import annotations

import heapq
import marshal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ds2cli.atomic import temporary_folder
from ds2cli.manifest import Row

RUN = 50_000
"""Rows that are sorted in memory at a time; more are merged from temporary files."""

Item = tuple[Row, bool]
"""A row, and whether ds2 has exported it: then it is complete, and nothing is added."""


FIRST_FIELDS = ("id", "audio_filepath", "channel", "offset", "duration", "text")
"""How rows begin."""


def order_fields(row: Row) -> Row:
    """A row that begins with FIRST_FIELDS."""
    return {**{name: row[name] for name in FIRST_FIELDS if name in row}, **row}


@dataclass(frozen=True)
class Found:
    """The rows of a source. in_order: whether they come sorted by id."""

    items: Iterable[Item]
    in_order: bool = False


def in_order(found: Found) -> Iterator[Item]:
    """The rows sorted by id, those of one id in the order of the source."""
    if found.in_order:
        yield from found.items
    else:
        yield from sort_items(found.items)


def sort_items(items: Iterable[Item]) -> Iterator[Item]:
    """The rows sorted by id; more than RUN of them pass through files in $TMPDIR."""
    source = iter(items)
    run = _next_run(source)
    following = _next_run(source) if len(run) == RUN else []
    if not following:
        yield from run
        return
    with temporary_folder("ds2-sort-") as folder:
        files: list[Path] = []
        while run:
            files.append(folder / str(len(files)))
            write_items(files[-1], run)
            run, following = following, _next_run(source) if following else []
        yield from heapq.merge(*map(read_items, files), key=_id_of)


def _next_run(source: Iterator[Item]) -> list[Item]:
    # not zip with a range, which would take one item too many from the source
    return sorted(islice(source, RUN), key=_id_of)


def _id_of(item: Item) -> str:
    return str(item[0]["id"])


def write_items(file: Path, run: Iterable[Item]) -> None:
    """Write rows to a temporary file, in a tenth of the time that JSON would take."""
    with file.open("wb") as f:
        for item in run:
            marshal.dump(item, f)


def read_items(file: Path) -> Iterator[Item]:
    """The rows that `write_items` has written."""
    with file.open("rb") as f:
        while True:
            try:
                yield marshal.load(f)
            except EOFError:
                return
