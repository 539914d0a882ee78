"""The native CTC beside torch's and cuDNN's on a GPU: loss and gradient from logits, checked to agree, then timed.

Times are the device's, by events, with its queue kept full, so that what Python does between the kernels is left out
unless a peer waits for the device itself; `call` is the wall's time of a call in a loop, Python included. Prints a
table in Markdown:

    N, T, L, V    utterances, most frames, longest label, symbols; utterances are 60 to 100 % of T frames long, where T
                  is marked `all` every one is T long (only then torch takes cuDNN's older, quicker interface)
    ms, median    the quickest run and the median one     call       ms of a call as a training loop makes it
    faster        than torch's own kernels                ns/cell    of a trellis, both ways: 2 L + 1 cells a frame
    bandwidth     what must be moved a second (logits read twice, their gradient written), as a share of a copy's
    floor         ms of the same loss on the longest utterance alone: frames wait for each other, so no batch is quicker
    off by        largest difference of the gradient from float64's

    python native/bench/bench_ctc_cuda.py [--sizes 64x400x100x29] [--losses torch ours] [--seconds 1]
"""

from __future__ import annotations

import argparse
import statistics
import textwrap
import time
from collections.abc import Callable, Iterator

import torch
from bench_ctc import size_of
from ctc_peers import (
    Batch,
    Size,
    Step,
    cudnn_loss,
    exact,
    make,
    ours,
    require_agreement,
    torch_loss,
    worst_gradient,
)
from timing import Time

from ds2cli import native

SIZES = [
    Size(16, 400, 100, 29),
    Size(64, 400, 100, 29),
    Size(64, 400, 100, 29, full=True),
    Size(64, 1000, 200, 29),
    Size(32, 400, 40, 6000),
    Size(32, 400, 40, 6000, full=True),
    Size(32, 400, 40, 10000),
]
PEERS: dict[str, Callable[[Batch], Step]] = {
    "torch": torch_loss,
    "ours": ours,
    "ours, bfloat16": lambda batch: ours(batch, torch.bfloat16),
    "cuDNN": cudnn_loss,
}
AHEAD = 4_000_000
"""Cycles, some 2 ms, that the device is kept busy while the next call is queued."""


def device_times(work: Callable[[], object], seconds: float) -> Time:
    """The device's times of a piece of work, in about `seconds` and at least five runs, after two that warm up."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 7 or time.perf_counter() < end:
        start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda._sleep(AHEAD)
        start.record()
        work()
        stop.record()
        stop.synchronize()
        times.append(start.elapsed_time(stop))
    return Time(min(times[2:]), statistics.median(times[2:]))


def call_ms(work: Callable[[], object], runs: int = 30) -> float:
    """Wall's time of a call among many, with one wait for the device at the end."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(runs):
        work()
    torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - start) / runs


def copy_rate() -> float:
    """Bytes a millisecond, read and written, of a copy of 1 GiB inside the device."""
    source = torch.zeros(2**30, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * source.numel() / device_times(lambda: target.copy_(source), 0.5).best


def launch_ms() -> float:
    """The device's time of one of many kernels that do nothing to speak of."""
    one = torch.zeros(1, device="cuda")

    def chain() -> None:
        for _ in range(100):
            one.add_(1)

    return device_times(chain, 0.2).best / 100


def moved(batch: Batch, width: int) -> int:
    """Bytes that any loss and gradient must move: logits that count read twice, all gradients written."""
    V = batch.logits.shape[2]
    return width * (2 * V * int(batch.input_lengths.sum()) + batch.logits.numel())


def alone(batch: Batch) -> Batch:
    """The longest utterance, which is the first."""
    return Batch(batch.logits[:, :1].contiguous(), *(x[:1] for x in batch[1:]))


def bench(size: Size, losses: list[str], seconds: float, rate: float) -> Iterator[str]:
    """The rows of one size. losses: among PEERS; rate: of a copy (bytes/ms)."""
    batch = make(size).to("cuda")
    costs, gradient = exact(batch)
    require_agreement(batch, costs, gradient)
    torchs = device_times(torch_loss(batch), seconds)
    for name in losses:
        peer = PEERS[name]
        try:
            step = peer(batch)
            off = worst_gradient(step()[1], gradient)
            mine = torchs if name == "torch" else device_times(step, seconds)
            floor = device_times(peer(alone(batch)), seconds / 4).best
        except RuntimeError as error:
            yield f"{size}| {name:14} | left out: {textwrap.shorten(str(error), 80)} |"
            continue
        share = moved(batch, 2 if "bfloat16" in name else 4) / mine.best / rate
        times = f"{mine.best:8.3f} | {mine.median:8.3f} | {call_ms(step):8.3f} | {torchs.best / mine.best:5.1f} ×"
        derived = f"{1e6 * mine.best / batch.cells:7.3f} | {100 * share:5.1f} % | {floor:8.3f}"
        yield f"{size}| {name:14} | {times} | {derived} | {off:7.0e} |"


def main() -> None:
    """Print the table, or why there is none."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=size_of, nargs="+", default=SIZES, metavar="NxTxLxV", help="batches to time")
    parser.add_argument("--losses", nargs="+", choices=PEERS, default=list(PEERS), help="what to time")
    parser.add_argument("--seconds", type=float, default=1.0, help="time for one figure (s)")
    options = parser.parse_args()
    if not torch.cuda.is_available() or not native.available("cuda"):
        why = native.unavailable_reason("cuda") if torch.cuda.is_available() else "torch sees no device"
        print(f"CUDA: nothing is measured, {why}")
        return
    rate = copy_rate()
    versions = f"torch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}"
    print(f"{torch.cuda.get_device_name()}, {versions}, {native.find_library('cuda')}")
    print(f"copy {rate / 1e9:.2f} TB/s, an empty kernel {1e3 * launch_ms():.1f} µs\n")
    print("| N | T | L | V | loss | ms | median | call | faster | ns/cell | bandwidth | floor | off by |")
    print("|" + "--:|" * 4 + ":--|" + "--:|" * 8)
    for size in options.sizes:
        for row in bench(size, options.losses, options.seconds, rate):
            print(row, flush=True)


if __name__ == "__main__":
    main()
