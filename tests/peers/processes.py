"""Measurements of the decoder beyond one warm process: cold start, shared memory, threads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from types import ModuleType

import numpy as np
from ours import PEER_PRUNING, UNKNOWN_PENALTY, Ours

from ds2cli.archive import ArkWriter
from ds2cli.lm import probing
from ds2cli.lm.query import NgramLm
from ds2cli.search.beam import BeamSearch
from ds2cli.text.vocab import BLANK, Vocab

STARTS = 5
"""Processes started per measurement."""
WORKERS = (1, 2, 4)
LARGE_MULTIPLIER = 75.0
"""Hash buckets per entry that turn the word model of 21 MB into a file of 1 GB."""


def cold(bench: ModuleType, python: str, root: Path) -> None:
    """The first utterance of `ds2 decode`: seconds from the start of the process to its row."""
    import perfdata

    log_probs, _ = perfdata.english()[0]
    with tempfile.TemporaryDirectory() as exp:
        folder = Path(exp)
        Vocab((BLANK, *bench.labels("en")[1:])).save(folder / "tokens.txt")
        with ArkWriter(folder / "en.ark") as ark:
            ref = ark.write("first", log_probs)
        (folder / "en.jsonl").write_text(json.dumps({"id": "first", "emission": ref}) + "\n", "utf-8")
        weights = ["--lm", bench.lm_bin("en"), "--alpha", str(bench.ALPHA), "--beta", str(bench.BETA)]
        decode = ["-m", "ds2cli", "decode", exp, str(folder / "en.jsonl"), "-", *weights]
        env = {**os.environ, "PYTHONPATH": str(root), "NUMBA_CACHE_DIR": str(folder / "cache")}
        torch = median(_first_line([python, "-c", "import torch; print()"], env) for _ in range(STARTS))
        uncached = _first_line([python, *decode], env)
        cached = [_first_line([python, *decode], env) for _ in range(STARTS)]
        traced = subprocess.run([python, "-X", "importtime", *decode], env=env, capture_output=True, text=True)
        needs_torch = any(line.rpartition("|")[2].strip() == "torch" for line in traced.stderr.splitlines())
    print(f"\n## Cold start: `ds2 decode` of one stored emission, {len(log_probs)} frames, word model\n")
    print("| | s, wall |\n|:--|--:|")
    print(f"| `import torch` alone ({'included' if needs_torch else 'not included'} below) | {torch:.2f} |")
    print(f"| compiled code cached, median of {STARTS} | {median(cached):.2f} |")
    print(f"| compiled code cached, fastest | {min(cached):.2f} |")
    print(f"| nothing compiled yet | {uncached:.2f} |")
    without_torch = median(cached) - (torch if needs_torch else 0.0)
    verdict = "met" if without_torch <= 3 else "not met"
    print(f"\n- {without_torch:.2f} s beyond the import of torch (goal 3 s): {verdict}", flush=True)


def _first_line(command: list[str], env: dict[str, str]) -> float:
    """Seconds from the start of a process to its first line of output."""
    start = time.perf_counter()
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        took = time.perf_counter() - start
        errors = process.communicate()[1]
    if not line:
        sys.exit(f"{' '.join(command)}: {errors[-400:]}")
    return took


def memory(bench: ModuleType, root: Path) -> None:
    """Proportional memory (Pss) of workers that have each read a model of 1 GB completely and decoded with it."""
    import perfdata

    if not Path("/proc/self/smaps_rollup").exists():
        print("\nmemory: skipped, the system has no /proc/PID/smaps_rollup")
        return
    words = perfdata.vocabulary()
    with tempfile.TemporaryDirectory() as folder:
        model = str(Path(folder) / "large.bin")
        default, probing.MULTIPLIER = probing.MULTIPLIER, LARGE_MULTIPLIER
        try:
            NgramLm.load(bench.pd.lm("word", 3)[0]).model.write(model)
        finally:
            probing.MULTIPLIER = default
        np.save(Path(folder) / "x.npy", perfdata.english()[0][0])
        size = Path(model).stat().st_size / 2**20
        print(f"\n## Memory: workers that share a mapped model of {size:.0f} MiB, {len(words)} words\n")
        print("| workers | model, total Pss (MiB) | everything, total Pss (MiB) | sum of resident sets (MiB) |")
        print("|--:|--:|--:|--:|")
        for count in WORKERS:
            with _workers(count, folder, root) as pids:
                mapped = sum(_kib(pid, "smaps", "Pss", model) for pid in pids) / 1024
                total = sum(_kib(pid, "smaps_rollup", "Pss") for pid in pids) / 1024
                resident = sum(_kib(pid, "smaps_rollup", "Rss") for pid in pids) / 1024
            print(f"| {count} | {mapped:.0f} | {total:.0f} | {resident:.0f} |", flush=True)


@contextmanager
def _workers(count: int, folder: str, root: Path) -> Iterator[list[int]]:
    """Processes that have decoded one utterance and wait."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *sys.path])}
    command = [sys.executable, __file__, folder]
    pipe = subprocess.PIPE
    workers = [subprocess.Popen(command, env=env, stdin=pipe, stdout=pipe, text=True) for _ in range(count)]
    try:
        for worker in workers:
            assert worker.stdout is not None
            if worker.stdout.readline() != "ready\n":
                sys.exit("a worker failed: expected 'ready' on its stdout")
        yield [worker.pid for worker in workers]
    finally:
        for worker in workers:
            worker.communicate("\n")


def _kib(pid: int, table: str, field: str, path: str = "") -> int:
    """The sum of a field over a process's mappings (KiB), or over those of one file."""
    total, inside = 0, not path
    for line in Path(f"/proc/{pid}/{table}").read_text("utf-8").splitlines():
        name = line.split(maxsplit=1)[0]
        if not name.endswith(":"):
            inside = not path or line.endswith(path)
        elif inside and name == f"{field}:":
            total += int(line.split()[1])
    return total


def work(folder: str) -> None:
    """The work of a worker: map the model, read all of it, decode, and wait for a line on stdin."""
    import bench_decoders

    lm = NgramLm.load(str(Path(folder) / "large.bin"))
    lm.tables.data.sum()
    vocab = Vocab((BLANK, *bench_decoders.labels("en")[1:]))
    search = BeamSearch.build(
        vocab, lm, alpha=bench_decoders.ALPHA, beta=bench_decoders.BETA, **PEER_PRUNING, **UNKNOWN_PENALTY
    )
    search(np.load(Path(folder) / "x.npy"))
    print("ready", flush=True)
    sys.stdin.readline()


def threads(ours: Ours, utts: int, rounds: int) -> None:
    """Scaling to two threads: wall time of all utterances, the fastest of alternating rounds."""
    import perfdata

    print("\n## Threads: utterances per second of wall time, fastest round\n")
    print("| task | beam | 1 thread | 2 threads | scaling |\n|:--|--:|--:|--:|--:|")
    for task, data in (("en", perfdata.english()[:utts]), ("zh", perfdata.mandarin()[: max(1, utts // 3)])):
        inputs = 4 * [np.ascontiguousarray(x) for x, _ in data]
        for beam in (64, 500):
            search = ours.weighted_search(task, "lm", beam, **PEER_PRUNING, **UNKNOWN_PENALTY)
            walls: dict[int, list[float]] = {1: [], 2: []}
            for _ in range(rounds):
                for count, times in walls.items():
                    with ThreadPoolExecutor(count) as pool:
                        start = time.perf_counter()
                        list(pool.map(search, inputs))
                        times.append(time.perf_counter() - start)
            one, two = min(walls[1]), min(walls[2])
            figures = f"{len(inputs) / one:.0f} | {len(inputs) / two:.0f} | {one / two:.2f}"
            print(f"| {task} | {beam} | {figures} |", flush=True)


if __name__ == "__main__":
    work(sys.argv[1])
