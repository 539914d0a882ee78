"""The native CTC beside torch's and warp-ctc's on the CPU: loss and gradient from logits, checked to agree, then timed.

One thread is timed by the processor's clock, which others on the machine disturb less, and several by the wall's; the
peers run in turn. Prints a table in Markdown:

    N, T, L, V    utterances, most frames, longest label, symbols; utterances are 60 to 100 % of T frames long
    ms, median    the quickest run and the median one     ns/cell    of a trellis, both ways: 2 L + 1 cells a frame
    faster        than torch on as many threads           scaling    quickest on the first thread count / on the last
    off by        largest difference of the gradient from float64's; of bfloat16 it is that of the logits' rounding

    python native/bench/bench_ctc.py [--threads 1 2] [--sizes 16x400x100x29] [--seconds 1] [--warp-ctc libwarpctc.so]

warp-ctc is not packaged any more, but a source distribution on PyPI holds it whole:

    pip download --no-deps --no-binary :all: --no-build-isolation torch-baidu-ctc==0.3.0
    tar xf torch-baidu-ctc-0.3.0.tar.gz && cd torch-baidu-ctc-0.3.0/third-party/warp-ctc
    g++ -O3 -march=native -std=c++11 -fopenmp -shared -fPIC -Iinclude src/ctc_entrypoint.cpp -o libwarpctc.so
"""

from __future__ import annotations

import argparse
import ctypes
from collections.abc import Iterator
from pathlib import Path

import torch
from ctc_peers import Batch, Size, Step, exact, make, ours, require_agreement, torch_loss, warp_ctc, worst_gradient
from timing import Time, in_turn

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


def size_of(text: str) -> Size:
    """`16x400x100x29` as N, T, L, V."""
    return Size(*map(int, text.split("x")))


def peers(batch: Batch, threads: int, library: ctypes.CDLL | None) -> dict[str, Step]:
    """The losses to be timed, by name."""
    found = {"torch": torch_loss(batch), "ours": ours(batch), "ours, bfloat16": ours(batch, torch.bfloat16)}
    return found if library is None else {"warp-ctc": warp_ctc(library, batch, threads), **found}


def bench(size: Size, threads: list[int], seconds: float, library: ctypes.CDLL | None) -> Iterator[str]:
    """The rows of one size."""
    batch = make(size)
    costs, gradient = exact(batch)
    require_agreement(batch, costs, gradient)
    off = {name: worst_gradient(step()[1], gradient) for name, step in peers(batch, 1, library).items()}
    del costs, gradient
    times = {}
    for count in threads:
        torch.set_num_threads(count)
        times[count] = in_turn(peers(batch, count, library), seconds)
    for name in times[threads[0]]:
        figures = [cells_of(times[count][name], times[count]["torch"], batch.cells) for count in threads]
        scaling = times[threads[0]][name].best / times[threads[-1]][name].best
        yield f"{size}| {name:14} {''.join(figures)}| {scaling:7.2f} | {off[name]:7.0e} |"


def cells_of(mine: Time, torchs: Time, cells: int) -> str:
    """The columns of one thread count."""
    figures = f"{mine.best:7.1f} | {mine.median:7.1f} | {1e6 * mine.best / cells:7.2f}"
    return f"| {figures} | {torchs.best / mine.best:5.1f} × "


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="thread counts to time")
    parser.add_argument("--sizes", type=size_of, nargs="+", default=SIZES, metavar="NxTxLxV", help="batches to time")
    parser.add_argument("--seconds", type=float, default=1.0, help="time for one figure (s)")
    parser.add_argument("--warp-ctc", type=Path, metavar="PATH", help="libwarpctc.so, to time it too")
    options = parser.parse_args()
    print(f"torch {torch.__version__}, native library for {native.instruction_set()}\n")
    library = None
    if options.warp_ctc and options.warp_ctc.exists():
        library = ctypes.CDLL(str(options.warp_ctc.resolve()))
    else:
        print("warp-ctc is left out: --warp-ctc names no library (--help says how to build one)\n")
    names = [f"ms, {count} thread{'s' * (count > 1)} | median | ns/cell | faster" for count in options.threads]
    print(f"| N | T | L | V | loss | {' | '.join(names)} | scaling | off by |")
    print("|" + "--:|" * 4 + ":--|" + "--:|" * (4 * len(options.threads) + 2))
    for size in options.sizes:
        for row in bench(size, options.threads, options.seconds, library):
            print(row, flush=True)


if __name__ == "__main__":
    main()
