"""CTC loss and gradient from logits on a GPU: the native library compared with torch and cuDNN.

All losses are first checked against float64, then timed. Times are the device's, measured by events with a full queue,
so that Python's time between kernels does not count unless a loss itself waits for the device; `call` is wall-clock
time per call in a loop, including Python. Prints a table in Markdown:

    N, T, L, V    utterances, frames of the longest, labels of the longest, symbols; utterances have 60 to 100 % of T
                  frames, or all of them T if marked `all` (only then does torch use cuDNN's older, faster interface)
    ms, median    fastest and median run                    call       ms per call, as in a training loop
    speed-up      over torch's own kernels                  ns/cell    per trellis cell (2 L + 1 per frame), both passes
    bandwidth     bytes that must be moved (logits read twice, gradient written once) per second, relative to a copy
    floor         ms for the longest utterance alone: its frames depend on each other, so no batch can be faster
    max error     of the gradient, compared with float64

    python native/bench/bench_ctc_cuda.py [--sizes 64x400x100x29] [--losses torch ds2] [--seconds 1]
"""

from __future__ import annotations

import argparse
import statistics
import textwrap
import time
from collections.abc import Callable, Iterator

import torch
from bench_ctc import parse_size
from ctc_losses import (
    Batch,
    Size,
    Step,
    check_agreement,
    compute_reference,
    cudnn_loss,
    ds2_loss,
    make_batch,
    max_gradient_error,
    torch_loss,
)
from timing import Timing

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
LOSSES: dict[str, Callable[[Batch], Step]] = {
    "torch": torch_loss,
    "ds2": ds2_loss,
    "ds2, bfloat16": lambda batch: ds2_loss(batch, torch.bfloat16),
    "cuDNN": cudnn_loss,
}
BUSY_CYCLES = 4_000_000
"""Cycles (about 2 ms) for which the device is kept busy while the next call is queued."""


def device_times(work: Callable[[], object], seconds: float) -> Timing:
    """Device times of a workload for about `seconds`, at least five runs after two that warm up."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 7 or time.perf_counter() < end:
        start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda._sleep(BUSY_CYCLES)
        start.record()
        work()
        stop.record()
        stop.synchronize()
        times.append(start.elapsed_time(stop))
    return Timing(min(times[2:]), statistics.median(times[2:]))


def measure_call_ms(work: Callable[[], object], runs: int = 30) -> float:
    """Wall-clock time per call of many calls, with one wait for the device at the end (ms)."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(runs):
        work()
    torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - start) / runs


def measure_copy_rate() -> float:
    """Bytes read and written per millisecond by a copy of 1 GiB within the device."""
    source = torch.zeros(2**30, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * source.numel() / device_times(lambda: target.copy_(source), 0.5).best


def measure_launch_ms() -> float:
    """Device time per kernel of many almost empty kernels (ms)."""
    scalar = torch.zeros(1, device="cuda")

    def launch_many() -> None:
        for _ in range(100):
            scalar.add_(1)

    return device_times(launch_many, 0.2).best / 100


def bytes_moved(batch: Batch, width: int) -> int:
    """Bytes that any implementation must move: logits within the lengths read twice, all gradients written."""
    V = batch.logits.shape[2]
    return width * (2 * V * int(batch.input_lengths.sum()) + batch.logits.numel())


def longest_utterance(batch: Batch) -> Batch:
    """The longest utterance, which is the first, as a batch."""
    return Batch(batch.logits[:, :1].contiguous(), *(x[:1] for x in batch[1:]))


def bench(size: Size, losses: list[str], seconds: float, rate: float) -> Iterator[str]:
    """The table rows of one size. losses: names in LOSSES; rate: of a copy (bytes/ms)."""
    batch = make_batch(size).to("cuda")
    costs, gradient = compute_reference(batch)
    check_agreement(batch, costs, gradient)
    torch_time = device_times(torch_loss(batch), seconds)
    for name in losses:
        make_step = LOSSES[name]
        try:
            step = make_step(batch)
            max_error = max_gradient_error(step()[1], gradient)
            own_time = torch_time if name == "torch" else device_times(step, seconds)
            floor = device_times(make_step(longest_utterance(batch)), seconds / 4).best
        except RuntimeError as error:
            yield f"{size}| {name:14} | not timed: {textwrap.shorten(str(error), 80)} |"
            continue
        share = bytes_moved(batch, 2 if "bfloat16" in name else 4) / own_time.best / rate
        speed_up = f"{torch_time.best / own_time.best:5.1f} ×"
        times = f"{own_time.best:8.3f} | {own_time.median:8.3f} | {measure_call_ms(step):8.3f} | {speed_up}"
        derived = f"{1e6 * own_time.best / batch.cells:7.3f} | {100 * share:5.1f} % | {floor:8.3f}"
        yield f"{size}| {name:14} | {times} | {derived} | {max_error:7.0e} |"


def main() -> None:
    """Print the table, or why nothing can be measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=parse_size, nargs="+", default=SIZES, metavar="NxTxLxV", help="batches to time")
    parser.add_argument("--losses", nargs="+", choices=LOSSES, default=list(LOSSES), help="losses to time")
    parser.add_argument("--seconds", type=float, default=1.0, help="time per measurement (s)")
    options = parser.parse_args()
    if not torch.cuda.is_available() or not native.available("cuda"):
        reason = native.unavailable_reason("cuda") if torch.cuda.is_available() else "torch finds no device"
        print(f"CUDA: nothing measured, {reason}")
        return
    rate = measure_copy_rate()
    versions = f"torch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}"
    print(f"{torch.cuda.get_device_name()}, {versions}")
    print(f"copy {rate / 1e9:.2f} TB/s, an empty kernel {1e3 * measure_launch_ms():.1f} µs\n")
    print("| N | T | L | V | loss | ms | median | call | speed-up | ns/cell | bandwidth | floor | max error |")
    print("|" + "--:|" * 4 + ":--|" + "--:|" * 8)
    for size in options.sizes:
        for row in bench(size, options.losses, options.seconds, rate):
            print(row, flush=True)


if __name__ == "__main__":
    main()
