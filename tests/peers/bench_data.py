"""Benchmark of the `ds2 data` commands on a manifest of a million rows, beside lhotse on the same utterances.

Each run is a process of its own, started when the one before has ended. Prints a Markdown table:

    s, CPU s      elapsed and CPU time of the process, the start of Python and of the package included
    µs            CPU time per row
    peak          highest memory (MiB)

then the goals and whether they are met.

    make bench-data
    python tests/peers/bench_data.py [--rows 1000000] [--only REGEX] [--folder DIR] [--write FILE]

The rows are those of utils/big_manifest.py. lhotse's manifest is a SupervisionSet in JSON Lines with the same ids,
texts, speakers and durations; it is read lazily where the operation can be. It has no check of rows without their
recordings, no counts and no comparison of such a set.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
BIG_MANIFEST = ROOT / "utils" / "big_manifest.py"
MAX_S, MAX_MIB = 30, 500
"""The goals for a million rows; seconds of CPU time, which are those that pass on an idle machine."""

DS2 = {
    "validate --no-files": "validate m.jsonl --no-files",
    "sort": "sort shuffled.jsonl o.jsonl",
    "sort (is sorted)": "sort m.jsonl o.jsonl",
    "split --parts 8": "split m.jsonl id.JOB.jsonl --parts 8",
    "split --parts 8 --by duration": "split m.jsonl o.JOB.jsonl --parts 8 --by duration",
    "split --parts 8 --by speaker": "split m.jsonl o.JOB.jsonl --parts 8 --by speaker",
    "split --parts 8 --by text": "split m.jsonl o.JOB.jsonl --parts 8 --by text",
    "split --parts 1000": "split m.jsonl many/o.JOB.jsonl --parts 1000",
    "combine 8": f"combine {' '.join(f'o.{i}.jsonl' for i in range(1, 9))} o.jsonl",
    "stats": "stats m.jsonl",
    "subset --random 1000": "subset m.jsonl o.jsonl --random 1000",
    "subset --max-duration 10": "subset m.jsonl o.jsonl --max-duration 10",
    "overlap (another half)": "overlap o.1.jsonl o.2.jsonl",
    "overlap (all is common)": "overlap m.jsonl m.jsonl",
}
"""The arguments of `ds2 data` by what the table calls them."""

LHOTSE = {
    "lhotse: sort": "SupervisionSet.from_segments(sorted(read('shuffled'), key=lambda s: s.id)).to_file('o.l.jsonl')",
    "lhotse: split into 8": "read('m').split_lazy('lhotse-parts', chunk_size=-(-rows // 8))",
    "lhotse: combine 8": "write(combine(*[SupervisionSet.from_jsonl_lazy(p) for p in sorted(parts())]))",
    "lhotse: subset --max-duration 10": "write(read('m').filter(lambda s: s.duration <= 10))",
}
"""The same with lhotse."""

PRELUDE = """
import sys
from pathlib import Path
from lhotse import SupervisionSet, combine
rows = int(sys.argv[1])
def read(name): return SupervisionSet.from_jsonl_lazy(f'{name}.l.jsonl')
def parts(): return map(str, Path('lhotse-parts').iterdir())
def write(segments):
    with SupervisionSet.open_writer('o.l.jsonl') as out:
        for segment in segments: out.write(segment)
"""


class Run(NamedTuple):
    """One run: elapsed and CPU time (s), highest memory (MiB)."""

    elapsed: float
    cpu: float
    peak: float


def run(command: list[str], folder: Path) -> Run:
    """Run a program in a folder; RuntimeError if it fails, but status 1 is a result of `overlap`.

    The memory of the calling process counts as well until the program has begun, so this one must remain small.
    """
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    begin = time.perf_counter()
    with (folder / "log").open("w+b") as log:
        child = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=env, cwd=folder)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        elapsed = time.perf_counter() - begin
        log.seek(0)
        text = log.read().decode("utf-8", "replace")
    if child.returncode not in (0, 1) or (child.returncode and "overlap" not in command):
        raise RuntimeError(f"{' '.join(command)}: status {child.returncode}: {text[-500:]}")
    return Run(elapsed, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def make_manifests(folder: Path, rows: int, with_lhotse: bool) -> None:
    """Write the manifests that the commands read, each by a process of its own."""
    make = [sys.executable, str(BIG_MANIFEST)]
    run([*make, "m.jsonl", "--rows", str(rows)], folder)
    run([*make, "shuffled.jsonl", "--rows", str(rows), "--shuffle"], folder)
    (folder / "many").mkdir(exist_ok=True)
    for name in ("m", "shuffled") if with_lhotse else ():
        with (folder / f"{name}.jsonl").open() as source, (folder / f"{name}.l.jsonl").open("w") as out:
            for row in map(json.loads, source):
                fields = {name: row[name] for name in ("id", "duration", "text", "speaker")}
                out.write(json.dumps({**fields, "recording_id": row["id"], "start": 0.0, "channel": 0}) + "\n")


def describe_machine() -> str:
    """The processor and the versions."""
    name = "a processor"
    with contextlib.suppress(OSError):
        name = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())[0]
    versions = [f"{package} {metadata.version(package)}" for package in ("numpy", "numba")]
    with contextlib.suppress(metadata.PackageNotFoundError):
        versions.append(f"lhotse {metadata.version('lhotse')}")
    load = os.getloadavg()[0]
    return f"{name}, {os.cpu_count()} cores, Python {sys.version.split()[0]}, {', '.join(versions)}; load {load:.2f}"


def main() -> None:
    """Run everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--only", default="", help="run the operations that match this regular expression")
    parser.add_argument("--folder", help="folder for the manifests, kept [default: a temporary one]")
    parser.add_argument("--write", help="file whose lines from the name of the machine on are replaced by the output")
    options = parser.parse_args()
    has_lhotse = importlib.util.find_spec("lhotse") is not None
    lines = [f"    {describe_machine()} at the start", "", f"{options.rows} rows", ""]
    lines += ["<!-- results: command `make bench-data` -->"]
    lines += ["| operation | s | CPU s | µs | peak |", "|:--|--:|--:|--:|--:|"]
    goals = []
    print("\n".join(lines), flush=True)
    with contextlib.ExitStack() as stack:
        folder = Path(options.folder or stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-data-")))
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "shuffled.jsonl").is_file():
            make_manifests(folder, options.rows, has_lhotse)
        commands = {name: [sys.executable, "-m", "ds2cli", "data", *text.split()] for name, text in DS2.items()}
        # the first run of a kernel compiles it
        run([sys.executable, "-m", "ds2cli", "data", "stats", "m.jsonl"], folder)
        for name, code in LHOTSE.items() if has_lhotse else ():
            commands[name] = [sys.executable, "-c", f"{PRELUDE}\n{code}", str(options.rows)]
        for name, command in commands.items():
            if not re.search(options.only, name):
                continue
            found = run(command, folder)
            per_row = found.cpu / options.rows * 1e6
            row = f"| {name} | {found.elapsed:.1f} | {found.cpu:.1f} | {per_row:.1f} | {found.peak:.0f} |"
            lines.append(row)
            print(row, flush=True)
            if not name.startswith("lhotse"):
                limit = MAX_S * max(options.rows / 1e6, 1)
                met = found.cpu < limit and found.peak < MAX_MIB
                goals.append(
                    f"- {name}: {found.cpu:.1f} CPU s (goal {limit:.0f}), {found.peak:.0f} MiB (goal {MAX_MIB}): "
                    f"{'met' if met else 'not met'}"
                )
    print("\n".join(["", *goals]))
    if options.write:
        file = Path(options.write)
        text = file.read_text("utf-8") if file.is_file() else "# The data commands\n"
        kept = re.split(r"\n    .* cores, Python ", text)[0]
        file.write_text("\n".join([kept.rstrip(), "", *lines, "", *goals, ""]), "utf-8")


if __name__ == "__main__":
    main()
