"""The native recurrences beside torch's fused layers: the same layer, checked against its formulas, then timed in turn.

A layer is both directions of one cell over T frames of N utterances: input projection, recurrence, and the gradients of
everything. torch's is torch.nn.RNN, GRU or LSTM on padded input (its ReLU has no clip); ours projects once for both
directions, as Deep Speech 2 does. GFLOP/s counts the products of the recurrence alone (forward, backward and the
gradient of its weights), padding left out. One thread is timed by the processor's clock, several by the wall's; the
quickest run counts, and torch is timed once for a cell with tanh and with relu where it has but one.

    forward, both    ms of torch's layer and of ours, forward alone and forward + backward; then the ratio
    bf16             ours under autocast: ms of both, the ratio    GF/s  rate of our recurrence alone, float32 and bf16

    python native/bench/bench_rnn.py [--cells rnn-relu gru-tanh] [--threads 1] [--seconds 1] [--sizes 200x8x256]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from timing import in_turn
from torch import Tensor
from torch.nn.functional import linear

from ds2cli import native
from ds2cli.nn.rnn.cells import CELLS, Cell
from ds2cli.nn.rnn.recurrence import rnn_padded, rnn_torch

SIZES = ["200x6x256", "200x8x256", "200x16x192", "200x16x256", "200x16x320", "200x32x256", "60x16x256"]
PAPER = ["100x8x256", "400x8x256", "100x32x256", "400x32x256", "100x8x1280", "400x8x1280", "100x32x1280"]
STOCK = {"rnn": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}


def gigaflops(cell: Cell, lengths: Tensor, H: int, ms: float) -> float:
    """Rate of three products of the state with the recurrent weights in each of two directions, padding not counted."""
    return 3 * 2 * 2.0 * H * cell.gates * H * int(lengths.sum()) / ms / 1e6


def agree(cell: Cell, gates: Tensor, recurrent: Tensor, lengths: Tensor, seed: Tensor) -> None:
    """Raise AssertionError unless the gradients are those of the formulas in float64."""
    wide = [x.detach().double().requires_grad_() for x in (gates, recurrent)]
    ours = torch.autograd.grad(rnn_padded(cell, gates, recurrent, lengths), (gates, recurrent), seed)
    plain = torch.autograd.grad(rnn_torch(cell, *wide, lengths), wide, seed.double())
    for a, b in zip(ours, plain, strict=True):
        assert float((a - b).abs().max()) < 1e-4 * float(b.abs().max()), "the gradients differ: nothing to time"


def bench(name: str, T: int, N: int, H: int, threads: int, seconds: float) -> str:
    """One line of the table."""
    torch.manual_seed(0)
    torch.set_num_threads(threads)
    kind, activation = name.split("-")
    cell = CELLS[kind, activation]
    lengths = torch.randint(T * 3 // 4, T + 1, (N,)).sort(descending=True).values
    lengths[0] = T
    stock = STOCK[kind](H, H, bidirectional=True, **({"nonlinearity": activation} if kind == "rnn" else {}))
    x = torch.randn(T, N, H, requires_grad=True)
    weight, bias = stock.weight_ih_l0.detach().requires_grad_(), stock.bias_ih_l0.detach().requires_grad_()
    recurrent = torch.stack([stock.weight_hh_l0, stock.weight_hh_l0_reverse]).detach().requires_grad_()
    gates, seed = linear(x, weight, bias).detach().requires_grad_(), torch.randn(2, T, N, H)
    agree(cell, gates, recurrent, lengths, seed)

    def layer() -> Tensor:
        return rnn_padded(cell, linear(x, weight, bias), recurrent, lengths)

    def quick(work: Callable[[], object]) -> Callable[[], object]:
        def run() -> None:
            with torch.autocast("cpu", torch.bfloat16):
                work()

        return run

    def recurrence() -> None:
        torch.autograd.backward(rnn_padded(cell, gates, recurrent, lengths), seed)

    stock_seed = torch.randn(T, N, 2 * H)
    works = {
        "torch forward": lambda: stock(x),
        "forward": layer,
        "torch": lambda: stock(x)[0].backward(stock_seed),
        "ours": lambda: layer().backward(seed),
        "bf16": quick(lambda: layer().backward(seed)),
        "recurrence": recurrence,
        "recurrence bf16": quick(recurrence),
    }
    ms = {work: time.best for work, time in in_turn(works, seconds).items()}
    rates = [gigaflops(cell, lengths, H, ms[work]) for work in ("recurrence", "recurrence bf16")]
    cells = [
        *(f"{ms[work]:.1f}" for work in ("torch forward", "forward")),
        f"{ms['torch forward'] / ms['forward']:.1f} ×",
        *(f"{ms[work]:.1f}" for work in ("torch", "ours")),
        f"{ms['torch'] / ms['ours']:.1f} ×",
        f"{ms['bf16']:.1f}",
        f"{ms['torch'] / ms['bf16']:.1f} ×",
        *(f"{rate:.0f}" for rate in rates),
    ]
    return f"| {name} | {T} | {N} | {H} | {threads} | {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ["-".join(key) for key in CELLS]
    parser.add_argument("--cells", nargs="+", default=["gru-tanh", "rnn-relu", "lstm-tanh"], choices=names)
    parser.add_argument("--threads", type=int, nargs="+", default=[1], help="thread counts to time")
    parser.add_argument("--seconds", type=float, default=1.0, help="time for one figure (s)")
    parser.add_argument("--sizes", nargs="+", help="TxNxH [default: a recipe's for the GRU, the paper's for others]")
    options = parser.parse_args()
    print(native.describe_libraries().splitlines()[0])
    names = ["torch, forward", "ours", "", "torch, both", "ours", "", "bf16", "", "GF/s", "bf16"]
    print(f"| cell | T | N | H | threads | {' | '.join(names)} |\n|:--|{'--:|' * (len(names) + 4)}")
    for threads in options.threads:
        for name in options.cells:
            for size in options.sizes or (SIZES if name.startswith("gru") else PAPER):
                T, N, H = map(int, size.split("x"))
                print(bench(name, T, N, H, threads, options.seconds), flush=True)


if __name__ == "__main__":
    main()
