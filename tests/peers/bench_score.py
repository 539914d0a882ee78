"""Benchmark of our scorer against jiwer, rapidfuzz, kaldialign and sclite.

All scorers get the same texts, made from real sentences with 15 % random word errors, and one thread. Each run is a
process of its own; the scorers take turns, round by round. Prints a Markdown table:

    s, best       CPU time: median and minimum over the rounds. Of a library: of the calls that split the texts and
                  count; of a program: of the whole process
    ratio         time relative to jiwer: median over the rounds
    peak, added   highest memory (MiB), and what scoring added to the packages and texts
    counts        of words; jiwer, rapidfuzz and kaldialign may choose another of several alignments with equal costs

then the goals and whether they are met.

    make bench-score
    python tests/peers/bench_score.py [--utts 50000] [--rounds 5] [--only REGEX] [--streaming 1000000] [--text FILE]

The text is a file with a sentence per line, by default that of the folder DS2_PEERS (../shared/peers); without it
nothing runs. Peers run in this Python, ours in that of --python. --streaming also scores a manifest of that many
utterances, and one of a tenth, to show that memory is bounded.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PEERS = Path(os.environ.get("DS2_PEERS", ROOT.parent / "shared" / "peers"))
ROWS = Path(__file__).with_name("score_rows.py")
BASE, COMMAND = "jiwer", "ds2 score IN OUT"
MAX_RATIO, MAX_MIB = 1 / 3, 300

WER_LINE = re.compile(r"%WER \S+ \[ (\d+) / (\d+), (\d+) ins, (\d+) del, (\d+) sub \]")
SUM_LINE = re.compile(r"\| *Sum *\|" + r"\s*(\d+)\s+(\d+)\s*\|" + r"\s*(\d+)" * 5)


class Run(NamedTuple):
    """One run: CPU time (s), highest memory and that before scoring (MiB), errors, and hits, subs, ins, dels."""

    seconds: float
    peak: float
    before: float | None
    errors: int
    counts: list[int] | None


Runner = Callable[[], Run]


def run_library(python: str, folder: Path, name: str) -> Run:
    """Run a scorer of score_rows.py."""
    done = subprocess.run([python, ROWS, "measure", folder, name], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr.strip().splitlines()[-1]}")
    return Run(**json.loads(done.stdout))


def run_program(command: list[str], output: Path) -> tuple[float, float, str]:
    """Run a program: CPU time (s) and highest memory (MiB) of its process, and its output.

    The memory of the calling process counts as well until the program has begun, so this one must remain small.
    """
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with output.open("w+b") as out:
        child = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=env)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        text = out.read().decode("utf-8", "replace")
    if child.returncode:
        raise RuntimeError(f"{command[0]} ended with {child.returncode}: {text.strip()[-200:]}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, text


def run_command(python: str, folder: Path, rows: str = "rows") -> Run:
    """Run `ds2 score IN OUT` with words and characters."""
    command = [python, "-m", "ds2cli", "score", str(folder / f"{rows}.jsonl"), str(folder / "out.jsonl")]
    seconds, peak, text = run_program(command, folder / "output.txt")
    found = WER_LINE.search(text)
    if not found:
        raise RuntimeError(f"ds2 score printed no %WER line: {text[:200]}")
    errors, words, ins, dels, subs = map(int, found.groups())
    return Run(seconds, peak, None, errors, [words - subs - dels, subs, ins, dels])


def run_sclite(program: str, folder: Path) -> Run:
    """Run sclite with its summary of raw counts."""
    files = ["-r", str(folder / "ref.trn"), "trn", "-h", str(folder / "hyp.trn"), "trn"]
    seconds, peak, text = run_program([program, *files, "-i", "rm", "-o", "rsum", "stdout"], folder / "output.txt")
    found = SUM_LINE.search(text)
    if not found:
        raise RuntimeError(f"sclite printed no sum: {text[-200:]}")
    _, _, hits, subs, dels, ins, errors = map(int, found.groups())
    return Run(seconds, peak, None, errors, [hits, subs, ins, dels])


def list_runners(folder: Path, python: str) -> Iterator[tuple[str, Runner]]:
    """Every scorer that is installed: its title in the table, and what runs it."""
    sys.path[:0] = [str(ROWS.parent), str(ROOT)]
    from score_rows import SCORERS, title

    from ds2cli.stages.sclite import find_program

    for name, (package, _, _) in SCORERS.items():
        try:
            interpreter = sys.executable if package else python
            yield title(name), partial(run_library, interpreter, folder, name)
        except metadata.PackageNotFoundError as e:
            print(f"{e.name} is not installed: left out", file=sys.stderr)
    yield COMMAND, partial(run_command, python, folder)
    yield f"{COMMAND}, one utterance", partial(run_command, python, folder, "one")
    program = find_program("sclite")
    if program:
        yield "sclite (whole program)", partial(run_sclite, program, folder)
    else:
        print("sclite is not installed: left out", file=sys.stderr)


def measure(runners: dict[str, Runner], rounds: int) -> dict[str, list[Run]]:
    """Run all scorers in alternating rounds, after one that may compile."""
    runs: dict[str, list[Run]] = {name: [] for name in runners}
    for turn in range(rounds + 1):
        for name, run in runners.items():
            try:
                runs[name].append(run())
            except RuntimeError as e:
                if not turn:
                    print(f"left out: {e}", file=sys.stderr)
    return {name: done[1:] or done for name, done in runs.items() if len(done) > rounds}


def find_base(runs: dict[str, list[Run]]) -> list[Run] | None:
    """The runs of the scorer to which times are relative."""
    return next((done for name, done in runs.items() if name.startswith(BASE)), None)


def ratio(runs: list[Run], base: list[Run]) -> float:
    """The time of one scorer relative to another: median over the rounds."""
    return median(a.seconds / b.seconds for a, b in zip(runs, base, strict=True))


def table(runs: dict[str, list[Run]]) -> None:
    """Print the table and the goals."""
    base = find_base(runs)
    print("| scorer | s | best | ratio | peak MiB | added MiB | hits | subs | ins | dels | errors |")
    print("|:--|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    for name, done in runs.items():
        seconds = [run.seconds for run in done]
        peak = max(run.peak for run in done)
        added = max((run.peak - run.before for run in done if run.before is not None), default=None)
        cells: list[Any] = [name, f"{median(seconds):.3f}", f"{min(seconds):.3f}"]
        cells += [f"{ratio(done, base):.3f}" if base else "", f"{peak:.0f}", "" if added is None else f"{added:.0f}"]
        print("| " + " | ".join(map(str, [*cells, *(done[0].counts or [""] * 4), done[0].errors])) + " |", flush=True)
    if base:
        print()
        for name, done in runs.items():
            if name.startswith("ours") or name == COMMAND:
                times, peak = ratio(done, base), max(run.peak for run in done)
                # the command also reads and writes rows, and starts
                goal = f" (goal {MAX_RATIO:.2f})" if name != COMMAND else ""
                met = "met" if peak <= MAX_MIB and (times <= MAX_RATIO or not goal) else "not met"
                print(f"- {name}: {times:.3f} of jiwer{goal}, {peak:.0f} MiB (goal {MAX_MIB}): {met}")


def stream(python: str, folder: Path, count: int) -> None:
    """Print the time and memory of the command for a tenth of `count` utterances, and for all."""
    print("\n## Streaming: `ds2 score IN OUT`\n\n| utterances | s | peak MiB | errors |\n|--:|--:|--:|--:|")
    # the first run may compile
    run_command(python, folder, "one")
    for utts in (max(1, count // 10), count):
        subprocess.run([sys.executable, ROWS, "repeat", folder, str(utts)], check=True)
        run = run_command(python, folder, f"rows{utts}")
        print(f"| {utts} | {run.seconds:.2f} | {run.peak:.0f} | {run.errors} |", flush=True)
        (folder / f"rows{utts}.jsonl").unlink()


def describe_machine() -> str:
    """Processor and versions, in one line."""
    info = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.*)", info.read_text("utf-8")) if info.is_file() else None
    return f"{model[1] if model else 'unknown processor'}, Python {sys.version.split()[0]}"


def main() -> None:
    """Print the table, and with --streaming that of the large manifests."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utts", type=int, default=50_000, help="number of utterances")
    parser.add_argument("--rounds", type=int, default=5, help="rounds per scorer after the first; 0: the first alone")
    parser.add_argument("--only", default="", metavar="REGEX", help="run only scorers whose names match (and jiwer)")
    parser.add_argument("--streaming", type=int, default=0, metavar="UTTS", help="also score this many utterances")
    parser.add_argument("--text", type=Path, default=PEERS / "data" / "en_train.txt.gz", help="file of sentences")
    parser.add_argument("--python", default=sys.executable, help="Python interpreter for `ds2 score`")
    options = parser.parse_args()
    if not options.text.is_file():
        print(f"skipped: no {options.text} (--text FILE, or DS2_PEERS=FOLDER)")
        return
    print(f"{describe_machine()}; load {os.getloadavg()[0]:.2f} at the start\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run([sys.executable, ROWS, "make", folder, options.text, str(options.utts)], check=True)
        words = sum(len(line.split()) for line in (folder / "ref.txt").open(encoding="utf-8"))
        print(f"{options.utts} utterances, {words} reference words\n", flush=True)
        runners = dict(list_runners(folder, options.python))
        only = re.compile(options.only)
        table(measure({n: r for n, r in runners.items() if only.search(n) or n.startswith(BASE)}, options.rounds))
        if options.streaming:
            stream(options.python, folder, options.streaming)
    print(f"\nload {os.getloadavg()[0]:.2f} at the end")


if __name__ == "__main__":
    main()
