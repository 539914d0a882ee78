"""The JSON file of `ds2 score --json`: one object, whose first field is `utterances`, one per line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ds2cli import manifest
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, DataError
from ds2cli.manifest import Row
from ds2cli.transcripts.texts import read_lines, report_bad

FIRST_LINE = '{"utterances":['


def read(path: str, needs: Iterable[str] = ("id",), ledger: Ledger | None = None) -> Iterator[Row]:
    """Yield the utterances; arguments as of `manifest.read`. DataError if the list does not end or is not sorted."""
    needs, last = tuple(needs), ""
    lines = read_lines(path)
    next(lines, None)
    for location, line in lines:
        if line.startswith("]"):
            return
        try:
            row = manifest.parse(line.rstrip().removesuffix(","), needs)
        except BadUtterance as e:
            report_bad(location, e, ledger)
            continue
        if row["id"] <= last:
            raise DataError(f"{location}: id {row['id']!r} comes after {last!r}, expected unique sorted ids")
        last = row["id"]
        yield row
    raise DataError(f"{path}: the list of utterances does not end (is the file complete?)")
