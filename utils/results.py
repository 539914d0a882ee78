#!/usr/bin/env python3
"""Compute the figures of RESULTS files again from stored emissions, and compare them with what is written.

    utils/results.py check                    every table names its origin (utils/result_tables.py), which exists
    utils/results.py recompute [--write]      also run the commands of `stored` tables, and compare (or replace) figures
    utils/results.py store EXP NAME           copy the emissions of an experiment to egs/CORPUS/results/NAME

The commands are in egs/CORPUS/results/tables.toml (utils/stored_results.py). Exit status 1: a figure
differs, or an origin is wrong; 2: it could not be computed.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import statistics
import sys
from pathlib import Path
from typing import Any

from result_tables import FORMS, Table, find_files, plain, read_tables
from stored_results import Cell, Corpus, find_strays, store

from ds2cli import ui
from ds2cli.cores import count_cores
from ds2cli.errors import Ds2Error, UsageError

ROOT = Path(__file__).resolve().parents[1]


def check(root: Path, files: list[Path]) -> tuple[list[Table], list[str]]:
    """The tables of RESULTS files whose origin is right, and what is wrong with the others.

    A table names no origin, or one that does not exist; or something is stored that no table uses.
    """
    tables = [table for file in files for table in read_tables(file)]
    good, faults = [], []
    for table in tables:
        if not table.marker:
            faults.append(f"{table}: it is not said where this table comes from ({FORMS})")
            continue
        missing = [command for command in table.marker.commands if not exists(root, table.file, command)]
        found = [f"{table}: no such command: {command}" for command in missing]
        if table.marker.kind == "stored":
            try:
                Corpus(root, table.file.parent.name).plan(table)
            except Ds2Error as e:
                found.append(str(e))
        good += [table] * (not found)
        faults += found
    for folder in sorted({file.parent for file in files}):
        markers = [table.marker for table in tables if table.marker and table.file.parent == folder]
        strays = find_strays(folder / "results", {row.stored for marker in markers for row in marker.rows.values()})
        faults += [f"{stray}: no table uses it (delete it, or name it before a table)" for stray in strays]
    return good, faults


def exists(root: Path, file: Path, command: str) -> bool:
    """Whether there is a make target, a command of ds2, or a script that a command line starts."""
    words = [word for word in shlex.split(command) if not re.match(r"[A-Z_]+=", word)]
    if words[:1] == ["make"]:
        return bool(re.search(rf"^{re.escape(words[-1])}:", (root / "Makefile").read_text("utf-8"), re.M))
    if words[:1] == ["ds2"]:
        import typer

        from ds2cli.cli.main import app

        found: Any = typer.main.get_command(app)
        for word in words[1:]:
            if hasattr(found, "commands"):
                found = found.commands.get(word)
        return len(words) > 1 and found is not None
    scripts = [word for word in words if word.endswith((".py", ".sh"))]
    return bool(scripts) and any((folder / scripts[0]).is_file() for folder in (root, file.parent))


def compute(cells: list[Cell], outputs: dict[str, str]) -> list[tuple[Cell, str]]:
    """The cells with their texts, means last: of the columns that are computed for all of their rows.

    UsageError for a mean of rows of which one is not computed at all, or of none.
    """
    done = [(cell, cell.find_in(outputs[cell.command])) for cell in cells if cell.command]
    known = {(id(cell.table), cell.line, cell.column): text for cell, text in done}
    computed = {(id(cell.table), cell.line) for cell, _ in done}
    for cell in cells:
        if cell.mean_of:
            names = {line: plain(row[0]) for line, row in cell.table.cells.items() if line != cell.line}
            lines = [line for line, name in names.items() if name.startswith(cell.mean_of)]
            missing = [names[line] for line in lines if (id(cell.table), line) not in computed]
            if missing or not lines:
                what = f"of {missing[0]}, which is not computed" if missing else "of no row"
                raise UsageError(f"{os.path.relpath(cell.table.file)}:{cell.line}: this is the mean {what}")
            texts = [known.get((id(cell.table), line, cell.column)) for line in lines]
            if None not in texts:
                rates = [float(text) for text in texts if text is not None]
                done.append((cell, f"{statistics.mean(rates):.1f} ({min(rates):.1f}-{max(rates):.1f})"))
    return done


def recompute(root: Path, files: list[Path], write: bool = False, nj: int = 1) -> int:
    """Compute what `stored` tables have again; returns the number of faults, and of the figures that differ.

    write: replace these figures, so that they are no fault.
    """
    checked, faults = check(root, files)
    tables = [table for table in checked if table.marker and table.marker.kind == "stored"]
    done: list[tuple[Cell, str]] = []
    for name in sorted({table.file.parent.name for table in tables}):
        corpus = Corpus(root, name)
        cells = [cell for table in tables if table.file.parent.name == name for cell in corpus.plan(table)]
        if missing := corpus.missing():
            ui.warn(f"egs/{name}: {len(cells)} figures not recomputed: there is no {missing}")
            continue
        corpus.prepare({cell.stored for cell in cells if cell.stored})
        commands = list(dict.fromkeys(cell.command for cell in cells if cell.command))
        ui.log(f"results: egs/{name}: {len(commands)} commands")
        done += compute(cells, corpus.run_all(commands, nj))
    differ = [(cell, text) for cell, text in done if plain(cell.written) != text]
    for cell, text in differ:
        command = "; ".join(cell.command.split("\n"))
        by = f"by: {command}" if command else f"as the mean of the rows {cell.mean_of}…"
        place = f"{cell.table.file.relative_to(root)}:{cell.line}: {cell.row}: {cell.title}"
        ui.echo(f"{place}: written {plain(cell.written) or 'nothing'}, computed {text} {by}")
    if write:
        replace(differ)
    count, end = len({id(cell.table) for cell, _ in done}), "replaced" if write else "differ"
    for fault in faults:
        ui.echo(fault)
    ui.echo(f"results: {len(done)} figures of {count} tables recomputed, {len(differ)} {end}")
    return len(faults) if write else len(differ) + len(faults)


def replace(cells: list[tuple[Cell, str]]) -> None:
    """Write these texts into their cells; bold type stays."""
    for cell, text in cells:
        row = cell.table.cells[cell.line]
        row[cell.column] = f"**{text}**" if cell.written.startswith("**") else text
    for file in {cell.table.file for cell, _ in cells}:
        lines = file.read_text("utf-8").split("\n")
        for cell, _ in cells:
            if cell.table.file == file:
                lines[cell.line - 1] = f"| {' | '.join(cell.table.cells[cell.line])} |".replace("  ", " ")
        file.write_text("\n".join(lines), "utf-8")


def main() -> int:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=lambda path: Path(path).resolve(), default=ROOT, help="the checkout")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check")
    again = commands.add_parser("recompute")
    again.add_argument("--write", action="store_true", help="replace figures that differ")
    again.add_argument("--nj", type=int, default=count_cores(), help="commands at a time")
    copy = commands.add_parser("store")
    copy.add_argument("exp", type=Path)
    copy.add_argument("name")
    copy.add_argument("--compress", action="store_true", help="two bytes per element in place of four")
    options = parser.parse_args()
    try:
        if options.command == "store":
            ui.log(f"results: stored in {store(options.root, options.exp, options.name, options.compress)}")
            return 0
        files = find_files(options.root)
        if options.command == "check":
            tables, faults = check(options.root, files)
            for fault in faults:
                ui.echo(fault)
            ui.echo(f"results: {len(tables)} tables of {len(files)} files name their origin, {len(faults)} faults")
            return int(bool(faults))
        return int(recompute(options.root, files, options.write, options.nj) > 0)
    except (Ds2Error, OSError) as e:
        sys.stderr.write(f"results: {e}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("results: interrupted\n")
        return 130


if __name__ == "__main__":
    sys.exit(main())
