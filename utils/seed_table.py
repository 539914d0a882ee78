#!/usr/bin/env python3
"""Print runs with several seeds as a Markdown table: utils/seed_table.py RUN… COLUMN…

RUN is a folder NAME.SEED, and the runs of one name are a group, below which stand their mean and range. COLUMN is
TITLE=FILE:PATTERN: what the group of the regular expression PATTERN matches in the last line of RUN/FILE where it does.
Numbers are averaged; other values are counted, such as `5 of 5 learned`. A run without figures, which may have failed,
keeps its row, and a mean of fewer numbers than there are runs says of how many.
"""

import re
import sys
from collections import Counter
from pathlib import Path
from statistics import mean

PATTERNS = {"WER": r"%WER (\S+)", "CER": r"%CER (\S+)", "loss": r'"loss": ([^,}]+)'}
"""Patterns that columns may name."""


NUMBER = re.compile(r"-?\d+(\.\d+)?")


def read_cell(run: Path, column: str) -> str:
    """The value of a column TITLE=FILE:PATTERN; "" without the file or a match."""
    file, _, pattern = column.partition("=")[2].partition(":")
    path = run / file
    found = re.findall(PATTERNS.get(pattern, pattern), path.read_text("utf-8"), re.MULTILINE) if path.is_file() else []
    return str(found[-1]) if found else ""


def summarize(values: list[str]) -> str:
    """`12.3 (11.9-12.7)` of numbers, `30.1 (29.8-30.4), 2 of 3 runs` if one is missing, `4 of 5 learned` of words."""
    numbers = [float(value) for value in values if NUMBER.fullmatch(value)]
    if numbers:
        digits = 1 if max(numbers) >= 1 else 3
        text = "{:.{d}f} ({:.{d}f}-{:.{d}f})".format(mean(numbers), min(numbers), max(numbers), d=digits)
        return text if len(numbers) == len(values) else f"{text}, {len(numbers)} of {len(values)} runs"
    if words := Counter(filter(None, values)).most_common(1):
        return f"{words[0][1]} of {len(values)} {words[0][0]}"
    return ""


def format_table(runs: list[Path], columns: list[str]) -> str:
    """The table; runs of a group in the order in which they are given."""
    titles = [column.partition("=")[0] for column in columns]
    lines = [["run, seed", *titles], [":--", *["--:"] * len(titles)]]
    groups: dict[str, list[list[str]]] = {}
    for run in runs:
        group, _, seed = run.name.rpartition(".")
        cells = [read_cell(run, column) for column in columns]
        groups.setdefault(group, []).append([f"{group}, {seed}", *cells])
    for group, rows in groups.items():
        spans = [summarize(list(column)) for column in list(zip(*rows, strict=True))[1:]]
        lines += [*rows, [f"**{group}, mean and range**", *spans]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    words = sys.argv[1:]
    if not any("=" in word for word in words) or all("=" in word for word in words):
        sys.exit(
            "usage: utils/seed_table.py RUN… TITLE=FILE:PATTERN… (PATTERN: WER, CER, loss, or a regular expression)"
        )
    given = [word for word in words if "=" not in word]
    sys.stdout.write(format_table(list(map(Path, given)), [w for w in words if "=" in w]) + "\n")
