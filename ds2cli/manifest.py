"""The one schema: rows as JSON Lines, an utterance a line, `id` unique and in code-point order (as LC_ALL=C sort).

A stage widens rows and keeps the fields it does not know. Arrays never travel inline: a row points at `path:byte` of a
Kaldi archive. A relative path means: relative to the folder of the manifest, also of one that the shell opens with < or
>; to the current folder in a pipe.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from ds2cli import io
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, DataError

Row = dict[str, Any]

PATHS = ("audio_filepath", "feats", "emission")
_LARGEST = sys.float_info.max


def _string(value: Any) -> bool:
    return isinstance(value, str)


def _name(value: Any) -> bool:
    return isinstance(value, str) and value != "" and not any(c.isspace() for c in value)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -_LARGEST <= value <= _LARGEST


def _seconds(value: Any) -> bool:
    return _number(value) and value >= 0


def _factor(value: Any) -> bool:
    return _number(value) and value > 0


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


_NAME = (_name, "a name without spaces")
_TEXT = (_string, "a string")
_SECONDS = (_seconds, "seconds >= 0")
_NUMBER = (_number, "a finite number")
_COUNT = (_count, "a whole number >= 0")
_OBJECTS = (_list, "a list of objects")

FIELDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "id": _NAME,
    "audio_filepath": _TEXT,
    "duration": _SECONDS,
    "text": _TEXT,
    "offset": _SECONDS,
    "speaker": _TEXT,
    "lang": _TEXT,
    "sample_rate": _COUNT,
    "split": _TEXT,
    "speed": (_factor, "a number > 0"),
    "feats": _TEXT,
    "num_frames": _COUNT,
    "emission": _TEXT,
    "num_steps": _COUNT,
    "step_s": _SECONDS,
    "words": _OBJECTS,
    "align_logprob": _NUMBER,
    "ctc_cost": _NUMBER,
    "pred_text": _TEXT,
    "pred_score": _NUMBER,
    "pred_words": _OBJECTS,
    "nbest": _OBJECTS,
    "hits": _COUNT,
    "subs": _COUNT,
    "ins": _COUNT,
    "dels": _COUNT,
    "errors": _OBJECTS,
}


def parse(line: str, needs: Iterable[str] = ("id",)) -> Row:
    """One line of a manifest as a row, its known fields checked; BadUtterance says what is wrong with it.

    A known field that is null is left out: for every stage it is one that is not there.
    """
    if "\r" in line:
        raise BadUtterance("carriage-return", "the line ends in CRLF, expected LF (fix: ds2 data fix)")
    if not line.isascii() and any("\udc80" <= c <= "\udcff" for c in line):
        raise BadUtterance("not-utf8", "the line is not UTF-8; Latin-1? (fix: iconv -f latin1 -t utf-8)")
    try:
        row = json.loads(line)
    except json.JSONDecodeError as e:
        raise BadUtterance("not-json", f"{e.msg} at column {e.colno}") from e
    except (ValueError, RecursionError) as e:
        raise BadUtterance("not-json", str(e)) from e
    if not isinstance(row, dict):
        raise BadUtterance("not-json", f"expected an object {{…}}, got {type(row).__name__}")
    for name in needs:
        if row.get(name) is None:
            raise BadUtterance("no-" + name.replace("_", "-"), f"the field {name!r} is missing")
    if "\\ud" in line.lower() and any("\ud800" <= c <= "\udfff" for c in json.dumps(row, ensure_ascii=False)):
        raise BadUtterance("not-utf8", "a string holds half a surrogate pair, expected Unicode text")
    empty = []
    for name, value in row.items():
        known = FIELDS.get(name)
        if known and value is None:
            empty.append(name)
        elif known and not known[0](value):
            raise BadUtterance("wrong-type", f"field {name!r} must be {known[1]}, got {json.dumps(value)[:60]}")
    for name in empty:
        del row[name]
    return row


def lines(path: str) -> Iterator[tuple[str, str]]:
    """Each line of a manifest behind its place, `path:line`."""
    name = "<stdin>" if path == "-" else path
    with io.open_in(path) as f:
        for number, line in enumerate(f, start=1):
            yield f"{name}:{number}", line


def read(path: str, needs: Iterable[str] = ("id",), ledger: Ledger | None = None) -> Iterator[Row]:
    """Yield the rows of a manifest, relative paths joined to its folder.

    With a ledger a bad row is dropped and counted; without one it raises DataError with `path:line`. Rows out of order
    always raise: the joins of later stages depend on it.
    """
    needs = tuple(needs)
    folder = folder_of(path)
    last = ""
    for where, line in lines(path):
        try:
            row = parse(line, needs)
            if "id" in row and row["id"] == last:
                raise BadUtterance("duplicate-id", f"id {last!r} appears more than once")
        except BadUtterance as e:
            if ledger is None:
                raise DataError(f"{where}: {e.detail}") from e
            ledger.drop(_id_of(line, where), e.reason, f"{where}: {e.detail}")
            continue
        if row["id"] < last:
            raise DataError(f"{where}: id {row['id']!r} comes after {last!r}, expected sorted ids (ds2 data sort)")
        last = row["id"]
        yield moved_to(row, folder)


def write(path: str, rows: Iterable[Row]) -> int:
    """Write rows, their relative paths made relative to the folder of `path`; return how many.

    DataError when ids are not unique and sorted: then nothing is left at `path`.
    """
    folder = folder_of("-" if path == "-" else os.path.abspath(path), sys.stdout)
    count, last = 0, ""
    with io.open_out(path) as f:
        for row in rows:
            if row["id"] <= last:
                raise DataError(f"{path}: id {row['id']!r} comes after {last!r}, expected unique sorted ids")
            last = row["id"]
            if folder:
                row = moved(row, lambda p: os.path.relpath(p, folder))
            f.write(dump(row))
            count += 1
    return count


def dump(row: Row) -> str:
    """One row as a line of JSON."""
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n"


def join(left: Iterable[Row], right: Iterable[Row]) -> Iterator[tuple[Row | None, Row | None]]:
    """Pair two sorted streams by id in one pass and constant memory; a missing side is None."""
    a, b = iter(left), iter(right)
    x, y = next(a, None), next(b, None)
    while x is not None or y is not None:
        if y is None or (x is not None and x["id"] < y["id"]):
            yield x, None
            x = next(a, None)
        elif x is None or y["id"] < x["id"]:
            yield None, y
            y = next(b, None)
        else:
            yield x, y
            x, y = next(a, None), next(b, None)


def folder_of(path: str, standard: TextIO | None = None) -> str:
    """The folder that a manifest's relative paths start in: the current one, "", for a pipe or device of any name.

    standard: the stream that - stands for [default: standard input]; one that the shell redirected is that file.
    """
    if path == "-":
        return os.path.dirname(io.redirected(standard or io.standard_in()))
    if path.startswith("/dev/") and Path(path).exists():
        return os.path.dirname(io.redirected(path))
    # Path.exists fails in a folder that must not be entered, and whoever opens the file says so
    stream = os.access(path, os.F_OK) and not Path(path).is_file()
    return "" if stream else os.path.dirname(path)


def moved_to(row: Row, folder: str) -> Row:
    """A row whose relative paths are seen from the current folder instead of from `folder`."""
    # relative also where the manifest was named by an absolute path, so that what is written from it can be moved
    return moved(row, lambda p: os.path.relpath(os.path.join(folder, p))) if folder else row


def moved(row: Row, move: Callable[[str], str]) -> Row:
    """A row with `move` applied to its relative paths."""
    changed = {n: move(row[n]) for n in PATHS if isinstance(row.get(n), str) and not os.path.isabs(row[n])}
    return {**row, **changed} if changed else row


def _id_of(line: str, where: str) -> str:
    try:
        row = json.loads(line.encode("utf-8", "replace").decode())
    except (ValueError, RecursionError):
        return where
    found = row.get("id") if isinstance(row, dict) else None
    return found if isinstance(found, str) and found else where
