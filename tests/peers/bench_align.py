"""Benchmark of our forced alignment against torchaudio, hirschberg-viterbi, ctc-forced-aligner and ctc-segmentation.

All aligners get the same emissions and labels and one thread. Every run is a process of its own, and the aligners take
turns, round by round, so that a temporary disturbance of the machine affects all of them. Prints a Markdown table:

    ms           CPU time of a run after a warm-up, unless the first took long: median over the rounds
    ns           the same per cell of the trellis, T x (2 L + 1)
    ratio        torchaudio's time relative to it: median over the rounds
    MB           memory that the first run added
    log-prob     of the path (nats); "in gaps": the steps that the path spells nothing in

"ours" finds the path as `ds2 align` does, without the cost of the text; "with gaps" as with --gaps, whose trellis has
one more state per word. An aligner that needs more memory than --memory fails, and the table says so.

    make bench-align
    python tests/peers/bench_align.py [--sizes 1500,200,29 120000,54000,29] [--only REGEX] [--rounds 3]

The peers' entries and emissions are in the folder DS2_PEERS (default ../shared/peers); without it nothing runs.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import itertools
import json
import os
import re
import resource
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PEERS = Path(os.environ.get("DS2_PEERS", ROOT.parent / "shared" / "peers"))
SIZES = [(1500, 200, 29), (5000, 500, 29), (15000, 1500, 29), (50000, 5000, 29), (50000, 500, 29)]
SIZES += [(1500, 200, 6000), (5000, 500, 6000), (120000, 54000, 29)]
BASE, OURS = "torchaudio", "ours"
LONG_S = 3.0
"""A run that takes longer than this is not repeated (s)."""

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")
# import the sources of this checkout, not an installed package
sys.path[:0] = [str(ROOT), str(PEERS)]


class Run(NamedTuple):
    """One process: CPU time (s), added memory (MB), and the log-probability of the path, or why there is none."""

    seconds: float
    memory: float
    path: str


def load_bench() -> ModuleType:
    """The peers' own script, which has the name of this one."""
    spec = importlib.util.spec_from_file_location("peers_bench_align", PEERS / "bench_align.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_stubs() -> None:
    """Load what torchaudio's library of PyPI is linked against: CUDA's runtime, and empty libraries of torch."""
    libraries = sorted(Path(sysconfig.get_paths()["purelib"]).glob("nvidia/**/libcudart.so.*"))
    for library in [*libraries, *sorted((Path(sys.prefix) / "stubs").glob("*.so"))]:
        ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)


def ours(gaps: bool) -> Callable[[Any, Any], Callable[[], Any]]:
    """Our aligner as an entry in the list of peers: make(log_probs, labels) -> run() -> path, with -1 in gaps."""

    def make(log_probs: Any, labels: Any) -> Callable[[], Any]:
        import numpy as np

        from ds2cli.config.align import AlignConfig
        from ds2cli.kernels.viterbi import viterbi
        from ds2cli.search.trellis import Columns, GapCosts, Spelling, build_target

        A, L = log_probs.shape[1], len(labels)
        # words end at spaces; of 6,000 symbols each is a word
        breaks = [-1, *np.flatnonzero(labels == 1).tolist(), L] if A == 29 else []
        words = [(slice(a + 1, b), "") for a, b in itertools.pairwise(breaks) if b > a + 1]
        spelling = Spelling(labels.tolist(), words or [(slice(i, i + 1), "") for i in range(L)])
        config = AlignConfig()
        costs = GapCosts(config.gap_cost, config.skip_cost) if gaps else None
        # the label of each state: a blank before each label, the label; a gap before each word
        label_of = np.full(2 * L + 2 + len(words or labels), -1)
        label_of[: 2 * L + 1 : 2], label_of[1 : 2 * L : 2] = 0, labels

        def run() -> Any:
            columns = Columns.select(log_probs, spelling, gaps=costs is not None)
            if costs is not None and A == 29:
                columns.allow_silent_spaces(1)
            return label_of[viterbi(columns.log_probs, build_target(spelling, columns, costs))]

        return run

    return make


def list_aligners(bench: ModuleType) -> dict[str, Any]:
    """Every aligner by its title in the table."""
    return {**dict(bench.PEERS), OURS: ours(False), f"{OURS}, with gaps": ours(True)}


def make_case(bench: ModuleType, T: int, L: int, A: int) -> Any:
    """The peers' emission (T, A) and labels (L,); an hour takes more sentences than they do."""
    text = bench.pd.text()
    if L > 10000:
        bench.pd.text = lambda: (text[0], [" ".join(text[1])])
    return bench.case(T, L, A)


def describe_path(path: Any, log_probs: Any, labels: Any) -> str:
    """The log-probability of a path, and whether it spells the labels; empty if it is none."""
    import numpy as np

    if not isinstance(path, np.ndarray) or path.shape != (len(log_probs),):
        return ""
    total = log_probs[np.arange(len(path)), np.maximum(path, 0)][path >= 0].sum(dtype=np.float64)
    if in_gaps := int((path < 0).sum()):
        return f"{total:.2f} ({in_gaps} steps in gaps)"
    spelled = path[(path != 0) & np.append(True, path[1:] != path[:-1])]
    return f"{total:.2f}" + ("" if np.array_equal(spelled, labels) else " (labels differ)")


def measure_here(name: str, T: int, L: int, A: int, memory_gib: float) -> Run:
    """Run an aligner in this process."""
    load_stubs()
    bench = load_bench()
    log_probs, labels = make_case(bench, T, L, A)
    limit = int(memory_gib * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    run = list_aligners(bench)[name](log_probs, labels)
    if name.startswith(OURS):
        # compile, or load what was compiled
        list_aligners(bench)[name](log_probs[:60], labels[:8])()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    path = run()
    seconds = time.process_time() - start
    added = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    if seconds < LONG_S:
        times = []
        for _ in range(3):
            start = time.process_time()
            run()
            times.append(time.process_time() - start)
        seconds = median(times)
    return Run(seconds, added / 1024, describe_path(path, log_probs, labels))


def measure(name: str, size: tuple[int, int, int], memory: float, timeout: float) -> Run | str:
    """Run an aligner in its own process; the reason if it failed."""
    command = [sys.executable, __file__, "--measure", name, "--sizes", ",".join(map(str, size))]
    try:
        done = subprocess.run([*command, "--memory", str(memory)], capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        return f"more than {timeout:g} s"
    if done.returncode < 0:
        return f"ended by signal {-done.returncode}"
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["failed"]
        return f"failed: {lines[-1]:.90}".replace("|", "/")
    return Run(*json.loads(done.stdout.splitlines()[-1]))


def table(size: tuple[int, int, int], names: list[str], options: argparse.Namespace) -> None:
    """Print the rows of one size."""
    T, L, A = size
    runs: dict[str, list[Run]] = {name: [] for name in names}
    errors: dict[str, str] = {}
    for _ in range(options.rounds):
        for name in names:
            if name in errors or (runs[name] and runs[name][0].seconds > LONG_S):
                continue
            run = measure(name, size, options.memory, options.timeout)
            if isinstance(run, str):
                errors[name] = run
            else:
                runs[name].append(run)
    base = next((runs[name] for name in names if name.startswith(BASE)), [])
    for name in names:
        label = f"| {T} | {L} | {A} | {name} "
        if name in errors or not runs[name]:
            print(f"{label}| {errors.get(name, '')} | | | | |", flush=True)
            continue
        seconds = median(run.seconds for run in runs[name])
        ratios = [b.seconds / run.seconds for b, run in zip(base, runs[name], strict=False)]
        ratio = f"{median(ratios):.1f}" if ratios else ""
        figures = f"{1e3 * seconds:.2f} | {1e9 * seconds / (T * (2 * L + 1)):.3f} | {ratio}"
        print(f"{label}| {figures} | {max(r.memory for r in runs[name]):.0f} | {runs[name][0].path} |", flush=True)


def describe_machine() -> str:
    """Processor and versions, in one line."""
    info = Path("/proc/cpuinfo")
    text = info.read_text("utf-8") if info.is_file() else ""
    model = re.search(r"model name\s*: (.*)", text)
    avx = "AVX-512" if "avx512f" in text else "AVX2" if "avx2" in text else "no AVX2"
    return f"{model[1] if model else 'unknown processor'} ({avx}), Python {sys.version.split()[0]}"


def main() -> None:
    """Print the table, or with --measure what one aligner takes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = [",".join(map(str, size)) for size in SIZES]
    parser.add_argument("--sizes", nargs="+", default=sizes, metavar="T,L,A", help="steps, labels and symbols")
    parser.add_argument("--only", default="", metavar="REGEX", help="run only aligners whose names match")
    parser.add_argument("--rounds", type=int, default=3, help="rounds per aligner; slow aligners run one")
    parser.add_argument("--memory", type=float, default=12.0, help="address space that an aligner may take (GiB)")
    parser.add_argument("--timeout", type=float, default=300.0, help="time that an aligner may take (s)")
    parser.add_argument("--measure", metavar="NAME", help="measure one aligner on one size, in this process")
    options = parser.parse_args()
    if not (PEERS / "bench_align.py").is_file():
        print(f"skipped: no bench_align.py in {PEERS} (DS2_PEERS=FOLDER)")
        return
    cases = [tuple(map(int, size.split(","))) for size in options.sizes]
    if options.measure:
        T, L, A = cases[0]
        print(json.dumps(measure_here(options.measure, T, L, A, options.memory)))
        return
    print(f"{describe_machine()}; load {os.getloadavg()[0]:.2f} at the start\n")
    bench = load_bench()
    names = [name for name in list_aligners(bench) if re.search(options.only, name)]
    print("| steps | labels | symbols | aligner | ms | ns | ratio | MB | log-prob |")
    print("|--:|--:|--:|:--|--:|--:|--:|--:|--:|")
    for T, L, A in cases:
        make_case(bench, T, L, A)
        table((T, L, A), names, options)
    print(f"\nload {os.getloadavg()[0]:.2f} at the end")


if __name__ == "__main__":
    main()
