"""Ids for rows of a format that has none."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from ds2cli.corpora._ids import note_hashes, segment_id, unique_ids
from ds2cli.drops import Ledger
from ds2cli.interop._found import Item
from ds2cli.manifest import Row


def add_ids(rows: Iterable[Item], ledger: Ledger) -> Iterator[Item]:
    """The rows, those without an id with one made from the path of the recording, and the offset if they have one.

    All rows are held in memory if the first one has no id, as ids have to be unique.
    """
    source = iter(rows)
    first = next(source, None)
    if first is None:
        return
    if "id" not in first[0]:
        yield from _named([first, *source], ledger)
        return
    yield first
    missing: list[Item] = []
    for item in source:
        if "id" in item[0]:
            yield item
        else:
            missing.append(item)
    yield from _named(missing, ledger)


def _named(items: list[Item], ledger: Ledger) -> Iterator[Item]:
    paths = [os.path.normpath(row["audio_filepath"]) for row, _ in items if "id" not in row]
    ids = unique_ids(paths)
    if ids:
        ledger.notes.append(f"{len(ids)} rows had no id: each got one made from the path of its recording")
        note_hashes(paths, ids, ledger)
    made = iter(ids)
    for row, is_complete in items:
        yield row if "id" in row else _with_id(row, next(made)), is_complete


def _with_id(row: Row, name: str) -> Row:
    return {"id": segment_id(name, row), **row}
