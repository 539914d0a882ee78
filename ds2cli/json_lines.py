"""JSON as people and other programs write it: one object per line, or one document; errors in words of the user."""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Iterator
from typing import Any

from ds2cli.encoding import explain_undecodable
from ds2cli.errors import BadUtterance

_JSON_TYPES = {
    list: "a list",
    str: "a string",
    int: "a number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
}

_JSON_ERRORS = {
    "Expecting value": "expected a value",
    "Extra data": "expected the end of the line, one object per line,",
    "Expecting property name enclosed in double quotes": "expected a name in double quotes",
    "Illegal trailing comma before end of object": "expected no comma before the }",
    "Illegal trailing comma before end of array": "expected no comma before the ]",
    "Expecting ':' delimiter": "expected a colon",
    "Expecting ',' delimiter": "expected a comma",
    "Unterminated string starting at": "expected a closing quotation mark for the string that starts",
    "Invalid control character at": "expected \\t or \\n for a tab or a line break",
    "Invalid \\escape": "expected \\\\ for a backslash",
}
"""Messages of Python's json module in words of the user."""

_PYTHON = {
    "'": " (strings are in double quotes in JSON)",
    "None": " (null in JSON)",
    "True": " (true in JSON)",
    "False": " (false in JSON)",
}
"""What Python writes where JSON has something else, and the fix."""

_DOCUMENT = re.compile(r"\s*(\[\s*(\{.*|\])?|\{)\s*")
_SPACE = re.compile(r"\s*")


class _NotJsonError(ValueError):
    """What Python's json module reads, and no other program."""


class _NotFiniteError(_NotJsonError):
    """A number that JSON does not have, such as NaN, which pandas writes for a missing value, or 1e999."""


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        raise _NotJsonError(f"the field {next(n for n in names if names.count(n) > 1)!r} appears twice")
    return row


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _NotFiniteError(text)
    return value


_DECODER = json.JSONDecoder()
_FINITE = json.JSONDecoder(parse_float=_finite, parse_constant=_finite)
_STRICT = json.JSONDecoder(parse_float=_finite, parse_constant=_finite, object_pairs_hook=_unique_names)
_UNIQUE = json.JSONDecoder(object_pairs_hook=_unique_names)
_SPACED_COLON = re.compile(r'"\s+:')


def parse_json(line: str, *, finite: bool = True) -> dict[str, Any]:
    """Parse one line of JSON Lines, which must be an object, with finite numbers unless `finite` is false.

    BadUtterance "not-json", "not-utf8", "wrong-type".
    """
    if error := explain_undecodable(line):
        raise BadUtterance("not-utf8", error)
    if not line.strip():
        raise BadUtterance("not-json", "the line is empty: delete it")
    try:
        row = _decode(line.rstrip("\n"), finite)
    except (ValueError, RecursionError) as e:
        raise BadUtterance("not-json", f"not JSON: {explain_json_error(e)}") from e
    if "\\ud" in line.lower() and (error := explain_undecodable(json.dumps(row, ensure_ascii=False))):
        raise BadUtterance("not-utf8", error)
    return check_object(row)


def _decode(text: str, finite: bool) -> Any:
    """The JSON value of a text; ValueError or RecursionError if it is none, BadUtterance for infinite numbers."""
    try:
        # calling Python for the names would double the time; each is followed by `":`, and one that appears twice makes
        # one field less
        if text.count("{") == 1 and not _SPACED_COLON.search(text):
            row = _FINITE.decode(text)
            if isinstance(row, dict) and text.count('":') == len(row):
                return row
        return _STRICT.decode(text)
    except _NotFiniteError:
        row = check_object(_UNIQUE.decode(text))
    if not finite:
        return row
    name, shown = next((name, shown) for name, value in row.items() if (shown := _show_not_finite(value)))
    detail = f"field {name!r} must be finite, got {shown[:60]} (null if it is unknown)"
    raise BadUtterance("wrong-type", detail)


def _show_not_finite(value: Any) -> str:
    """The value as JSON if it has a number that is not finite, else ""."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return json.dumps(value)
    return ""


def starts_document(line: str) -> bool:
    """Whether a file with this first line is one JSON document over several lines, or a list of objects in one.

    >>> [starts_document(line) for line in ("[", '[{"id": "a"},', "{", "[noise] yes", '{"id": "a"}')]
    [True, True, True, False, False]
    """
    return bool(_DOCUMENT.fullmatch(line))


def explain_document(path: str) -> str:
    """The error of a file that `starts_document`, where one object per line is expected, and the command that helps."""
    stem = path.removesuffix(".gz").removesuffix(".jsonl").removesuffix(".json")
    out = "OUT" if path == "-" else shlex.quote(f"{stem}.rows.jsonl")
    return (
        "a list, or an object over several lines, expected one object per line "
        f"(ds2 data fix {shlex.quote(path)} {out} writes it so)"
    )


def is_object(line: str) -> bool:
    """Whether a line is a complete JSON object."""
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def parse_document(text: str) -> Iterator[tuple[int, Any]]:
    """The objects of a file that is one JSON document over several lines, each after the number of its line.

    The document is a list of objects, an object of objects by id (as SpeechBrain writes it; the id becomes the field
    `id`), or objects one after another (as jq prints them). ValueError or RecursionError if it is not JSON.
    """
    pos, line = _skip_space(text, 0), 1
    in_list = text.startswith("[", pos)
    if in_list:
        pos = _skip_space(text, pos + 1)
    counted = 0
    while pos < len(text) and not (in_list and text.startswith("]", pos)):
        value, end = _DECODER.raw_decode(text, pos)
        line, counted = line + text.count("\n", counted, pos), pos
        if isinstance(value, dict) and value and all(isinstance(row, dict) for row in value.values()):
            yield from ((line, {"id": name, **row}) for name, row in value.items())
        else:
            yield line, value
        pos = _skip_space(text, end)
        if in_list and text.startswith(",", pos):
            pos = _skip_space(text, pos + 1)
        elif in_list and not text.startswith("]", pos):
            raise json.JSONDecodeError("Expecting ',' delimiter", text, pos)
    after = _skip_space(text, pos + 1)
    if in_list and (pos >= len(text) or after < len(text)):
        raise json.JSONDecodeError("Extra data" if after < len(text) else "Expecting ']'", text, min(after, len(text)))


def check_object(row: Any) -> dict[str, Any]:
    """The row, if it is an object; BadUtterance "not-json" otherwise."""
    if not isinstance(row, dict):
        raise BadUtterance("not-json", f"expected an object {{…}}, got {_JSON_TYPES[type(row)]}")
    return row


def explain_json_error(error: ValueError | RecursionError) -> str:
    """What is wrong with a line that json.loads refused with `error`, and at which column, for the person who wrote it.

    >>> explain_json_error(json.JSONDecodeError("Expecting value", "{'id': 'a'}", 1))
    'expected a value at column 2, found "\\'id\\': \\'a\\'}" (strings are in double quotes in JSON)'
    """
    if isinstance(error, RecursionError):
        return "its lists or objects are too deeply nested"
    if isinstance(error, _NotJsonError):
        return str(error)
    if not isinstance(error, json.JSONDecodeError):
        return "a number has too many digits"
    text = error.doc.rstrip()
    if error.pos >= len(text):
        return f"the line is incomplete, it ends at column {len(text) - text.rfind(chr(10)) - 1}"
    found = text[error.pos : error.pos + 20].partition("\n")[0]
    expected = _JSON_ERRORS.get(error.msg, _lower_first(error.msg).removesuffix(" at"))
    if found[:1] in ("}", "]") and text[: error.pos].rstrip().endswith(","):
        expected = f"expected no comma before the {found[0]}"
    python = next((fix for start, fix in _PYTHON.items() if found.startswith(start)), "")
    return f"{expected} at column {error.colno}{f', found {found!r}' if found else ''}{python}"


def _skip_space(text: str, pos: int) -> int:
    match = _SPACE.match(text, pos)
    return match.end() if match else pos


def _lower_first(message: str) -> str:
    return message[:1].lower() + message[1:]
