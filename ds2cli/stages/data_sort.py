"""Sort the rows of a manifest that does not fit into memory: sorted runs in temporary files, which are then merged."""

from __future__ import annotations

import contextlib
import heapq
import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path

from ds2cli import encoding, json_lines
from ds2cli.atomic import temporary_folder
from ds2cli.drops import Ledger
from ds2cli.errors import DataError
from ds2cli.manifest_lines import BadLine, Line, Scanner, read_blocks

RUN = 64 << 20
"""Characters of rows that are sorted in memory."""

MOST_RUNS = 64
"""Runs that are merged at a time, as each is an open file."""

Key = tuple[str, int, str]
"""Id, number and text of a line, in the order that they are sorted by."""


def sort(path: str, out: str, ledger: Ledger) -> Iterator[Line]:
    """The rows of `path` as lines of `out`, sorted by id; malformed rows are dropped, and repeated ids after the first.

    The file may be one JSON document, such as a list of rows.
    """
    name = "<stdin>" if path == "-" else path
    yield from sort_lines(_read(path, out, name), name, ledger)


def sort_lines(lines: Iterable[Line | BadLine], name: str, ledger: Ledger) -> Iterator[Line]:
    """Lines sorted by id; bad ones are dropped, and repeated ids after the first, in the order of the lines.

    name: of the manifest.
    """
    dropped: list[tuple[int, str, str]] = []
    with _Runs() as runs:
        for line in lines:
            if isinstance(line, BadLine):
                dropped.append((line.number, line.error.reason, line.error.detail))
            else:
                runs.add(line)
        last = ""
        for row_id, number, text in runs.merge():
            if row_id == last:
                dropped.append((number, "duplicate-id", f"id {row_id!r} appears more than once"))
                continue
            last = row_id
            yield Line(row_id, number, text, math.nan, ())
    dropped.sort()
    for number, reason, detail in dropped:
        ledger.drop(f"{name}:{number}", reason, detail)


class _Runs:
    """Lines in sorted runs, all but the last in temporary files. Runs that follow on each other become one."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._folder: Path | None = None
        self._files: list[Path] = []
        self._lines: list[Key] = []
        self._size = self._number = 0
        self._last: Key = ("", 0, "")

    def __enter__(self) -> _Runs:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.__exit__(None, None, None)

    def add(self, line: Line) -> None:
        """Add one line."""
        self._lines.append((line.id, line.number, line.text))
        self._size += len(line.text)
        if self._size >= RUN:
            self._store()

    def merge(self) -> Iterator[Key]:
        """All lines, sorted by id and number."""
        self._lines.sort()
        yield from heapq.merge(*map(read_run, self._files), self._lines)

    def _store(self) -> None:
        """Write the lines in memory to a file."""
        self._lines.sort()
        follows = self._files and self._lines[0] > self._last
        self._last = self._lines[-1]
        if not follows and len(self._files) == MOST_RUNS:
            merged = self._new_file()
            write_run(merged, heapq.merge(*map(read_run, self._files)))
            for file in self._files:
                file.unlink()
            self._files = [merged]
        if not follows:
            self._files.append(self._new_file())
        write_run(self._files[-1], self._lines)
        self._lines, self._size = [], 0

    def _new_file(self) -> Path:
        if self._folder is None:
            self._folder = self._stack.enter_context(temporary_folder("ds2-sort-"))
        self._number += 1
        return self._folder / str(self._number)


def write_run(file: Path, lines: Iterable[Key]) -> None:
    """Append lines to a run."""
    with _disk_errors(file), file.open("a", encoding="utf-8", newline="\n") as f:
        # ids have no spaces
        f.writelines(f"{row_id} {number} {text}" for row_id, number, text in lines)


def read_run(file: Path) -> Iterator[Key]:
    """The lines of a run."""
    with file.open(encoding="utf-8", newline="\n") as f:
        for line in f:
            row_id, number, text = line.split(" ", 2)
            yield row_id, int(number), text


@contextlib.contextmanager
def _disk_errors(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as e:
        raise DataError(f"{file.parent.parent}: cannot hold the rows to sort: {e.strerror} (TMPDIR=FOLDER)") from e


def _read(path: str, out: str, name: str) -> Iterator[Line | BadLine]:
    """The lines of a manifest; a document is taken apart. DataError if it is broken."""
    scanner = Scanner(path, out)
    blocks = read_blocks(path)
    for number, text, size in blocks:
        if number == 1 and json_lines.starts_document(_first_line(text)):
            yield from _read_document("".join([text, *(block for _, block, _ in blocks)]), scanner, name)
            return
        yield from scanner.read_lines(text, number, size)


def _first_line(text: str) -> str:
    """The first line that is not empty."""
    lines = (_clean(line) for line in text.split("\n"))
    return next((line for line in lines if line.strip()), "")


def _read_document(text: str, scanner: Scanner, name: str) -> Iterator[Line | BadLine]:
    text = "\n".join(map(_clean, text.split("\n")))
    try:
        for number, row in json_lines.parse_document(text):
            if (line := scanner.read_line(json.dumps(row, ensure_ascii=False), number)) is not None:
                yield line
    except json.JSONDecodeError as e:
        raise DataError(f"{name}:{e.lineno}: not JSON: {json_lines.explain_json_error(e)}") from e
    except (ValueError, RecursionError) as e:
        raise DataError(f"{name}: not JSON: {json_lines.explain_json_error(e)}") from e


def _clean(line: str) -> str:
    return line.rstrip("\r\n").removeprefix(encoding.MARK)
