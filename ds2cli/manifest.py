"""Manifests: JSON Lines, one utterance per line, `id` unique and in code-point order (as LC_ALL=C sort).

A stage adds fields to rows and keeps the fields it does not use. Arrays are not stored inline: a row refers to
`path:byte` in a Kaldi archive. Relative paths are relative to the folder of the manifest, also if the shell opens it
with < or >; in a pipe, to the current folder.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TextIO

from ds2cli import io
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, DataError
from ds2cli.json_lines import explain_document, parse_json, starts_document

Row = dict[str, Any]

PATH_FIELDS = ("audio_filepath", "feats", "emission")
"""Fields that hold a path, with or without a byte offset."""

_NEEDS_NORMALIZING = re.compile(r"(^|/)(\.{0,2}/|\.{0,2}$)")
"""Paths with an empty part, . or .. that `os.path.relpath` would shorten."""

_NOT_IN_ID = re.compile(r"[\s\x00-\x1f\x7f]")
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_MAX_FLOAT = sys.float_info.max
MAX_SECONDS = 1e9
"""No recording lasts thirty years; numbers of samples beyond that do not fit their types."""


def _is_string(value: Any) -> bool:
    return isinstance(value, str)


def is_id(value: Any) -> bool:
    """Whether a value can be an id: a string that is not empty, without spaces and control characters."""
    return isinstance(value, str) and value != "" and not _NOT_IN_ID.search(value)


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and "\0" not in value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -_MAX_FLOAT <= value <= _MAX_FLOAT


def _is_seconds(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= MAX_SECONDS


def _is_factor(value: Any) -> bool:
    return _is_number(value) and value > 0


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_object_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


_NAME = (is_id, "a name without spaces and control characters")
_TEXT = (_is_string, "a string")
_PATH = (_is_path, "a path without NUL characters")
_SECONDS = (_is_seconds, f"seconds from 0 to {MAX_SECONDS:g}")
_NUMBER = (_is_number, "a finite number")
_COUNT = (_is_count, "a whole number >= 0")
_OBJECTS = (_is_object_list, "a list of objects")

FIELDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "id": _NAME,
    "audio_filepath": _PATH,
    "duration": _SECONDS,
    "text": _TEXT,
    "offset": _SECONDS,
    "channel": _COUNT,
    "speaker": _TEXT,
    "lang": _TEXT,
    "sample_rate": _COUNT,
    "split": _TEXT,
    "speed": (_is_factor, "a number > 0"),
    "feats": _PATH,
    "num_frames": _COUNT,
    "emission": _PATH,
    "num_steps": _COUNT,
    "step_s": _SECONDS,
    "words": _OBJECTS,
    "chars": _OBJECTS,
    "gaps": _OBJECTS,
    "recording": _NAME,
    "align_logprob": _NUMBER,
    "ctc_cost": _NUMBER,
    "filter_score": _NUMBER,
    "pred_text": _TEXT,
    "pred_score": _NUMBER,
    "pred_words": _OBJECTS,
    "pred_conf": _NUMBER,
    "nbest": _OBJECTS,
    "segments": _OBJECTS,
    "hits": _COUNT,
    "subs": _COUNT,
    "ins": _COUNT,
    "dels": _COUNT,
    "errors": _OBJECTS,
}


def parse(line: str, needs: Iterable[str] = ("id",)) -> Row:
    """Parse one line of a manifest and check the types of its known fields.

    needs: fields that must be present. A known field that is null counts as missing and is removed.
    BadUtterance "not-utf8", "not-json", "no-FIELD", "wrong-type".
    """
    row = parse_json(line)
    for name in needs:
        if row.get(name) is None:
            raise BadUtterance("no-" + name.replace("_", "-"), f"the field {name!r} is missing")
    nulls = []
    for name, value in row.items():
        known = FIELDS.get(name)
        if known and value is None:
            nulls.append(name)
        elif known and not known[0](value):
            raise BadUtterance("wrong-type", f"field {name!r} must be {known[1]}, got {json.dumps(value)[:60]}")
    for name in nulls:
        del row[name]
    return row


def read_lines(path: str) -> Iterator[tuple[str, str]]:
    """Each line of a manifest that is not empty, after its location `path:line`; DataError if it is a JSON list."""
    name, is_first = "<stdin>" if path == "-" else path, True
    for number, line in io.read_lines(path):
        if line.strip():
            if is_first and starts_document(line):
                raise DataError(f"{name}:{number}: {explain_document(path)}")
            is_first = False
            yield f"{name}:{number}", line


def read(path: str, needs: Iterable[str] = ("id",), ledger: Ledger | None = None) -> Iterator[Row]:
    """Yield the rows of a manifest, relative paths joined to its folder.

    needs: fields that every row must have.
    ledger: records bad rows, which are dropped; without it a bad row is a DataError with `path:line`. Unsorted ids are
    always a DataError: later stages join manifests in one pass and depend on the order.
    """
    reader = Reader(path, needs, ledger)
    for location, line in read_lines(path):
        if (row := reader.read(location, line)) is not None:
            yield row


class Reader:
    """Reads the lines of a manifest in order. last: the id of the last row that was not bad."""

    def __init__(self, path: str, needs: Iterable[str] = ("id",), ledger: Ledger | None = None) -> None:
        self.last = ""
        self._needs, self._ledger, self._folder = tuple(needs), ledger, base_folder(path)

    def read(self, location: str, line: str) -> Row | None:
        """The row of a line, as `read` yields it; None if it is bad."""
        try:
            row = parse(line, self._needs)
            if "id" in row and row["id"] == self.last:
                raise BadUtterance("duplicate-id", f"id {self.last!r} appears more than once")
        except BadUtterance as e:
            if self._ledger is None:
                raise DataError(f"{location}: {e.detail}") from e
            self._ledger.drop(id_of(line, location), e.reason, f"{location}: {e.detail}")
            return None
        if row["id"] < self.last:
            after = f"{location}: id {row['id']!r} comes after {self.last!r}"
            raise DataError(f"{after}, expected sorted ids (ds2 data sort)")
        self.last = row["id"]
        return rebase_paths(row, self._folder)


def write(path: str, rows: Iterable[Row]) -> int:
    """Write rows, relative paths made relative to the folder of `path`; return the number of rows.

    DataError if ids are not unique and sorted; then `path` is not written.
    """
    folder, count, last = output_folder(path), 0, ""
    with io.open_out(path) as f:
        for row in rows:
            if row["id"] <= last:
                raise DataError(f"{path}: id {row['id']!r} comes after {last!r}, expected unique sorted ids")
            last = row["id"]
            if folder:
                row = map_paths(row, lambda p: path_from(folder, p))
            f.write(format_row(row))
            count += 1
    return count


def format_row(row: Row) -> str:
    """One row as a line of JSON, with its newline."""
    return _ENCODER.encode(row) + "\n"


def join(left: Iterable[Row], right: Iterable[Row]) -> Iterator[tuple[Row | None, Row | None]]:
    """Join two sorted streams by id (full outer join) in one pass and constant memory; a missing side is None."""
    yield from ((x, y) for x, y in join_all([left, right]))


def join_all(streams: Sequence[Iterable[Row]]) -> Iterator[list[Row | None]]:
    """Join K sorted streams by id, like `join`: the rows of each id, in the order of the streams."""
    iterators = [iter(stream) for stream in streams]
    heads = [next(rows, None) for rows in iterators]
    while rest := [row["id"] for row in heads if row is not None]:
        first = min(rest)
        found = [row if row is not None and row["id"] == first else None for row in heads]
        yield found
        heads = [
            head if row is None else next(rows, None) for head, row, rows in zip(heads, found, iterators, strict=True)
        ]


def base_folder(path: str, standard: TextIO | None = None) -> str:
    """The folder that relative paths in a manifest start from; "", the current one, for a pipe or a device.

    standard: the stream that `-` names [default: standard input]. If the shell redirected it, the folder is that of the
    file.
    """
    if path == "-":
        return os.path.dirname(io.redirect_target(standard or io.standard_input()))
    if path.startswith("/dev/") and Path(path).exists():
        return os.path.dirname(io.redirect_target(path))
    # those of Path raise for some names; opening the file reports the error
    stream = os.path.exists(path) and not os.path.isfile(path)  # noqa: PTH110
    return "" if stream else os.path.dirname(path)


def output_folder(path: str) -> str:
    """The folder that relative paths start from in a manifest to write, as `base_folder`."""
    return base_folder("-" if path == "-" else os.path.abspath(path), sys.stdout)


def rebase_paths(row: Row, folder: str) -> Row:
    """A row whose relative paths start from the current folder instead of from `folder`."""
    # relative even if the manifest was given by an absolute path, so that files written from these rows can be moved
    return map_paths(row, lambda p: rebase_path(folder, p)) if folder else row


def rebase_path(folder: str, path: str) -> str:
    """A relative path that starts from the current folder instead of from `folder`."""
    # os.path.relpath takes a tenth of the time of reading a row; of plain paths only the folder has to be changed
    if _NEEDS_NORMALIZING.search(path):
        return os.path.relpath(os.path.join(folder, path))
    base = _relative_folder(folder, os.getcwd())  # noqa: PTH109
    return path if base == "." else f"{base}/{path}"


def path_from(folder: str, path: str) -> str:
    """What `os.path.relpath(path, folder)` returns; the folders, of which there are few, are looked up."""
    parent, _, name = path.rpartition("/")
    base, child = _relative_parent(folder, parent, os.getcwd())  # noqa: PTH109
    if name in ("", ".", "..", child):
        return os.path.relpath(path, folder)
    return name if base == "." else f"{base}/{name}"


@lru_cache(4096)
def _relative_parent(folder: str, parent: str, _current: str) -> tuple[str, str]:
    """The path of `parent` from `folder`, and the name in it that leads to `folder`, or ""."""
    base, target = os.path.abspath(parent or "."), os.path.abspath(folder)
    inside = target.removeprefix(base.rstrip("/") + "/")
    return os.path.relpath(base, target), "" if inside == target else inside.partition("/")[0]


@lru_cache(16)
def _relative_folder(folder: str, _current: str) -> str:
    return os.path.relpath(folder)


def map_paths(row: Row, change: Callable[[str], str]) -> Row:
    """A row with `change` applied to its relative paths; an empty one stays empty."""
    changed = {n: change(p) for n in PATH_FIELDS if isinstance(p := row.get(n), str) and p and p[0] != "/"}
    return {**row, **changed} if changed else row


def id_of(line: str, location: str) -> str:
    """The id in a bad line, to name it in the ledger; its location if there is none."""
    try:
        row = json.loads(line.encode("utf-8", "replace").decode())
    except (ValueError, RecursionError):
        return location
    name = row.get("id") if isinstance(row, dict) else None
    return name if isinstance(name, str) and name else location
