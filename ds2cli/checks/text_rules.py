"""Which rules have written the texts of a manifest: by its record, or by those of what it was made from."""

from __future__ import annotations

from ds2cli.provenance import PIPE, read_inputs, read_record
from ds2cli.text.rule_sets import LETTERS

WRITERS = ("prepare", "data fix", "lm")
"""The stages that write texts."""

MOST_STAGES = 20
"""Stages whose records are followed, in case one is its own input."""


def find_text_rules(out: str) -> str:
    """The --text-rules of the last stage that wrote the texts of an output; "" if no record names any."""
    for _ in range(MOST_STAGES):
        record = read_record(out)
        if record is None:
            return ""
        if record.get("stage") in WRITERS:
            # an older version had one set of rules
            return str(record["settings"].get("text_rules", LETTERS.name))
        out = next((path for role, path, _ in read_inputs(out, record) if role in ("IN", "IN 1")), PIPE)
    return ""


def explain_other_rules(path: str, name: str) -> str:
    """What to do about a manifest whose texts another --text-rules has written; "" if `name` has."""
    found = find_text_rules(path)
    if found in ("", name):
        return ""
    return f"{path}: its texts were written with --text-rules {found}, and are read with {name} (--text-rules {found})"
