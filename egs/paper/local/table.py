"""Print tables of the paper beside the runs on disk, in Markdown, and say which comparisons point the same way.

usage: table.py --table 1,3 --scale small --data asterisk --seeds '1 2 3' [--root exp] [--store data]

Of table 10 it also writes ROOT/SCALE/DATA/CURVE.regular.jsonl and CURVE.noisy.jsonl, rows {"hours", "wer", "seed",
"set"}, which `ds2 plan --extrapolate` fits.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from intervals import (
    MISSING,
    SAME,
    Interval,
    describe,
    difference,
    fall_per_tenfold,
    gains,
    interval,
    verdict,
)
from rows import SCALES, Cell, Comparison, Table, numbers, read_table

Values = Mapping[str, float]
"""WER by seed."""

Point = dict[str, Any]
"""A row of CURVE.*.jsonl."""

RATE = re.compile(r"^%WER ([0-9.]+|inf|nan)", re.MULTILINE)


def read_rate(path: Path) -> float | None:
    """The WER in a file that `ds2 score` printed; None without the file."""
    if not path.is_file():
        return None
    found = RATE.search(path.read_text("utf-8"))
    if not found:
        raise ValueError(f"{path}: expected a line '%WER …' (remove it and run the recipe again)")
    return float(found[1])


def read_values(cell: Cell, folder: Path, seeds: list[str]) -> dict[str, float]:
    """WER by seed of the runs that are there."""
    name = f"{cell.set}.{cell.search}.wer"
    rates = {seed: read_rate(folder / f"{cell.run.name}.{seed}" / name) for seed in seeds}
    return {seed: rate for seed, rate in rates.items() if rate is not None}


def paired(first: Values, second: Values) -> tuple[list[float], list[float]]:
    """The values of the seeds that both have."""
    seeds = [seed for seed in first if seed in second]
    return [first[seed] for seed in seeds], [second[seed] for seed in seeds]


def compare(kind: str, cells: list[Cell], values: list[Values]) -> tuple[float, Interval | None]:
    """The paper's value of a pair, and ours with its interval; None if a cell has no runs."""
    paper = cells[0].paper - cells[1].paper
    if kind == "gain":
        paper = 100 * paper / cells[0].paper
    elif kind == "contrast":
        paper -= cells[2].paper - cells[3].paper
    if not all(values):
        return paper, None
    lists = [list(value.values()) for value in values]
    if kind == "difference":
        return paper, difference(lists[0], lists[1])
    if kind == "contrast":
        falls = [[a - b for a, b in zip(*paired(*pair), strict=True)] for pair in (values[:2], values[2:])]
        return paper, difference(falls[0], falls[1]) if all(falls) else None
    if cells[0].run == cells[1].run:
        falls_in_percent = gains(*paired(values[0], values[1]))
        return paper, interval(falls_in_percent) if falls_in_percent else None
    found, scale = difference(lists[0], lists[1]), 100 * len(lists[0]) / (sum(lists[0]) or 1)
    return paper, Interval(found.mean * scale, found.low * scale, found.high * scale)


def value_rows(table: Table, values: Mapping[str, Values]) -> Iterator[str]:
    """The table with the paper's values and ours side by side."""
    yield "| | " + " | ".join(f"{title}: paper | ours" for title in table.columns.values()) + " |"
    yield "|:--|" + "--:|--:|" * len(table.columns)
    for row, title in table.rows.items():
        pairs = []
        for column in table.columns:
            key = f"{row}/{column}"
            pairs.append(f"{table.cells[key].paper:.2f} | {describe(list(values[key].values()))}")
        yield f"| {title} | " + " | ".join(pairs) + " |"


def cell_title(table: Table, key: str) -> str:
    """ROW, COLUMN in words."""
    row, column = key.split("/")
    return f"{table.rows[row]}, {table.columns[column]}"


def describe_limits(found: Interval) -> str:
    """`+1.2 to +3.4`, or that there are too few runs for an interval."""
    return f"{found.low:+.1f} to {found.high:+.1f}" if math.isfinite(found.low) else "one run"


def comparison_rows(table: Table, comparison: Comparison, values: Mapping[str, Values]) -> Iterator[str]:
    """A line per pair, and before them one that counts."""
    unit = " %" if comparison.kind == "gain" else ""
    lines, verdicts, signs, same_signs = [], [], [], 0
    for pair in comparison.pairs:
        cells = [table.cells[key] for key in pair]
        paper, ours = compare(comparison.kind, cells, [values[key] for key in pair])
        verdicts.append(verdict(ours, paper))
        signs.append(paper > 0)
        same_signs += ours is not None and (ours.mean > 0) == (paper > 0)
        titles = " − ".join(cell_title(table, key) for key in pair[:2])
        if len(pair) == 4:
            titles = f"({titles}) − (" + " − ".join(cell_title(table, key) for key in pair[2:]) + ")"
        found = "- | -" if ours is None else f"{ours.mean:+.1f}{unit} | {describe_limits(ours)}"
        lines.append(f"| {titles} | {paper:+.2f}{unit} | {found} | {verdicts[-1]} |")
    there = sum(found != MISSING for found in verdicts)
    shown, total = verdicts.count(SAME), len(verdicts)
    yield (
        f"| **{comparison.title}**: {sum(signs)} of {total} in the paper; here {same_signs} of {there} point the same "
        f"way, {shown} beyond the interval | paper | ours | 95 % | |"
    )
    yield from lines


def curve_points(table: Table, values: Mapping[str, Values], store: Path) -> list[Point]:
    """A row per run and set of a table about hours of data, which parts.sh has counted."""
    rows = []
    for key, cell in table.cells.items():
        for seed, wer in values[key].items():
            hours = float((store / f"train.{cell.run.part}.hours").read_text("utf-8"))
            rows.append({"hours": hours, "wer": wer, "seed": int(seed), "set": key.split("/")[1]})
    return rows


def describe_curve(table: Table, points: list[Point]) -> Iterator[str]:
    """The fall per ten times the hours, of each set: ours (least squares of each seed) and the paper's."""
    for column, title in table.columns.items():
        falls = []
        by_seed: dict[int, list[tuple[float, float]]] = {}
        for point in points:
            if point["set"] == column and point["wer"] > 0:
                by_seed.setdefault(point["seed"], []).append((point["hours"], point["wer"]))
        for pairs in by_seed.values():
            if len({hours for hours, _ in pairs}) > 1:
                falls.append(fall_per_tenfold(pairs))
        cells = [(c.run.part, c.paper) for key, c in table.cells.items() if key.endswith(f"/{column}")]
        paper = fall_per_tenfold([(part, wer) for part, wer in cells if part >= 10])
        yield f"- {title}: ten times the hours lower the WER by {describe(falls)} % (paper, 10 to 100 %: {paper:.1f} %)"


def describe_table(table: Table, scale: str, data: str, seeds: list[str], root: Path, store: Path) -> Iterator[str]:
    """The lines of a table, with its comparisons; writes the points of its curve to files, if it has one."""
    folder = root / scale / data
    values = {key: read_values(cell, folder, seeds) for key, cell in table.cells.items()}
    count = max((len(value) for value in values.values()), default=0)
    yield f"### {table.title}\n"
    yield f"Data: {data}, scale: {scale}, {count} seeds. Ours: mean (range; ± half of the 95 % t-interval).\n"
    yield from value_rows(table, values)
    yield "\n| comparison (first − second) | paper | ours | 95 % interval | direction |\n|:--|--:|--:|:--|:--|"
    for comparison in table.comparisons:
        yield from comparison_rows(table, comparison, values)
    yield ""
    if table.curve and any(values.values()):
        points = curve_points(table, values, store / data)
        for column in table.columns:
            lines = [json.dumps(point) + "\n" for point in points if point["set"] == column]
            (folder / f"CURVE.{column}.jsonl").write_text("".join(lines), "utf-8")
        yield from describe_curve(table, points)
        yield ""


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", required=True)
    parser.add_argument("--scale", default="small", choices=SCALES)
    parser.add_argument("--data", default="")
    parser.add_argument("--seeds", default="1 2 3")
    parser.add_argument("--root", type=Path, default=Path("exp"))
    parser.add_argument("--store", type=Path, default=Path("data"))
    args = parser.parse_args()
    seeds = args.seeds.split()
    try:
        for table in (read_table(number, args.scale) for number in numbers(args.table)):
            for data in args.data.split() or [table.data]:
                for line in describe_table(table, args.scale, data, seeds, args.root, args.store):
                    sys.stdout.write(line + "\n")
    except ValueError as e:
        sys.stderr.write(f"egs/paper/run.sh: {e}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
