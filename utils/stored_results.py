"""Experiments stored in egs/CORPUS/results, and the commands in its tables.toml that compute figures from them.

Commands run in build/results/CORPUS, those of `prepare` first. {exp}: the stored experiment, whose PART.jsonl has the
emissions and texts of a part; {out}: an empty folder; {egs}: egs/CORPUS; {work}: build/results/CORPUS; {shared}: the
recordings of the tests (DS2_TEST_DATA, ../shared/data); and the variables of the column and of the row. A cell is not
computed if its row lacks a variable.
"""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from result_tables import Table, plain

from ds2cli import manifest
from ds2cli.config.base import read_toml
from ds2cli.errors import UsageError

ROOT = Path(__file__).resolve().parents[1]
"""Whose ds2 the commands run."""

FILES = ("tokens.txt", "pieces.model", "decode.toml", "config.toml")
"""Of an experiment: its symbols, its tuned weights, and the record of its settings, seed and command."""

FIELDS = ("id", "duration", "emission", "num_steps", "step_s")
"""Of the rows that are stored: no texts, which come from the corpus."""

VARIABLE = re.compile(r"(?<!\$)\{([a-z_]+)\}")
"""In a command; ${…} is the shell's."""


class Printed(str):
    """A figure as a command printed it; a format such as {:.1f} rounds it."""

    def __format__(self, spec: str) -> str:
        return format(float(self), spec) if spec else str(self)


@dataclass
class Cell:
    """A cell to be computed: by what `find` finds in the output of a command, or as the mean of other rows."""

    table: Table
    line: int
    column: int
    stored: str = ""
    command: str = ""
    find: str = ""
    form: str = "{}"
    mean_of: str = ""

    @property
    def written(self) -> str:
        """What is in the file."""
        return self.table.cells[self.line][self.column]

    @property
    def row(self) -> str:
        """The first cell of its row."""
        return plain(self.table.cells[self.line][0])

    @property
    def title(self) -> str:
        """The title of its column."""
        return plain(self.table.header[self.column])

    def find_in(self, output: str) -> str:
        """The text of the cell, from the output of its command."""
        if not (match := re.search(self.find, output, re.M)):
            raise UsageError(f"{self.table.file}:{self.line}: {self.find!r} is not in the output of: {self.command}")
        return self.form.format(*map(Printed, match.groups()))


class Corpus:
    """The stored experiments of egs/CORPUS, and the commands that use them."""

    def __init__(self, root: Path, name: str) -> None:
        self.stored, self.work = root / "egs" / name / "results", root / "build" / "results" / name
        self.config = read_toml(str(self.stored / "tables.toml"))
        shared = os.environ.get("DS2_TEST_DATA", str(root.parent / "shared" / "data"))
        self.names = {"egs": str(root / "egs" / name), "work": str(self.work), "shared": shared}
        self.env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        self.env["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

    def fill(self, text: str, variables: dict[str, str] | None = None) -> str:
        """A command with the values of its variables."""
        known = {**self.names, **(variables or {})}
        return VARIABLE.sub(lambda match: known[match[1]], text)

    def texts(self) -> dict[str, Path]:
        """The manifest with the texts of each part."""
        return {part: self.work / self.fill(path) for part, path in self.config["texts"].items()}

    def missing(self) -> str:
        """A file that cannot be made here and is missing, or nothing."""
        needed = [self.fill(path) for path in self.config.get("needs", [])]
        return next((path for path in needed if not Path(path).exists()), "")

    def plan(self, table: Table) -> list[Cell]:
        """The cells that can be computed; UsageError for names that are missing in the table or in tables.toml."""
        assert table.marker is not None
        columns = self.config.get("columns", {}).get(table.marker.columns)
        if columns is None:
            raise UsageError(f"{table}: no [columns.{table.marker.columns}] in {self.stored / 'tables.toml'}")
        places = {name: table.find_column(name) for name in columns}
        cells = []
        for row, origin in table.marker.rows.items():
            line, unused = table.find_row(row), set(origin.variables)
            if origin.stored and not (self.stored / origin.stored).is_dir():
                raise UsageError(f"{table}: no stored {origin.stored} (utils/results.py store EXP {origin.stored})")
            for name, about in columns.items():
                command = self.config["commands"][about["command"]]
                variables = {**{key: str(value) for key, value in about.items()}, **origin.variables}
                used = set(VARIABLE.findall(command)) - {*self.names, "exp", "out"}
                unused -= used
                cell = Cell(table, line, places[name], origin.stored, find=about["find"], form=about.get("cell", "{}"))
                if origin.mean_of:
                    cell.mean_of = origin.mean_of
                elif used <= variables.keys():
                    cell.command = self.fill(command, {**variables, "exp": origin.stored, "out": "{out}"})
                else:
                    continue
                cells.append(cell)
            if unused:
                raise UsageError(f"{table}: row {row!r}: no command uses {', '.join(sorted(unused))}")
        return cells

    def prepare(self, names: set[str]) -> None:
        """Make what the commands need: texts, language model, and the stored experiments with texts."""
        self.work.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self.work / "out", ignore_errors=True)
        for command in self.config.get("prepare", []):
            self.run(self.fill(command))
        for name in sorted(names):
            shutil.rmtree(self.work / name, ignore_errors=True)
            (self.work / name).mkdir()
            for file in FILES:
                if (self.stored / name / file).exists():
                    shutil.copy(self.stored / name / file, self.work / name)
            for part, texts in self.texts().items():
                if (self.stored / name / f"{part}.jsonl").exists():
                    rows = join_texts(self.stored / name / f"{part}.jsonl", texts)
                    manifest.write(str(self.work / name / f"{part}.jsonl"), rows)

    def run(self, command: str) -> str:
        """The standard output of a command in the work folder; UsageError if it fails."""
        words = ["bash", "-c", f"set -euo pipefail; {command}"]
        done = subprocess.run(words, cwd=self.work, env=self.env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise UsageError(f"in {self.work}: {command}: exit status {done.returncode}: {done.stderr.strip()[-500:]}")
        return done.stdout

    def run_all(self, commands: list[str], nj: int) -> dict[str, str]:
        """The outputs of commands, `nj` at a time."""
        outs = [self.work / "out" / str(number) for number in range(len(commands))]
        for out in outs:
            out.mkdir(parents=True)
        with ThreadPoolExecutor(nj) as pool:
            filled = [command.replace("{out}", str(out)) for command, out in zip(commands, outs, strict=True)]
            return dict(zip(commands, pool.map(self.run, filled), strict=True))


def join_texts(stored: Path, texts: Path) -> list[manifest.Row]:
    """The stored rows with their texts, speakers and languages. UsageError if a text is missing."""
    rows = []
    for emitted, row in manifest.join(manifest.read(str(stored)), manifest.read(str(texts), ("id", "text"))):
        if emitted and not row:
            raise UsageError(f"{stored}: {emitted['id']} is not in {texts} (were the parts made in another way?)")
        if emitted and row:
            rows.append({**{key: row[key] for key in ("text", "speaker", "lang") if key in row}, **emitted})
    return rows


def find_strays(stored: Path, used: set[str]) -> list[Path]:
    """What is in a folder of stored experiments and belongs to none that is used."""
    parts = re.compile(r"\w+\.(ark|jsonl)")
    strays = [path for path in stored.glob("*") if path.name not in {*used, "tables.toml"}]
    inside = [path for name in used - {""} for path in (stored / name).glob("*")]
    return sorted(strays + [path for path in inside if path.name not in FILES and not parts.fullmatch(path.name)])


def store(root: Path, exp: Path, name: str, compress: bool = False) -> Path:
    """Copy the emissions of an experiment, and what it takes to decode them; returns the folder.

    compress: Kaldi's format of two bytes per element. That changes confidences in the third decimal, and could change
    a text: compare with `recompute`.
    """
    egs = next((path.parent for path in exp.resolve().parents if path.name == "exp"), Path())
    if egs.parent != root / "egs" or not (egs / "results" / "tables.toml").exists():
        raise UsageError(f"{exp}: expected egs/CORPUS/exp/NAME, of a corpus with results/tables.toml")
    out, parts = egs / "results" / name, list(Corpus(root, egs.name).config["texts"])
    if missing := [f"{part}.emit.jsonl" for part in parts if not (exp / f"{part}.emit.jsonl").exists()]:
        raise UsageError(f"{exp}: no {missing[0]} (ds2 emit)")
    out.mkdir(exist_ok=True)
    for file in FILES:
        if (exp / file).exists():
            shutil.copy(exp / file, out)
    for part in parts:
        emitted = manifest.read(str(exp / f"{part}.emit.jsonl"), ("id", "emission"))
        rows = [{key: row[key] for key in FIELDS if key in row} for row in emitted]
        write_emissions(os.path.relpath(out / f"{part}.ark"), rows, compress)
        manifest.write(str(out / f"{part}.jsonl"), rows)
    return out


def write_emissions(path: str, rows: list[manifest.Row], compress: bool) -> None:
    """Write the emissions of rows to an archive, and change the rows to point there."""
    import numpy as np

    from ds2cli.archive import ArkWriter, read_matrix

    if not compress:
        with ArkWriter(path) as ark:
            for row in rows:
                row["emission"] = ark.write(row["id"], read_matrix(row["emission"], row["id"]))
        return
    with Path(path).open("wb") as f:
        for row in rows:
            matrix = read_matrix(row["emission"], row["id"])
            low, span = matrix.min(), max(np.ptp(matrix), np.float32(1e-6))
            f.write(row["id"].encode() + b" ")
            row["emission"] = f"{path}:{f.tell()}"
            f.write(b"\0BCM2 " + struct.pack("<ffii", low, span, *matrix.shape))
            f.write(np.rint((matrix - low) * (65535 / span)).astype("<u2").tobytes())
