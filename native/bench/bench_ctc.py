"""CTC loss and gradient from logits on the CPU: the native library compared with torch and warp-ctc.

All losses are first checked against float64, then timed in turn. Times are CPU time with one thread, which other
processes disturb less, and wall-clock time with several. Prints a table in Markdown:

    N, T, L, V    utterances, frames of the longest, labels of the longest, symbols; utterances have 60 to 100 % of
                  T frames
    ms, median    fastest and median run                    ns/cell    per trellis cell (2 L + 1 per frame), both passes
    speed-up      over torch with as many threads           scaling    fastest run with the first / last thread count
    max error     of the gradient, compared with float64; for bfloat16 mostly the rounding of the logits

    python native/bench/bench_ctc.py [--threads 1 2] [--sizes 16x400x100x29] [--seconds 1] [--warp-ctc libwarpctc.so]

warp-ctc is no longer packaged, but its source is part of a source distribution on PyPI:

    pip download --no-deps --no-binary :all: --no-build-isolation torch-baidu-ctc==0.3.0
    tar xf torch-baidu-ctc-0.3.0.tar.gz && cd torch-baidu-ctc-0.3.0/third-party/warp-ctc
    g++ -O3 -march=native -std=c++11 -fopenmp -shared -fPIC -Iinclude src/ctc_entrypoint.cpp -o libwarpctc.so
"""

from __future__ import annotations

import ds2cli  # noqa: F401  # before torch, whose OpenMP threads read how to wait

# isort: split
import argparse
import ctypes
from collections.abc import Iterator
from pathlib import Path

import torch
from ctc_losses import (
    Batch,
    Size,
    Step,
    check_agreement,
    compute_reference,
    ds2_loss,
    make_batch,
    max_gradient_error,
    torch_loss,
    warp_ctc,
)
from timing import Timing, time_interleaved

from ds2cli import native

SIZES = [
    Size(16, 400, 100, 29),
    Size(32, 400, 100, 29),
    Size(64, 400, 100, 29),
    Size(32, 1000, 200, 29),
    Size(64, 1000, 200, 29),
    Size(16, 400, 40, 6000),
    Size(32, 400, 40, 6000),
]


def parse_size(text: str) -> Size:
    """Parse `NxTxLxV`, e.g. `16x400x100x29`."""
    return Size(*map(int, text.split("x")))


def make_steps(batch: Batch, threads: int, library: ctypes.CDLL | None) -> dict[str, Step]:
    """The losses to time, by name."""
    steps = {"torch": torch_loss(batch), "ds2": ds2_loss(batch), "ds2, bfloat16": ds2_loss(batch, torch.bfloat16)}
    return steps if library is None else {"warp-ctc": warp_ctc(library, batch, threads), **steps}


def bench(size: Size, threads: list[int], seconds: float, library: ctypes.CDLL | None) -> Iterator[str]:
    """The table rows of one size."""
    batch = make_batch(size)
    costs, gradient = compute_reference(batch)
    check_agreement(batch, costs, gradient)
    errors = {name: max_gradient_error(step()[1], gradient) for name, step in make_steps(batch, 1, library).items()}
    del costs, gradient
    times = {}
    for count in threads:
        torch.set_num_threads(count)
        times[count] = time_interleaved(make_steps(batch, count, library), seconds)
    for name in times[threads[0]]:
        columns = [format_columns(times[count][name], times[count]["torch"], batch.cells) for count in threads]
        scaling = times[threads[0]][name].best / times[threads[-1]][name].best
        yield f"{size}| {name:14} {''.join(columns)}| {scaling:7.2f} | {errors[name]:7.0e} |"


def format_columns(own_time: Timing, torch_time: Timing, cells: int) -> str:
    """The table columns of one thread count."""
    figures = f"{own_time.best:7.1f} | {own_time.median:7.1f} | {1e6 * own_time.best / cells:7.2f}"
    return f"| {figures} | {torch_time.best / own_time.best:5.1f} × "


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="thread counts to time")
    parser.add_argument("--sizes", type=parse_size, nargs="+", default=SIZES, metavar="NxTxLxV", help="batches to time")
    parser.add_argument("--seconds", type=float, default=1.0, help="time per measurement (s)")
    parser.add_argument("--warp-ctc", type=Path, metavar="PATH", help="path of libwarpctc.so, to time it as well")
    options = parser.parse_args()
    print(f"torch {torch.__version__}, native library for {native.instruction_set()}\n")
    library = None
    if options.warp_ctc and options.warp_ctc.exists():
        library = ctypes.CDLL(str(options.warp_ctc.resolve()))
    else:
        print("warp-ctc is not timed: give its library with --warp-ctc (--help shows how to build it)\n")
    names = [f"ms, {count} thread{'s' * (count > 1)} | median | ns/cell | speed-up" for count in options.threads]
    print(f"| N | T | L | V | loss | {' | '.join(names)} | scaling | max error |")
    print("|" + "--:|" * 4 + ":--|" + "--:|" * (4 * len(options.threads) + 2))
    for size in options.sizes:
        for row in bench(size, options.threads, options.seconds, library):
            print(row, flush=True)


if __name__ == "__main__":
    main()
