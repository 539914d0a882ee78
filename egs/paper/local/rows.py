"""The rows of the paper's tables as training runs: reads conf/*.toml, and prints the runs that tables need.

usage: rows.py runs --table 1,3 --scale small --data asterisk --seeds '1 2 3' [--root exp] [--store data] …
       rows.py left …                           how many of them are not finished, and how long they take
       rows.py data --table 1,3 --scale small   the data sets that they are trained on, one per line
       rows.py parts --table 10 --scale small   the percentages of the training set that rows need

`runs` prints a line per run, words quoted for a shell: EXP FOLDER PART OPTIONS…, where OPTIONS are of `ds2 train`.
The name of a run has all that it differs in, so tables share runs.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONF = Path(__file__).parents[1] / "conf"
SCALES = "small", "full"
TABLES = "1", "2", "3", "4", "5", "6", "10", "11"


@dataclass(frozen=True)
class Run:
    """A network to train, apart from its seed: settings that differ from its preset, and the part of the data (%)."""

    net: str
    changes: tuple[tuple[str, str], ...] = ()
    part: int = 100

    @property
    def name(self) -> str:
        """The name of its folder, without the seed."""
        changes = (f"+{key.rpartition('.')[2]}={value.strip('[]')}" for key, value in self.changes)
        return self.net + "".join(changes) + (f"@{self.part}" if self.part < 100 else "")


@dataclass(frozen=True)
class Cell:
    """A value of a table: the run that it is measured on, the set of utterances, the search, and the paper's value."""

    run: Run
    set: str
    search: str
    paper: float


@dataclass(frozen=True)
class Comparison:
    """What the paper compares: pairs of cells, the first of which has the higher error rate if `title` is true.

    kind: `difference` of two cells (points of WER), `gain` in percent of the first, or `contrast` of the differences of
    the first two and the last two of four cells.
    """

    title: str
    kind: str
    pairs: list[list[str]]


@dataclass(frozen=True)
class Table:
    """A table of the paper. cells: by ROW/COLUMN; rows and columns: key to title; curve: rows are hours of data."""

    number: str
    title: str
    data: str
    rows: dict[str, str]
    columns: dict[str, str]
    cells: dict[str, Cell]
    comparisons: list[Comparison]
    curve: bool

    @property
    def runs(self) -> list[Run]:
        """Each run once."""
        return list(dict.fromkeys(cell.run for cell in self.cells.values()))


def read(path: Path | str) -> dict[str, Any]:
    """A TOML file; a name alone is one of conf."""
    with (path if isinstance(path, Path) else CONF / f"{path}.toml").open("rb") as f:
        return tomllib.load(f)


def toml_value(value: Any) -> str:
    """A setting as `--set` takes it."""
    return str(value).lower() if isinstance(value, bool) else str(value).replace(" ", "")


def read_table(number: str, scale: str) -> Table:
    """The table of conf/tableN.toml at a scale; ValueError if a comparison names a cell that is not in it."""
    found = read(f"table{number}")
    rows = [row for row in found["row"] if scale in row.get("scales", (scale,))]
    cells = {}
    for row in rows:
        nets = [row["net"]] * len(found["column"]) if isinstance(row["net"], str) else row["net"]
        for column, net, paper in zip(found["column"], nets, row["paper"], strict=True):
            changes = {**row.get("changes", {}), **column.get("changes", {})}
            run = Run(net, tuple((key, toml_value(value)) for key, value in changes.items()), row.get("part", 100))
            key = f"{row['key']}/{column['key']}"
            cells[key] = Cell(run, column.get("set", "dev"), column.get("search", "lm"), paper)
    comparisons = [Comparison(c["title"], c["kind"], [p.split() for p in c["pairs"]]) for c in found["comparison"]]
    for comparison in comparisons:
        for missing in {key for pair in comparison.pairs for key in pair} - set(cells):
            raise ValueError(f"conf/table{number}.toml: '{comparison.title}' compares {missing}, which is no cell")
    return Table(
        number,
        found["title"],
        found.get(scale, "asterisk" if scale == "small" else "librispeech"),
        {row["key"]: row["title"] for row in rows},
        {column["key"]: column["title"] for column in found["column"]},
        cells,
        comparisons,
        found.get("curve", False),
    )


def small_settings(net: dict[str, Any], bins: int) -> dict[str, Any]:
    """The settings of [model] at the small scale: layers as wide as `width` has it for that number of bins."""
    widths = net["width"]
    if str(bins) not in widths:
        raise ValueError(
            f"conf/networks.toml has widths for {', '.join(widths)} bins, the features of --data have {bins}"
        )
    width = widths[str(bins)]
    dense = {"channels": [width], "rnn_size": width, "fc_size": width}
    return {**net.get("full", {}), **dense, **net.get("small", {})}


def options(run: Run, scale: str, data: str, quick: str | None = None, nproc: int = 1) -> list[str]:
    """The options of `ds2 train` for a run, apart from its seed.

    quick: a file of settings that come last, to try the recipe out. ValueError if the data do not fit the network.
    """
    net, about = read("networks")[run.net], read("data")[data]
    model, changes = net.get("full", {}), dict(run.changes)
    if scale == "small":
        try:
            model = small_settings(net, about["bins"])
        except ValueError as e:
            raise ValueError(f"{run.net} on {data}: {e}") from e
        changes = {"units.kind": "char", "epochs": str(round(about["epochs"] * 100 / run.part)), **changes}
    if nproc > 1:
        changes["nproc"] = str(nproc)
    given = [(f"model.{key}", toml_value(value)) for key, value in model.items()] + list(changes.items())
    words = ["--config", net["preset"], "--config", f"conf/{scale}.toml"]
    return words + [word for name, value in given + settings(quick) for word in ("--set", f"{name}={value}")]


def settings(path: str | None) -> list[tuple[str, str]]:
    """The settings in a TOML file as `--set` takes them; none for None."""
    found = read(Path(path)) if path else {}
    tables = {f"{name}.{key}": v for name, t in found.items() if isinstance(t, dict) for key, v in t.items()}
    plain = {name: value for name, value in found.items() if not isinstance(value, dict)}
    return [(name, toml_value(value)) for name, value in {**plain, **tables}.items()]


@dataclass(frozen=True)
class Job:
    """A run with a seed: its folder, that of the data, and the options of `ds2 train`."""

    exp: str
    folder: str
    run: Run
    options: list[str]

    @property
    def line(self) -> str:
        """A line that train_run.sh reads."""
        return shlex.join([self.exp, self.folder, str(self.run.part), *self.options])


def jobs(tables: list[Table], args: argparse.Namespace) -> list[Job]:
    """The runs of the tables, each once; those of one seed come together, so that whole tables are there early."""
    found = {}
    for seed in args.seeds.split():
        for table in tables:
            for data in args.data.split() or [table.data]:
                for run in table.runs:
                    exp = f"{args.root}/{args.scale}/{data}/{run.name}.{seed}"
                    words = options(run, args.scale, data, args.quick, args.nproc)
                    found[exp] = Job(exp, f"{args.store}/{data}", run, [*words, "--seed", seed])
    return list(found.values())


def measured_minutes(job: Job) -> float | None:
    """Minutes of training of another seed that is finished; None if there is none."""
    folder, _, _ = job.exp.rpartition(".")
    for done in Path(folder).parent.glob(f"{Path(folder).name}.*/done"):
        rows = (done.parent / "train.jsonl").read_text("utf-8").splitlines()
        return sum(float(json.loads(row)["seconds"]) for row in rows) / 60
    return None


def describe_left(found: list[Job], scale: str, at_a_time: int) -> str:
    """How many runs are not finished; at the small scale how long they take."""
    left = [job for job in found if not (Path(job.exp) / "done").is_file()]
    text = f"{len(left)} of {len(found)} runs are to be trained"
    if scale == "full":
        return text
    networks = read("networks")
    minutes = sum(measured_minutes(job) or networks[job.run.net]["minutes"] for job in left)
    text += f": about {minutes:.0f} minutes of one core"
    return text + (f", {minutes / at_a_time:.0f} on {at_a_time}" if at_a_time > 1 else "")


def check_data(names: list[str], scale: str) -> None:
    """ValueError for a data set that is not in conf/data.toml, or that is of the other scale."""
    fitting = [name for name, about in read("data").items() if about.get("scale", "small") == scale]
    for name in names:
        if name not in fitting:
            raise ValueError(f"--data: expected {', '.join(fitting)} with --scale {scale}, got '{name}'")


def numbers(text: str) -> list[str]:
    """The tables of `1,3`, `1 3` or `all`; ValueError for another."""
    asked = list(TABLES) if text == "all" else text.replace(",", " ").split()
    for number in asked:
        if number not in TABLES:
            raise ValueError(f"--table: expected {', '.join(TABLES)} or all, got '{number}'")
    return asked


def run(args: argparse.Namespace) -> str:
    """What a command prints; ValueError for options that make no sense."""
    if args.scale not in SCALES:
        raise ValueError(f"--scale: expected {' or '.join(SCALES)}, got '{args.scale}'")
    for seed in args.seeds.split():
        if not seed.isdecimal():
            raise ValueError(f"--seeds: expected whole numbers, got '{seed}'")
    tables = [read_table(number, args.scale) for number in numbers(args.table)]
    check_data(args.data.split(), args.scale)
    if args.what == "data":
        return "\n".join(args.data.split() or sorted({table.data for table in tables}))
    if args.what == "parts":
        return " ".join(
            str(part) for part in sorted({run.part for table in tables if table.curve for run in table.runs})
        )
    if args.what == "left":
        return describe_left(jobs(tables, args), args.scale, args.jobs)
    return "\n".join(job.line for job in jobs(tables, args))


def main() -> None:
    """Run a command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["runs", "left", "data", "parts"])
    parser.add_argument("--table", required=True)
    parser.add_argument("--scale", default="small")
    parser.add_argument("--data", default="")
    parser.add_argument("--seeds", default="1 2 3")
    parser.add_argument("--root", default="exp")
    parser.add_argument("--store", default="data")
    parser.add_argument("--quick")
    parser.add_argument("--nproc", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1)
    try:
        sys.stdout.write(run(parser.parse_args()) + "\n")
    except ValueError as e:
        sys.stderr.write(f"egs/paper/run.sh: {e}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
