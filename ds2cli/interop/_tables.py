"""Kaldi's text files: lines of an id and a value, sorted by id as LC_ALL=C sort does."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ds2cli import io
from ds2cli.drops import Ledger
from ds2cli.encoding import explain_undecodable
from ds2cli.errors import BadUtterance
from ds2cli.manifest import is_id

Value = str | BadUtterance
Entry = tuple[str, Value]

_SPACE = re.compile(r"[ \t]+")


class Table:
    """A file of a data folder, plain or with the ending .gz; `path` is None if there is none."""

    def __init__(self, folder: str, name: str, ledger: Ledger) -> None:
        found = [p for p in (os.path.join(folder, name), os.path.join(folder, f"{name}.gz")) if Path(p).is_file()]
        self.name = name
        self.path = found[0] if found else None
        self._ledger = ledger

    def entries(self) -> Iterator[Entry]:
        """The entries sorted by id; an error in place of a value that cannot be used.

        The second line of an id is dropped. A file in order is not held in memory.
        """
        if self.path is None:
            return
        if self._is_sorted():
            yield from self._unique(self._parsed())
            return
        self._ledger.notes.append(f"{self.path} is not sorted (LC_ALL=C sort): its order was not used")
        first: dict[str, Value] = {}
        for id_, value in self._parsed():
            if id_ in first:
                self._drop_repeated(id_)
            else:
                first[id_] = value
        yield from sorted(first.items(), key=lambda entry: entry[0])

    def read(self) -> dict[str, Value]:
        """All entries by id."""
        return dict(self.entries())

    def _is_sorted(self) -> bool:
        last = ""
        with io.open_in(self.path or "") as f:
            for line in f:
                id_ = (line.split(maxsplit=1) or [last])[0]
                if id_ < last:
                    return False
                last = id_
        return True

    def _lines(self) -> Iterator[tuple[int, str]]:
        if self.path is not None:
            for number, line in io.read_lines(self.path):
                if line and not line.isspace():
                    yield number, line if line[0] not in " \t" else line.lstrip(" \t")

    def _parsed(self) -> Iterator[Entry]:
        for number, line in self._lines():
            id_, *rest = _SPACE.split(line, maxsplit=1)
            if line.isascii() or not (error := explain_undecodable(line)):
                if id_.isprintable() or is_id(id_):
                    yield id_, rest[0].strip() if rest else ""
                else:
                    # not an id that sorts: reported here, where its line is known
                    detail = f"{self.path}:{number}: {id_[:80]!r}: expected an id without control characters"
                    self._ledger.drop(f"{self.path}:{number}", "bad-id", detail)
            elif explain_undecodable(id_):
                self._ledger.drop(f"{self.path}:{number}", "not-utf8", f"{self.path}:{number}: the id is {error}")
            else:
                yield id_, BadUtterance("not-utf8", f"{self.path}:{number}: {error}")

    def _unique(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        last = ""
        for id_, value in entries:
            if id_ == last:
                self._drop_repeated(id_)
                continue
            last = id_
            yield id_, value

    def _drop_repeated(self, id_: str) -> None:
        detail = f"{self.path}: a second line for {id_!r}: the first one is used"
        self._ledger.drop(id_, "duplicate-id", detail)


def join_entries(tables: Mapping[str, Iterable[Entry]]) -> Iterator[tuple[str, dict[str, Value]]]:
    """Each id that is in any table, in order, with its values by the names of the tables that have it."""
    iterators = {name: iter(entries) for name, entries in tables.items()}
    heads = {name: head for name, entries in iterators.items() if (head := next(entries, None)) is not None}
    while heads:
        first = min(head[0] for head in heads.values())
        values: dict[str, Value] = {}
        for name in [name for name, head in heads.items() if head[0] == first]:
            values[name] = heads[name][1]
            following = next(iterators[name], None)
            if following is None:
                del heads[name]
            else:
                heads[name] = following
        yield first, values
