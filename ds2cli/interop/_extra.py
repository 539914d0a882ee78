"""What a format has no field for, so that a round trip loses nothing.

An export knows the row that an import will derive from its files. The difference to the row that it was given is kept:

    add        fields that the format does not have
    instead    fields that come back with another value, as [value of the format, value of the row], or as
               [value of the format] if the row does not have the field

A value of the format that another program has changed since is not replaced: its change counts.
"""

from __future__ import annotations

import os
from typing import Any

from ds2cli.manifest import PATH_FIELDS, Row

Extra = dict[str, Any]


def difference(row: Row, derived: Row) -> Extra:
    """What `restore` needs to make `row` of `derived`; {} if they are equal. Paths to one file are equal."""
    add = {name: value for name, value in row.items() if name not in derived}
    instead: dict[str, list[Any]] = {}
    for name, value in derived.items():
        if name not in row:
            instead[name] = [value]
        elif not _is_equal(row[name], value) and not (name in PATH_FIELDS and same_path(row[name], value)):
            instead[name] = [value, row[name]]
    extra: Extra = {}
    if add:
        extra["add"] = add
    if instead:
        extra["instead"] = instead
    return extra


def restore(derived: Row, extra: Extra) -> Row:
    """The row that was exported. Parts of `extra` that are not as `difference` writes them are ignored."""
    row, add, instead = dict(derived), extra.get("add"), extra.get("instead")
    for name, values in instead.items() if isinstance(instead, dict) else ():
        if isinstance(values, list) and values and name in derived and _is_equal(derived[name], values[0]):
            if len(values) > 1:
                row[name] = values[1]
            else:
                del row[name]
    if isinstance(add, dict):
        row.update({name: value for name, value in add.items() if name not in derived})
    return row


def same_path(first: str, second: str) -> bool:
    """Whether two paths, or references `path:byte`, name one file by their text."""
    return first == second or os.path.abspath(first) == os.path.abspath(second)


def _is_equal(first: Any, second: Any) -> bool:
    # 1, 1.0 and True are equal in Python, and different in a manifest
    return bool(first == second) and type(first) is type(second)
