"""Benchmark of our decoder against pyctcdecode, ctc-beam-decoder, flashlight-text and fast-ctc-decode.

All decoders get the same emissions and language models and one thread; CPU time is measured after a warm-up run. They
take turns, round by round, so that a temporary disturbance of the machine affects all of them. Prints Markdown tables:

    µs, best      CPU time per frame: median and minimum over the rounds
    ratio         time relative to ctc-beam-decoder: median over the rounds
    WER, CER      per cent, on synthetic emissions with greedy error rates of about 18 (English) and 11 (Mandarin-like)

then the goals and whether they are met, the time of `ds2 decode` from process start to its first row, the memory of
workers that share a model, and the scaling to two threads.

    make bench-decode
    python tests/peers/bench_decode.py [--utts 60] [--beams 64,500] [--tasks en,zh] [--only REGEX] [--parts table,cold]

The peers' entries and emissions are in the folder DS2_PEERS (default ../shared/peers); without it nothing runs.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Iterator
from importlib import import_module, metadata
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PEERS = Path(os.environ.get("DS2_PEERS", ROOT.parent / "shared" / "peers"))
PACKAGES = ["numpy", "numba", "pyctcdecode", "ctc-beam-decoder", "flashlight-text", "fast-ctc-decode"]
PARTS = ["table", "paper", "cold", "memory", "threads"]
BASE, RUST, OURS = "ctc-beam-decoder 0.2.0", "fast-ctc-decode 0.3.7", "ours"
PAPER_BEAM = 200
SLOW_S = 1.0
"""A decoder that takes longer than this for all utterances runs one round only (s)."""

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")
# import the sources of this checkout, not an installed package
sys.path[:0] = [str(ROOT), str(PEERS), str(Path(__file__).parent)]


class Row(NamedTuple):
    """A decoder on a task: µs per frame of each round, and its error rate (per cent)."""

    name: str
    us: list[float]
    error: float


def measure(entries: list[Any], task: str, lm: str | None, beam: int, data: list[Any], rounds: int) -> list[Row]:
    """Measure every decoder that is installed, in alternating rounds."""
    import perfdata

    frames = sum(len(x) for x, _ in data)
    decoders, texts, us = {}, {}, {}
    for name, make in entries:
        try:
            decode = make(task, lm, beam)
            if decode is None:
                continue
            decode(data[0][0])
            start = time.process_time()
            texts[name] = [decode(x) for x, _ in data]
            us[name] = [1e6 * (time.process_time() - start) / frames]
            decoders[name] = decode
        except Exception as e:
            print(f"{name}, {task}, {lm or 'no LM'}, beam {beam}: left out: {e!r:.100}", file=sys.stderr)
    for _ in range(rounds):
        for name, decode in decoders.items():
            if us[name][0] * frames > 1e6 * SLOW_S:
                continue
            start = time.process_time()
            for x, _ in data:
                decode(x)
            us[name].append(1e6 * (time.process_time() - start) / frames)
    references = [r for _, r in data]
    # the first round was the warm-up
    return [Row(n, t[1:] or t, perfdata.wer(references, texts[n], chars=task == "zh")) for n, t in us.items()]


def ratio(row: Row, base: Row) -> float:
    """The time of one decoder relative to another: median over the rounds that both ran."""
    return median(a / b for a, b in zip(row.us, base.us, strict=False))


def table(bench: ModuleType, entries: list[Any], options: argparse.Namespace, beams: list[int], lms: Any) -> None:
    """Print the table of each task, and its goals."""
    import perfdata

    for task in options.tasks.split(","):
        data = perfdata.english()[: options.utts] if task == "en" else perfdata.mandarin()[: max(1, options.utts // 3)]
        frames, rate = sum(len(x) for x, _ in data), "WER" if task == "en" else "CER"
        print(f"\n{len(data)} utterances, {frames} frames, {len(bench.labels(task))} symbols\n")
        print(f"| task | LM | beam | decoder | µs | best | ratio | {rate} |\n|:--|:--|--:|:--|--:|--:|--:|--:|")
        goals: list[str] = []
        for lm in lms:
            for beam in beams:
                rows = measure(entries, task, lm, beam, data, options.rounds)
                by_name = {row.name: row for row in rows}
                base = by_name.get(BASE)
                for row in rows:
                    times = f"{ratio(row, base):.2f}" if base else ""
                    figures = f"{median(row.us):.2f} | {min(row.us):.2f} | {times} | {row.error:.2f}"
                    print(f"| {task} | {lm or '-'} | {beam} | {row.name} | {figures} |", flush=True)
                goals += check_goals(task, lm, beam, by_name)
        print("\n" + "\n".join(goals), flush=True)


def check_goals(task: str, lm: str | None, beam: int, by_name: dict[str, Row]) -> Iterator[str]:
    """The goals of our decoder, one line each: time and error rate relative to a peer, and whether they are met."""
    peer, max_ratio = (BASE, 1 / 3 if task == "en" else 1 / 4) if lm else (RUST, 1.0)
    base = by_name.get(peer)
    for name, row in by_name.items():
        if base and name.startswith(OURS):
            times = ratio(row, base)
            met = times <= max_ratio and row.error <= base.error + 1e-9
            yield (
                f"- {task}, {lm or 'no LM'}, beam {beam}, {name}: {times:.2f} of {peer} (goal {max_ratio:.2f}), "
                f"{row.error:.2f} % for its {base.error:.2f} %: {'met' if met else 'not met'}"
            )


def describe_machine() -> str:
    """Processor and package versions, in one line."""
    info = Path("/proc/cpuinfo").read_text("utf-8")
    model = re.search(r"model name\s*: (.*)", info)
    versions = []
    for name in PACKAGES:
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            versions.append(f"{name} not installed")
    avx = "AVX-512" if "avx512f" in info else "AVX2" if "avx2" in info else "no AVX2"
    processor = model[1] if model else "unknown processor"
    return f"{processor} ({avx}), Python {sys.version.split()[0]}, {', '.join(versions)}"


def main() -> None:
    """Print the selected parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--utts", type=int, default=60, help="number of English utterances; a third as many Mandarin-like ones"
    )
    parser.add_argument("--beams", default="64,500", help="beam widths, comma-separated")
    parser.add_argument("--tasks", default="en,zh", help="tasks, comma-separated: en, zh")
    parser.add_argument("--only", default="", metavar="REGEX", help="run only decoders whose names match")
    parser.add_argument("--rounds", type=int, default=9, help="rounds per decoder; slow decoders run one")
    parser.add_argument("--parts", default=",".join(PARTS), help="parts to run, comma-separated: " + ", ".join(PARTS))
    parser.add_argument(
        "--python", default=sys.executable, help="Python interpreter for the cold start of `ds2 decode`"
    )
    options = parser.parse_args()
    if not (PEERS / "bench_decoders.py").is_file():
        print(f"skipped: no bench_decoders.py in {PEERS} (DS2_PEERS=FOLDER)")
        return
    bench = import_module("bench_decoders")
    from ours import Ours

    ours, parts = Ours(bench), options.parts.split(",")
    only = re.compile(options.only)
    peers = [(name, make) for name, make in bench.PEERS if "torchaudio" not in name]
    print(f"{describe_machine()}; load {os.getloadavg()[0]:.2f} at the start")
    if "table" in parts:
        entries = [e for e in peers + ours.peer_settings() if only.search(e[0])]
        table(bench, entries, options, list(map(int, options.beams.split(","))), [None, "lm"])
    if "paper" in parts:
        print("\n## The paper's setting")
        comparable = [e for e in peers if e[0].startswith(("ctc-beam", "pyctc"))]
        table(
            bench, [e for e in comparable + ours.paper_settings() if only.search(e[0])], options, [PAPER_BEAM], ["lm"]
        )
    import processes

    if "cold" in parts:
        processes.cold(bench, options.python, ROOT)
    if "memory" in parts:
        processes.memory(bench, ROOT)
    if "threads" in parts:
        processes.threads(ours, options.utts, options.rounds)
    print(f"\nload {os.getloadavg()[0]:.2f} at the end")


if __name__ == "__main__":
    main()
