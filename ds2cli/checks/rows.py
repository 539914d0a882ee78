"""Checks of the form of a row: JSON, fields and their types, the id, duration and offset."""

from __future__ import annotations

import json
from collections.abc import Sequence

from ds2cli.checks.faults import Finding
from ds2cli.errors import BadUtterance
from ds2cli.json_lines import parse_json
from ds2cli.manifest import FIELDS, Row

MEASURE = "(ds2 data fix --audio header measures it)"


def parse_line(line: str, needs: Sequence[str]) -> tuple[Row | None, list[Finding]]:
    """The row of a line without its malformed fields, and all that is wrong with it; None if it is no object."""
    found: list[Finding] = []
    infinite: Finding | None = None
    try:
        row = parse_json(line)
    except BadUtterance as e:
        if e.reason != "wrong-type":
            return None, [(e.reason, e.detail)]
        infinite = (e.reason, e.detail)
        try:
            row = parse_json(line, finite=False)
        except BadUtterance as other:
            return None, [infinite, (other.reason, other.detail)]
    malformed = None
    for name, value in row.items():
        known = FIELDS.get(name)
        if known is not None and (value is None or not known[0](value)):
            malformed = [name] if malformed is None else [*malformed, name]
    for name in malformed or ():
        value = row.pop(name)
        # null is the same as a missing field
        if value is not None:
            found.append(_explain(name, value))
    if infinite and not found:
        found.append(infinite)
    if row.get("duration") == 0:
        malformed = [*(malformed or ()), "duration"]
        del row["duration"]
        found.append(("bad-duration", f"the duration is 0 s, expected more {MEASURE}"))
    for name in needs:
        if name not in row and (malformed is None or not _is_reported(name, malformed, found)):
            found.append(("missing-field", f"the field {name!r} is missing"))
        elif name == "audio_filepath" and row.get(name) == "":
            found.append(("missing-field", "the field 'audio_filepath' is empty, expected the path of a recording"))
    return row, found


def _is_reported(name: str, malformed: Sequence[str], found: Sequence[Finding]) -> bool:
    """Whether one of the findings is on this field: null values are not."""
    return name in malformed and any(f"the {name} is" in detail or f"{name!r}" in detail for _, detail in found)


def _explain(name: str, value: object) -> Finding:
    shown, expected = json.dumps(value, ensure_ascii=False)[:60], FIELDS[name][1]
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if name == "duration" and is_number:
        return "bad-duration", f"the duration is {shown} s, expected {expected} {MEASURE}"
    if name == "offset" and is_number:
        return "bad-offset", f"the offset is {shown} s, expected {expected} (ds2 data fix sets it to 0)"
    if name == "id" and isinstance(value, str):
        return "bad-id", f"the id is {shown}, expected {expected} (ds2 data fix replaces them)"
    return "wrong-type", f"field {name!r} must be {expected}, got {shown}"
