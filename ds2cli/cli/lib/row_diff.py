"""What `ds2 data fix` changes in a manifest, as a unified diff of rows, and the backup of what it replaces."""

from __future__ import annotations

import difflib
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence

from ds2cli import manifest
from ds2cli.atomic import replacing
from ds2cli.errors import BadUtterance
from ds2cli.manifest import Row, format_row
from ds2cli.stages.data_repair import read_lines

_ID = re.compile(r'"id": ?"((?:[^"\\]|\\.)*)"')


def read_for_diff(path: str) -> list[str]:
    """The rows of a manifest as `format_row` writes them, and lines that are no rows as they are, without line ends.

    White space and the form of a file, such as a JSON list, are therefore no differences.
    """
    folder = manifest.base_folder(path)
    lines = []
    for _, line in read_lines(path):
        try:
            lines.append(format_row(manifest.rebase_paths(manifest.parse(line, ()), folder)).rstrip("\n"))
        except BadUtterance:
            lines.append(line.rstrip("\n"))
    return lines


def note_lines(rows: Iterable[Row], lines: list[str]) -> Iterator[Row]:
    """Pass rows through and keep them as lines of a diff."""
    for row in rows:
        lines.append(format_row(row).rstrip("\n"))
        yield row


def diff_rows(old: Sequence[str], new: Sequence[str], old_name: str, new_name: str) -> Iterator[str]:
    """The lines of a unified diff without context, in which each changed row is followed by what it becomes."""
    is_first = True
    for tag, i, end, j, stop in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "equal":
            continue
        if is_first:
            yield from (f"--- {old_name}", f"+++ {new_name}")
            is_first = False
        yield f"@@ -{_range(i, end)} +{_range(j, stop)} @@"
        place = {name: k for k in range(j, stop) if (name := _id_of(new[k]))}
        for line in old[i:end]:
            yield f"-{line}"
            after = place.get(_id_of(line), -1) + 1
            if after > j:
                yield from (f"+{line}" for line in new[j:after])
                j = after
        yield from (f"+{line}" for line in new[j:stop])


def _range(begin: int, end: int) -> str:
    """Lines as a unified diff writes them: the first, and the number unless it is 1; of none, the line before."""
    number = end - begin
    return f"{begin + (number > 0)}" + ("" if number == 1 else f",{number}")


def _id_of(line: str) -> str:
    match = _ID.search(line)
    return match[1] if match else ""


def write_backup(path: str) -> str:
    """Copy a file to PATH.backup, or to PATH.backup.1 and so on if that exists; return the name of the copy."""
    name, number = f"{path}.backup", 0
    while os.path.lexists(name):
        number += 1
        name = f"{path}.backup.{number}"
    with replacing(name) as copy:
        shutil.copyfile(path, copy)
    return name
