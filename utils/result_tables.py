"""The tables of RESULTS files, and the comments before them that name where their figures come from.

    <!-- results: command `make bench-ctc` -->       made by this command, which is not run here
    <!-- results: history: the recipe of version 0.1 -->     made by nothing that is still there
    <!-- results: description -->                    no figures that a command makes
    <!-- results: stored rates
    2 | quiet = en.seed0                             a row, named by its first cells, and its stored experiment
    seed 0, test = en.seed0 part=test scale=0.2      with variables of its commands
    all seeds = mean of seed                         mean and range of the rows whose names begin with "seed"
    -->

`rates` is a table of columns and their commands in results/tables.toml beside the file. A table between the comments
`<!-- make gpu: … -->` and `<!-- end -->` is written by that command.
"""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

from ds2cli.errors import UsageError

PATTERNS = ("egs/*/RESULTS*.md", "native/**/RESULTS*.md", "tests/**/RESULTS*.md", "ds2cli/**/RESULTS*.md")
MARKER = re.compile(r"<!-- results: (?P<kind>command|history|stored|description)\b:?\s*(?P<rest>.*?)\s*-->", re.S)
DELIMITER = re.compile(r"\|(\s*:?-+:?\s*\|)+")
GENERATED, GENERATED_END = re.compile(r"<!-- (make [\w-]+): .*-->"), "<!-- end -->"
FORMS = "expected <!-- results: stored COLUMNS …, command `…`, history: … or description --> before it"


@dataclass(frozen=True)
class Origin:
    """Where the figures of a row come from. mean_of: beginning of the names of the rows whose mean it has, or ""."""

    stored: str = ""
    variables: dict[str, str] = field(default_factory=dict)
    mean_of: str = ""


@dataclass(frozen=True)
class Marker:
    """The comment before a table. kind: stored, command, history or description.

    columns: the name of the columns of a stored one. rows: the origin of its rows, by their first cells.
    """

    kind: str
    commands: tuple[str, ...] = ()
    columns: str = ""
    rows: dict[str, Origin] = field(default_factory=dict)


@dataclass
class Table:
    """A table. line: that of its header, from 1; cells: of each row, by its line. marker: None if there is none."""

    file: Path
    line: int
    header: list[str]
    cells: dict[int, list[str]]
    marker: Marker | None

    def __str__(self) -> str:
        return f"{os.path.relpath(self.file)}:{self.line}"

    def find_row(self, name: str) -> int:
        """The line of the row whose first cells have this name; UsageError unless there is one."""
        size = name.count("|") + 1
        found = [line for line, cells in self.cells.items() if " | ".join(map(plain, cells[:size])) == name]
        if len(found) != 1:
            raise UsageError(f"{self}: {len(found)} rows begin with {name!r}, expected one")
        return found[0]

    def find_column(self, name: str) -> int:
        """The index of the column of this name, what is in parentheses left out; UsageError unless there is one."""
        titles = [plain(re.sub(r"\s*\(.*\)", "", cell)) for cell in self.header]
        found = [i for i, title in enumerate(titles) if name in (title, plain(self.header[i]))]
        if len(found) != 1:
            raise UsageError(f"{self}: {len(found)} columns are named {name!r}, expected one")
        return found[0]


def plain(cell: str) -> str:
    """The text of a cell, without bold type and code."""
    return cell.replace("**", "").replace("`", "").strip()


def split_row(line: str) -> list[str]:
    """The cells of a line of a table."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().removeprefix("|").removesuffix("|"))]


def find_files(root: Path) -> list[Path]:
    """All RESULTS files of a checkout."""
    return sorted({file for pattern in PATTERNS for file in root.glob(pattern)})


def read_tables(file: Path) -> list[Table]:
    """The tables of a file; UsageError for a comment that is none of the forms."""
    lines = [*file.read_text("utf-8").split("\n"), ""]
    tables: list[Table] = []
    generated: Marker | None = None
    is_code, number = False, 0
    while number < len(lines):
        line = lines[number]
        if line.startswith("```"):
            is_code = not is_code
        elif match := GENERATED.match(line):
            generated = Marker("command", (match[1],))
        elif line == GENERATED_END:
            generated = None
        elif not is_code and line.startswith("|") and DELIMITER.fullmatch(lines[number + 1].strip()):
            table = Table(file, number + 1, split_row(line), {}, generated or _read_marker(file, lines, number))
            number += 2
            while lines[number].startswith("|"):
                table.cells[number + 1] = split_row(lines[number])
                number += 1
            tables.append(table)
            continue
        number += 1
    return tables


def _read_marker(file: Path, lines: list[str], header: int) -> Marker | None:
    end = header - 1
    while end >= 0 and not lines[end].strip():
        end -= 1
    begin = end
    while begin > 0 and lines[end].endswith("-->") and not lines[begin].startswith("<!--"):
        begin -= 1
    comment = "\n".join(lines[begin : end + 1])
    if not comment.startswith("<!-- results:"):
        return None
    place = f"{os.path.relpath(file)}:{begin + 1}"
    if not (match := MARKER.fullmatch(comment)):
        raise UsageError(f"{place}: not a comment of a table: {comment[:60]!r} ({FORMS})")
    kind, rest = match["kind"], match["rest"]
    if kind == "command":
        commands = tuple(re.findall(r"`([^`]+)`", rest))
        if not commands:
            raise UsageError(f"{place}: no `command` in it")
        return Marker(kind, commands)
    if kind in ("history", "description"):
        if kind == "history" and not rest:
            raise UsageError(f"{place}: say of which version (<!-- results: history: the recipe of version 0.1 -->)")
        return Marker(kind)
    columns, *rows = rest.split("\n")
    origins: dict[str, Origin] = {}
    for row in rows:
        name, equals, origin = row.partition(" = ")
        if not equals or not columns or name.strip() in origins:
            raise UsageError(f"{place}: {row!r}: expected COLUMNS, and each ROW = EXPERIMENT [VARIABLE=VALUE …] once")
        origins[name.strip()] = _read_origin(place, origin)
    return Marker(kind, columns=columns, rows=origins)


def _read_origin(place: str, text: str) -> Origin:
    if text.startswith("mean of "):
        return Origin(mean_of=text.removeprefix("mean of ").strip())
    stored, *words = shlex.split(text)
    if wrong := [word for word in words if "=" not in word]:
        raise UsageError(f"{place}: {wrong[0]!r}: expected VARIABLE=VALUE")
    return Origin(stored, dict(word.split("=", 1) for word in words))
