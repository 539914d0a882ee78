"""Read what other commands refuse: unsorted rows, rows without ids, a JSON list."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from itertools import chain

from ds2cli import io, json_lines, manifest
from ds2cli.corpora._ids import note_hashes, segment_id, unique_ids
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, DataError
from ds2cli.manifest import Row

Parsed = Row | BadUtterance
"""A row, or the reason why a line is not a row."""


def sort(
    path: str, ledger: Ledger, *, make_ids: bool = False, repair: Callable[[Row], Row] | None = None
) -> Iterator[Row]:
    """The rows of `path` sorted by id; malformed rows are dropped, and repeated ids after the first.

    The file may be one JSON document, such as a list of rows.
    make_ids: give rows without an id one that is made from the path of their recording, and from their offset.
    repair: called with the fields of a malformed row; returns repaired ones.
    """
    folder = manifest.base_folder(path)
    read = [(location, _parse(line, make_ids, repair)) for location, line in read_lines(path)]
    if make_ids:
        read = _add_ids(read, ledger)
    rows: dict[str, Row] = {}
    for location, row in read:
        if isinstance(row, BadUtterance):
            ledger.drop(location, row.reason, row.detail)
        elif row["id"] in rows:
            ledger.drop(location, "duplicate-id", f"id {row['id']!r} appears more than once")
        else:
            rows[row["id"]] = manifest.rebase_paths(row, folder)
    yield from (rows[name] for name in sorted(rows))


def read_lines(path: str) -> Iterator[tuple[str, str]]:
    """One JSON text per row after its location `path:line`; a document is taken apart. DataError if it is broken."""
    name = "<stdin>" if path == "-" else path
    lines = ((number, line) for number, line in io.read_lines(path) if line.strip())
    first = next(lines, (1, ""))
    if not json_lines.starts_document(first[1]):
        yield from ((f"{name}:{number}", line) for number, line in chain([first], lines) if line)
        return
    text, reached = [], 1
    for number, line in chain([first], lines):
        # empty lines are not among them
        text += ["\n" * (number - reached), line]
        reached = number
    try:
        for number, row in json_lines.parse_document("".join(text)):
            yield f"{name}:{number}", json.dumps(row, ensure_ascii=False)
    except json.JSONDecodeError as e:
        raise DataError(f"{name}:{e.lineno}: not JSON: {json_lines.explain_json_error(e)}") from e
    except (ValueError, RecursionError) as e:
        raise DataError(f"{name}: not JSON: {json_lines.explain_json_error(e)}") from e


def _parse(line: str, make_ids: bool, repair: Callable[[Row], Row] | None = None) -> Parsed:
    needs = () if make_ids else ("id",)
    try:
        try:
            row = manifest.parse(line, needs)
        except BadUtterance as e:
            if repair is None or e.reason not in ("wrong-type", "no-id"):
                raise
            row = manifest.parse(json.dumps(repair(json_lines.parse_json(line, finite=False))), needs)
        if "id" not in row and "audio_filepath" not in row:
            raise BadUtterance("no-id", "the fields 'id' and 'audio_filepath' are missing")
    except BadUtterance as e:
        return e
    return row


def _add_ids(rows: list[tuple[str, Parsed]], ledger: Ledger) -> list[tuple[str, Parsed]]:
    """The rows, each with an id."""
    paths = [os.path.normpath(row["audio_filepath"]) for _, row in rows if isinstance(row, dict) and "id" not in row]
    ids = unique_ids(paths)
    if ids:
        ledger.notes.append(f"{len(ids)} rows had no id: each got one made from the path of its recording")
        note_hashes(paths, ids, ledger)
    made = iter(ids)

    def add_id(row: Parsed) -> Parsed:
        if isinstance(row, BadUtterance) or "id" in row:
            return row
        name = next(made)
        return {"id": segment_id(name, row), **row}

    return [(location, add_id(row)) for location, row in rows]
