"""Our decoder beside pyctcdecode, ctc-beam-decoder, flashlight-text and fast-ctc-decode, in one run.

The same emissions and the same language models for all, one thread, the processor's time after a first run that warms
up. The decoders run in turn, round after round, so that what disturbs the machine for a while disturbs them all.
Prints tables in Markdown:

    µs, best      per frame: the median of the rounds, and the quickest
    ratio         to ctc-beam-decoder: the median over the rounds
    WER, CER      per cent, of synthetic emissions whose greedy error rate is about 18 (English), 11 (Mandarin-like)

then the goals and whether they are met, the first utterance of `ds2 decode` from the start of the process, the memory
of workers that share a model, and what a second thread is worth.

    make bench-decode
    python tests/peers/bench_decode.py [--utts 60] [--beams 64,500] [--tasks en,zh] [--only REGEX] [--parts table,cold]

The peers and their emissions are those of the folder DS2_PEERS, ../shared/peers by default; without it nothing is run.
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
"""Of a decoder that takes longer for all utterances the one round that the texts are from is enough."""

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")
# the sources of this checkout, whatever the environment has
sys.path[:0] = [str(ROOT), str(PEERS), str(Path(__file__).parent)]


class Row(NamedTuple):
    """A decoder on a task: µs a frame of each round, and its error rate (per cent)."""

    name: str
    us: list[float]
    error: float


def measure(entries: list[Any], task: str, lm: str | None, beam: int, data: list[Any], rounds: int) -> list[Row]:
    """Every decoder that runs here, in turn."""
    import perfdata

    frames = sum(len(x) for x, _ in data)
    ready, texts, us = {}, {}, {}
    for name, make in entries:
        try:
            decode = make(task, lm, beam)
            if decode is None:
                continue
            decode(data[0][0])
            start = time.process_time()
            texts[name] = [decode(x) for x, _ in data]
            us[name] = [1e6 * (time.process_time() - start) / frames]
            ready[name] = decode
        except Exception as e:
            print(f"{name}, {task}, {lm or 'no LM'}, beam {beam}: left out: {e!r:.100}", file=sys.stderr)
    for _ in range(rounds):
        for name, decode in ready.items():
            if us[name][0] * frames > 1e6 * SLOW_S:
                continue
            start = time.process_time()
            for x, _ in data:
                decode(x)
            us[name].append(1e6 * (time.process_time() - start) / frames)
    references = [r for _, r in data]
    # the first round warmed up
    return [Row(n, t[1:] or t, perfdata.wer(references, texts[n], chars=task == "zh")) for n, t in us.items()]


def ratio(row: Row, base: Row) -> float:
    """How long one takes, in times of another, by the rounds both ran in."""
    return median(a / b for a, b in zip(row.us, base.us, strict=False))


def table(bench: ModuleType, entries: list[Any], options: argparse.Namespace, beams: list[int], lms: Any) -> None:
    """The table of each task, and the goals that it shows to be met or not."""
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
                found = {row.name: row for row in rows}
                base = found.get(BASE)
                for row in rows:
                    times = f"{ratio(row, base):.2f}" if base else ""
                    figures = f"{median(row.us):.2f} | {min(row.us):.2f} | {times} | {row.error:.2f}"
                    print(f"| {task} | {lm or '-'} | {beam} | {row.name} | {figures} |", flush=True)
                goals += goals_of(task, lm, beam, found)
        print("\n" + "\n".join(goals), flush=True)


def goals_of(task: str, lm: str | None, beam: int, found: dict[str, Row]) -> Iterator[str]:
    """What is asked of our decoder, and whether it does it."""
    peer, most = (BASE, 1 / 3 if task == "en" else 1 / 4) if lm else (RUST, 1.0)
    base = found.get(peer)
    for name, row in found.items():
        if base and name.startswith(OURS):
            times = ratio(row, base)
            met = times <= most and row.error <= base.error + 1e-9
            yield (
                f"- {task}, {lm or 'no LM'}, beam {beam}, {name}: {times:.2f} of {peer} (goal {most:.2f}), "
                f"{row.error:.2f} % for its {base.error:.2f} %: {'met' if met else 'not met'}"
            )


def machine() -> str:
    """What the figures were taken on."""
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
    """Print what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utts", type=int, default=60, help="English utterances; of the Mandarin-like a third")
    parser.add_argument("--beams", default="64,500", help="widths of the beam")
    parser.add_argument("--tasks", default="en,zh", help="en, zh or both")
    parser.add_argument("--only", default="", metavar="REGEX", help="decoders whose names match")
    parser.add_argument("--rounds", type=int, default=9, help="rounds; of slow decoders there is one")
    parser.add_argument("--parts", default=",".join(PARTS), help="what to run, of " + ", ".join(PARTS))
    parser.add_argument("--python", default=sys.executable, help="the Python whose `ds2 decode` is started cold")
    options = parser.parse_args()
    if not (PEERS / "bench_decoders.py").is_file():
        print(f"skipped: no bench_decoders.py in {PEERS} (fix: DS2_PEERS=FOLDER)")
        return
    bench = import_module("bench_decoders")
    from ours import Ours

    ours, parts = Ours(bench), options.parts.split(",")
    wanted = re.compile(options.only)
    peers = [(name, make) for name, make in bench.PEERS if "torchaudio" not in name]
    print(f"{machine()}; load {os.getloadavg()[0]:.2f} at the start")
    if "table" in parts:
        entries = [e for e in peers + ours.matched() if wanted.search(e[0])]
        table(bench, entries, options, list(map(int, options.beams.split(","))), [None, "lm"])
    if "paper" in parts:
        print("\n## The paper's setting")
        few = [e for e in peers if e[0].startswith(("ctc-beam", "pyctc"))]
        table(bench, [e for e in few + ours.paper() if wanted.search(e[0])], options, [PAPER_BEAM], ["lm"])
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
