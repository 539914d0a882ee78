"""The lines of a manifest for commands that pass rows on as they are: no row is parsed that can be copied.

A line that a command of this package has written is copied, with its relative paths changed where OUT is in another
folder; a few fields that the command asks for are taken out of it. The result is what `manifest.read` and
`manifest.write` would make of the row, and so are all errors. Lines written in other ways are parsed.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ds2cli import encoding, io, manifest
from ds2cli.atomic import temporary_folder
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, DataError
from ds2cli.json_lines import explain_document, starts_document
from ds2cli.manifest import Row

if TYPE_CHECKING:
    from ds2cli.plain_lines import PlainLines

CHUNK = 4 << 20
"""Characters that are read at a time."""

LITTLE = 1 << 18
"""Characters of a manifest that Python has read before the kernel is loaded."""


class Line(NamedTuple):
    """A row as a line of OUT.

    number: of its line in the manifest.  text: with its end.  duration: NaN if it has none (s).
    values: of the fields that were asked for, None for missing ones.
    """

    id: str
    number: int
    text: str
    duration: float
    values: tuple[Any, ...]


class BadLine(NamedTuple):
    """A line that is no row."""

    number: int
    text: str
    error: BadUtterance


def read(
    path: str,
    out: str = "-",
    fields: Sequence[str] = (),
    ledger: Ledger | None = None,
    source: str | None = None,
    chunk: int = CHUNK,
) -> Iterator[Line]:
    """The rows of a manifest as lines of `out`. Rows are refused, and dropped, as `manifest.read` does.

    fields: whose values are asked for.  source: the file to read, if it is a copy of `path`.
    chunk: characters that are read at a time.
    """
    name, last = "<stdin>" if path == "-" else path, ""
    for line in scan(path, out, fields, source, chunk):
        if isinstance(line, Line) and line.id > last:
            last = line.id
            yield line
            continue
        location = f"{name}:{line.number}"
        if isinstance(line, Line) and line.id < last:
            raise DataError(f"{location}: id {line.id!r} comes after {last!r}, expected sorted ids (ds2 data sort)")
        if isinstance(line, Line):
            error, bad_id = BadUtterance("duplicate-id", f"id {last!r} appears more than once"), line.id
        else:
            error, bad_id = line.error, manifest.id_of(line.text, location)
        if ledger is None:
            raise DataError(f"{location}: {error.detail}") from error
        ledger.drop(bad_id, error.reason, f"{location}: {error.detail}")


def write(path: str, lines: Iterable[Line]) -> int:
    """Write lines of `path`, as `manifest.write` does; return their number."""
    count, last = 0, ""
    with io.open_out(path) as f:
        for line in lines:
            if line.id <= last:
                raise DataError(f"{path}: id {line.id!r} comes after {last!r}, expected unique sorted ids")
            last = line.id
            f.write(line.text)
            count += 1
    return count


def scan(
    path: str,
    out: str = "-",
    fields: Sequence[str] = (),
    source: str | None = None,
    chunk: int = CHUNK,
) -> Iterator[Line | BadLine]:
    """Every line of a manifest that is not empty, in order; DataError if it is a document. Arguments: see `read`."""
    name, is_first = "<stdin>" if path == "-" else path, True
    scanner = Scanner(path, out, fields, chunk)
    for line in scanner.read_file(source or path):
        if is_first and isinstance(line, BadLine) and starts_document(line.text):
            raise DataError(f"{name}:{line.number}: {explain_document(path)}")
        is_first = False
        yield line


def read_blocks(source: str, chunk: int = CHUNK) -> Iterator[tuple[int, str, int]]:
    """The text of a file in blocks of whole lines: the number of the first line, the block, the characters so far."""
    number, size, parts = 1, 0, list[str]()
    with io.open_in(source) as f:
        while block := f.read(chunk):
            size += len(block)
            head, end, tail = block.rpartition("\n")
            if not end:
                # a line that is longer than the block
                parts.append(block)
                continue
            lines, parts = "".join([*parts, head, end]), [tail]
            yield number, lines, size
            number += lines.count("\n")
    if any(parts):
        yield number, "".join(parts) + "\n", size


@contextlib.contextmanager
def rereadable(path: str) -> Iterator[str]:
    """A file that can be read several times: the manifest, or a temporary copy of a pipe."""
    if path != "-" and os.path.isfile(path):
        yield path
        return
    with temporary_folder("ds2-copy-") as folder:
        copy = folder / "rows.jsonl"
        with copy.open("w", encoding="utf-8", errors="surrogateescape", newline="\n") as f:
            f.writelines(text for _, text, _ in read_blocks(path))
        yield str(copy)


class Scanner:
    """Makes lines of OUT from those of a manifest."""

    def __init__(self, path: str, out: str, fields: Sequence[str] = (), chunk: int = CHUNK) -> None:
        self.fields = tuple(fields)
        self._chunk = chunk
        self._paths = PathChange(manifest.base_folder(path), manifest.output_folder(out))
        self._plain: PlainLines | None = None

    def read_file(self, source: str) -> Iterator[Line | BadLine]:
        """Every line of a file that is not empty."""
        for number, text, size in read_blocks(source, self._chunk):
            yield from self.read_lines(text, number, size)

    def read_lines(self, text: str, number: int, size: int) -> Iterator[Line | BadLine]:
        """Each line of a text that is not empty. number: of the first.  size: characters of the manifest up to here."""
        if size > LITTLE and not self._paths.is_awkward:
            if self._plain is None:
                from ds2cli.plain_lines import PlainLines

                self._plain = PlainLines(self.fields, self._paths, self._chunk)
            yield from self._plain.read(text, number, self.read_line)
            return
        for i, line in enumerate(text.split("\n")[:-1], start=number):
            found = self.read_line(line, i)
            if found is not None:
                yield found

    def read_line(self, text: str, number: int) -> Line | BadLine | None:
        """One line, parsed; None if it is empty."""
        # files that were joined have byte order marks in the middle
        text = text.rstrip("\r\n").removeprefix(encoding.MARK)
        if not text.strip():
            return None
        try:
            row = manifest.parse(text)
        except BadUtterance as e:
            return BadLine(number, text, e)
        return self.line_of(row, number)

    def line_of(self, row: Row, number: int) -> Line:
        """The line of a row as it stands in the manifest."""
        row = self._paths.change_row(row)
        values = tuple(row.get(name) for name in self.fields)
        duration = float(row.get("duration", math.nan))
        return Line(row["id"], number, manifest.format_row(row), duration, values)


class PathChange:
    """How a relative path in a manifest in the folder `old` is written in one in the folder `new`; "" for a pipe.

    prefix: what is put in front of most of them.  part: paths whose first part is this one are special, "" if there is
    none.  is_kept: whether all of them stay as they are.  is_awkward: whether the prefix cannot be in a string of JSON.
    """

    def __init__(self, old: str, new: str) -> None:
        self._old, self._new = old, new
        self.is_kept = not old and not new
        inside = os.path.abspath(new or ".").removeprefix(os.path.abspath(old or ".").rstrip("/") + "/")
        self.part = inside.partition("/")[0] if new and inside != os.path.abspath(new) else ""
        probe = "x" if self.part != "x" else "y"
        self.prefix = "" if self.is_kept else self._change(probe)[: -len(probe)]
        self.is_awkward = not self.prefix.isprintable() or '"' in self.prefix or "\\" in self.prefix

    def change_row(self, row: Row) -> Row:
        """A row with its relative paths as they are written there."""
        return row if self.is_kept else manifest.map_paths(row, self._change)

    def _change(self, path: str) -> str:
        rebased = manifest.rebase_path(self._old, path) if self._old else path
        return manifest.path_from(self._new, rebased) if self._new else rebased
