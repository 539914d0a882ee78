"""The rows of a table in a text file: values separated by tabs, bars, commas or semicolons, or JSON.

Rows come as numbered records: the number of the line, and the cells by column name or the error that drops the row.
"""

from __future__ import annotations

import csv
import functools
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from ds2cli import json_lines
from ds2cli.corpora._audio_finder import has_audio_ending
from ds2cli.errors import BadUtterance
from ds2cli.text.characters import INVISIBLE

Cells = dict[str, Any]
Record = tuple[int, Cells | BadUtterance]
NumberedLines = Iterator[tuple[int, str]]

DELIMITERS = "\t|,;"
_PLAIN_DELIMITERS = "\t|"
"""Delimiters that no text contains: tables that use them need no quotes, and most have none."""

_LONGEST_CELL_LINES = 100
"""Lines in which a quotation mark has to be closed."""

_SAMPLE = 20
"""Lines that are looked at to find the delimiter of a table without names of columns."""

_EXCEL_DELIMITER = re.compile(r'"?sep=([^\w\s"]|\t)"?', re.IGNORECASE)
_QUOTED = re.compile(r'"((?:[^"]|"")*)"')


@functools.cache
def normalize_name(name: str) -> str:
    """A column name in lower case, without quotes and invisible characters, with `_` for spaces and hyphens.

    >>> normalize_name(' "Audio Path"')
    'audio_path'
    """
    return re.sub(r"[\s-]+", "_", _unquote(INVISIBLE.sub("", name).strip()).strip().casefold())


def read_json(lines: NumberedLines) -> Iterator[Record]:
    """The rows of JSON Lines, or of a document (see `json_lines.parse_document`).

    ValueError or RecursionError for a file that is neither.
    """
    first = next(lines, (1, ""))
    if json_lines.is_object(first[1]):
        yield from _read_json_lines(chain([first], lines))
        return
    rest = [first, *lines]
    try:
        start = "\n" * (first[0] - 1)
        rows = list(json_lines.parse_document(start + "\n".join(line for _, line in rest)))
    except (ValueError, RecursionError):
        if not (first[1].lstrip().startswith("{") and any(json_lines.is_object(line) for _, line in rest)):
            raise
        yield from _read_json_lines(rest)
        return
    for number, row in rows:
        try:
            yield number, json_lines.check_object(row)
        except BadUtterance as e:
            yield number, e


def _read_json_lines(lines: Iterable[tuple[int, str]]) -> Iterator[Record]:
    for number, line in lines:
        try:
            if line.strip():
                # a table has NaN where pandas knew no value
                yield number, json_lines.parse_json(line, finite=False)
        except BadUtterance as e:
            yield number, e


@dataclass(frozen=True)
class Separated:
    """A table of separated values that was opened. first: its first line with its number.  lines: those after it."""

    delimiter: str
    first: tuple[int, str]
    lines: NumberedLines

    @classmethod
    def open(cls, lines: NumberedLines, is_name: Callable[[str], bool]) -> Separated:
        """Find the delimiter of a table by its first line, in which `is_name` recognizes the names of columns.

        Excel's line `sep=;` is heeded. Without a name, the delimiter is the one that gives the most cells with the
        ending of a recording, then the most lines with as many cells as the first one.
        """
        number, line = next(lines, (1, ""))
        if excel := _EXCEL_DELIMITER.fullmatch(line.strip(" ")):
            return cls(excel[1], next(lines, (number + 1, "")), lines)
        sample = list(islice(lines, _SAMPLE))

        def fit(delimiter: str) -> tuple[int, int, int]:
            head = _split(line, delimiter)[0]
            rows = [head, *(_split(row, delimiter)[0] for _, row in sample)] if delimiter in line else []
            audio = sum(has_audio_ending(cell) for row in rows for cell in row)
            return sum(map(is_name, head)), audio, sum(len(row) == len(head) for row in rows)

        return cls(max(DELIMITERS, key=fit), (number, line), chain(sample, lines))

    @property
    def head(self) -> list[str]:
        """The cells of the first line."""
        return _split(self.first[1], self.delimiter)[0]

    def records(self, names: list[str], audio: int, *, from_head: bool = False) -> Iterator[Record]:
        """The rows as cells by the names of the columns; empty rows are passed over.

        audio: index of the column of the audio path, which tells rows from the lines of a quoted cell. A quoted cell
        may have line breaks, but it does not contain rows: then its quotation mark was never closed, and the row where
        it opens is dropped ("open-quote").
        from_head: the first line is a row too.
        """
        waiting = deque([self.first] if from_head else [])
        while record := waiting.popleft() if waiting else next(self.lines, None):
            number, line = record
            cells, is_open = _split(line, self.delimiter)
            if is_open:
                closed = self._close_quote(line, waiting, len(names), audio)
                if closed is not None:
                    cells = closed
                elif self.delimiter not in _PLAIN_DELIMITERS:
                    detail = 'a quotation mark opens in this row and is not closed in it (close it, or write "" for ")'
                    yield number, BadUtterance("open-quote", detail)
                    continue
            if any(cells):
                yield number, self._name_cells(cells, names)

    def _close_quote(self, line: str, waiting: deque[tuple[int, str]], columns: int, audio: int) -> list[str] | None:
        """The cells of a row of several lines; None, with these lines still `waiting`, if its quote is not closed."""
        opening, unquoted = _split(line, self.delimiter)[0], line.split(self.delimiter)
        audio_follows = len(opening) <= audio
        if audio_follows and any(map(has_audio_ending, unquoted[audio:])):
            return None

        def is_row(cells: list[str]) -> bool:
            # a table whose audio paths have endings is known by them; another one by its number of columns
            return _has_audio(cells, audio) or (len(cells) == columns and not _has_audio(opening, audio))

        taken: list[tuple[int, str]] = []
        while len(taken) < _LONGEST_CELL_LINES:
            following = waiting.popleft() if waiting else next(self.lines, None)
            if following is None:
                break
            taken.append(following)
            line = f"{line}\n{following[1]}"
            cells, is_open = _split(line, self.delimiter)
            closes_row = audio_follows and not is_open and len(cells) == columns and _has_audio(cells, audio)
            if is_row(_split(following[1], self.delimiter)[0]) and not closes_row:
                break
            if not is_open:
                if (self.delimiter in _PLAIN_DELIMITERS and len(cells) != columns) or (
                    audio_follows and len(unquoted) == columns and not closes_row
                ):
                    break
                return cells
        waiting.extendleft(reversed(taken))
        return None

    def _name_cells(self, cells: list[str], names: list[str]) -> Cells | BadUtterance:
        while len(cells) > len(names) and not cells[-1]:
            cells = cells[:-1]
        if len(cells) == len(names):
            return dict(zip(names, cells, strict=True))
        needs_quotes = len(cells) > len(names) and self.delimiter not in _PLAIN_DELIMITERS
        fix = f" (a cell with a {self.delimiter!r} needs quotation marks around it)" if needs_quotes else ""
        return BadUtterance("wrong-columns", f"{len(cells)} columns, expected {len(names)}{fix}")


def _has_audio(cells: list[str], audio: int) -> bool:
    return audio < len(cells) and has_audio_ending(cells[audio])


def _split(line: str, delimiter: str) -> tuple[list[str], bool]:
    """The cells of a line, and whether a quotation mark is open at its end."""
    if delimiter in _PLAIN_DELIMITERS:
        # a quotation mark may belong to the text: only a cell that is quoted as a whole is unquoted
        cells = [cell.strip() for cell in line.split(delimiter)]
        is_open = cells[-1].startswith('"') and not _QUOTED.fullmatch(cells[-1]) and cells[-1].count('"') % 2 == 1
        return [_unquote(cell) for cell in cells], is_open
    ends = deque([False])

    def feed() -> Iterator[str]:
        yield line.replace("\r", " ")
        # the reader asks for another line only inside a quoted cell
        ends.append(True)

    try:
        cells = next(csv.reader(feed(), delimiter=delimiter, skipinitialspace=True), [])
    except csv.Error:
        # a cell beyond the limit of the csv module: no transcript is that long
        return [line], False
    return [cell.strip() for cell in cells], ends[-1]


def _unquote(cell: str) -> str:
    quoted = _QUOTED.fullmatch(cell)
    return quoted[1].replace('""', '"') if quoted else cell
