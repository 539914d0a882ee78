"""Recurrent layers on the CPU: the native library compared with torch's fused layers.

A layer is both directions of one cell over T frames of N utterances: input projection, recurrence and all gradients.
Both are first checked against the formulas, then timed in turn. torch's layer is torch.nn.RNN, GRU or LSTM on padded
input (its ReLU is not clipped); ours projects its input once for both directions, as Deep Speech 2 does. Times are CPU
time with one thread, wall-clock time with several; the fastest run counts.

    forward, both    ms of torch's layer and of ours, forward only and forward + backward, and the speed-up
    bf16             ours under autocast: ms of forward + backward, and the speed-up
    GF/s             rate of our recurrence alone, float32 and bf16: the products of forward, backward and the weight
                     gradient, without padding

    python native/bench/bench_rnn.py [--cells rnn-relu gru-tanh] [--threads 1] [--seconds 1] [--sizes 200x8x256]
"""

from __future__ import annotations

import ds2cli  # noqa: F401  # before torch, whose OpenMP threads read how to wait

# isort: split
import argparse
from collections.abc import Callable

import torch
from timing import time_interleaved
from torch import Tensor
from torch.nn.functional import linear

from ds2cli import native
from ds2cli.nn.rnn.cells import CELLS, Cell
from ds2cli.nn.rnn.recurrence import rnn_padded, rnn_torch

CELLS_TIMED = ["gru-tanh", "rnn-relu", "lstm-tanh"]
RECIPE_SIZES = ["200x6x256", "200x8x256", "200x16x192", "200x16x256", "200x16x320", "200x32x256", "60x16x256"]
PAPER_SIZES = ["100x8x256", "400x8x256", "100x32x256", "400x32x256", "100x8x1280", "400x8x1280", "100x32x1280"]
TORCH_LAYERS = {"rnn": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}


def gigaflops(cell: Cell, lengths: Tensor, H: int, ms: float) -> float:
    """GFLOP/s of three products of the state with the recurrent weights, in two directions, without padding."""
    return 3 * 2 * 2.0 * H * cell.gates * H * int(lengths.sum()) / ms / 1e6


def check_agreement(cell: Cell, gates: Tensor, recurrent: Tensor, lengths: Tensor, upstream: Tensor) -> None:
    """Raise AssertionError unless the gradients agree with the formulas in float64."""
    exact = [x.detach().double().requires_grad_() for x in (gates, recurrent)]
    ours = torch.autograd.grad(rnn_padded(cell, gates, recurrent, lengths), (gates, recurrent), upstream)
    expected = torch.autograd.grad(rnn_torch(cell, *exact, lengths), exact, upstream.double())
    for a, b in zip(ours, expected, strict=True):
        assert float((a - b).abs().max()) < 1e-4 * float(b.abs().max()), (
            "gradients differ from the reference: not timed"
        )


def bench(name: str, T: int, N: int, H: int, threads: int, seconds: float) -> str:
    """One row of the table."""
    torch.manual_seed(0)
    torch.set_num_threads(threads)
    kind, activation = name.split("-")
    cell = CELLS[kind, activation]
    lengths = torch.randint(T * 3 // 4, T + 1, (N,)).sort(descending=True).values
    lengths[0] = T
    torch_layer = TORCH_LAYERS[kind](
        H, H, bidirectional=True, **({"nonlinearity": activation} if kind == "rnn" else {})
    )
    x = torch.randn(T, N, H, requires_grad=True)
    weight, bias = torch_layer.weight_ih_l0.detach().requires_grad_(), torch_layer.bias_ih_l0.detach().requires_grad_()
    recurrent = torch.stack([torch_layer.weight_hh_l0, torch_layer.weight_hh_l0_reverse]).detach().requires_grad_()
    gates, upstream = linear(x, weight, bias).detach().requires_grad_(), torch.randn(2, T, N, H)
    check_agreement(cell, gates, recurrent, lengths, upstream)

    def layer() -> Tensor:
        return rnn_padded(cell, linear(x, weight, bias), recurrent, lengths)

    def in_bfloat16(work: Callable[[], object]) -> Callable[[], object]:
        def run() -> None:
            with torch.autocast("cpu", torch.bfloat16):
                work()

        return run

    def recurrence() -> None:
        torch.autograd.backward(rnn_padded(cell, gates, recurrent, lengths), upstream)

    torch_upstream = torch.randn(T, N, 2 * H)
    workloads = {
        "torch forward": lambda: torch_layer(x),
        "forward": layer,
        "torch": lambda: torch_layer(x)[0].backward(torch_upstream),
        "ds2": lambda: layer().backward(upstream),
        "bf16": in_bfloat16(lambda: layer().backward(upstream)),
        "recurrence": recurrence,
        "recurrence bf16": in_bfloat16(recurrence),
    }
    ms = {work: time.best for work, time in time_interleaved(workloads, seconds).items()}
    rates = [gigaflops(cell, lengths, H, ms[work]) for work in ("recurrence", "recurrence bf16")]
    cells = [
        *(f"{ms[work]:.1f}" for work in ("torch forward", "forward")),
        f"{ms['torch forward'] / ms['forward']:.1f} ×",
        *(f"{ms[work]:.1f}" for work in ("torch", "ds2")),
        f"{ms['torch'] / ms['ds2']:.1f} ×",
        f"{ms['bf16']:.1f}",
        f"{ms['torch'] / ms['bf16']:.1f} ×",
        *(f"{rate:.0f}" for rate in rates),
    ]
    return f"| {name} | {T} | {N} | {H} | {threads} | {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ["-".join(key) for key in CELLS]
    parser.add_argument("--cells", nargs="+", default=CELLS_TIMED, choices=names, help="cells to time")
    parser.add_argument("--threads", type=int, nargs="+", default=[1], help="thread counts to time")
    parser.add_argument("--seconds", type=float, default=1.0, help="time per measurement (s)")
    parser.add_argument(
        "--sizes",
        nargs="+",
        help="TxNxH, e.g. 200x8x256 [default: sizes of a recipe for GRUs, of the paper for other cells]",
    )
    options = parser.parse_args()
    print(native.describe_libraries().splitlines()[0])
    names = ["torch, forward", "ds2", "", "torch, both", "ds2", "", "bf16", "", "GF/s", "bf16"]
    print(f"| cell | T | N | H | threads | {' | '.join(names)} |\n|:--|{'--:|' * (len(names) + 4)}")
    for threads in options.threads:
        for name in options.cells:
            for size in options.sizes or (RECIPE_SIZES if name.startswith("gru") else PAPER_SIZES):
                T, N, H = map(int, size.split("x"))
                print(bench(name, T, N, H, threads, options.seconds), flush=True)


if __name__ == "__main__":
    main()
