"""Forced alignment of one long recording: the native CTC cost compared with the numba kernel, in one run.

The emission is generated: the peaks of a trained network on the steps of a text of 15 symbols per second. Times are CPU
time on one thread. Prints a table in Markdown:

    steps, symbols    of the emission and of the text
    cost              `kernel.ctc_cost`, which `ds2 align` used, and `search.ctc_cost`, which it uses
    path              `viterbi` with the columns it needs, which both need; `make bench-align` compares it with others
    align             cost and path; speed-up: of the cost, and of both
    score --why       `text_logprob`, the cost with all runs of spaces, which it computes for each text of an utterance
    difference        of the two costs, relative

    python native/bench/bench_align.py [--minutes 0.2 1 20] [--symbols 29] [--seconds 1]
"""

from __future__ import annotations

import ds2cli  # noqa: F401  # before torch, whose OpenMP threads read how to wait

# isort: split
import argparse

import numpy as np
import torch
from numpy.typing import NDArray
from timing import time_interleaved

from ds2cli import native
from ds2cli.kernels import ctc_cost as kernel
from ds2cli.kernels.text_logprob import text_logprob
from ds2cli.kernels.viterbi import viterbi
from ds2cli.search.ctc_cost import ctc_cost
from ds2cli.search.trellis import Columns, Spelling, build_target

STEP_S = 0.02
SYMBOLS_PER_SECOND = 15
SPACE = 1


def make_case(minutes: float, V: int) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Log-probabilities (T, V) with a peak of about 0.9 in each step, and the labels (L,) of the peaks."""
    rng = np.random.default_rng(0)
    T = round(60 * minutes / STEP_S)
    labels = rng.integers(1, V, round(60 * minutes * SYMBOLS_PER_SECOND)).astype(np.int32)
    # no equal neighbors, so that the peaks need no blank between them
    for i in range(1, len(labels)):
        labels[i] = labels[i] % (V - 1) + 1 if labels[i] == labels[i - 1] else labels[i]
    peaks = np.zeros(T, dtype=np.int64)
    peaks[np.linspace(0, T - 1, len(labels)).astype(np.int64)] = labels
    logits = rng.standard_normal((T, V))
    logits[np.arange(T), peaks] += 2 + np.log(V * 3.0)
    return (logits - np.logaddexp.reduce(logits, axis=1)[:, None]).astype(np.float32), labels


def find_path(log_probs: NDArray[np.float32], labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """The best path, as `ds2 align` finds it."""
    spelling = Spelling(labels.tolist(), [])
    columns = Columns.select(log_probs, spelling)
    return viterbi(columns.relative(), build_target(spelling, columns, None))


def bench(minutes: float, V: int, seconds: float) -> str:
    """The table row of one recording."""
    log_probs, labels = make_case(minutes, V)
    old, new = kernel.ctc_cost(log_probs, labels), ctc_cost(log_probs, labels)
    times = time_interleaved(
        {
            "old": lambda: kernel.ctc_cost(log_probs, labels),
            "new": lambda: ctc_cost(log_probs, labels),
            "path": lambda: find_path(log_probs, labels),
            "why": lambda: text_logprob(log_probs, labels, SPACE),
        },
        seconds,
    )
    before, after, path, why = (times[name].best for name in ("old", "new", "path", "why"))
    figures = [f"{ms:.1f}" for ms in (before, after, path, before + path, after + path)]
    ratios = f"{before / after:.1f} × | {(before + path) / (after + path):.1f} ×"
    difference = abs(new - old) / max(old, 1e-9)
    size = f"{minutes:g} | {len(log_probs)} | {len(labels)}"
    return f"| {size} | {' | '.join(figures)} | {ratios} | {difference:.0e} | {why:.1f} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, nargs="+", default=[0.2, 1.0, 20.0], help="lengths of the recordings")
    parser.add_argument("--symbols", type=int, default=29, help="number of symbols, the blank included")
    parser.add_argument("--seconds", type=float, default=1.0, help="time per measurement (s); three runs at least")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"native library for {native.instruction_set()}, {options.symbols} symbols, times in ms\n")
    names = "minutes | steps | text | cost, numba | cost, native | path | align, before | align, now"
    print(f"| {names} | speed-up of the cost | of both | difference | score --why |")
    print("|" + "--:|" * 12)
    for minutes in options.minutes:
        print(bench(minutes, options.symbols, options.seconds), flush=True)


if __name__ == "__main__":
    main()
