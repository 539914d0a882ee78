"""The native GRU beside torch's: the same layer, checked to agree, then timed.

A layer is both directions of one GRU over T frames of N utterances: input projection, recurrence, and the gradients of
everything. torch's runs on padded input; ours projects once for both directions, as Deep Speech 2 does. GFLOP/s counts
the products of the recurrence alone (forward, backward and the gradient of its weights), padding left out. One thread
is timed by the processor's clock, which others on the machine disturb less, and several by the wall's.

    fwd, both   the recurrence in float32: forward; forward and backward    bf16   the same under autocast
    torch   torch.nn.GRU, forward and backward    layer, bf16   ours, projection included, in float32 and bfloat16

    python native/bench/bench_gru.py [--threads 1 2] [--seconds 1]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor

from ds2cli import native
from ds2cli.nn.recurrent import gru, gru_torch

SIZES = [(200, 6, 256), (200, 8, 256), (200, 16, 192), (200, 16, 256), (200, 16, 320), (200, 32, 256), (60, 16, 256)]


def best_ms(work: Callable[[], object], seconds: float) -> float:
    """The quickest of the runs that fit into `seconds`, at least three; the first, which warms up, is left out."""
    work()
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = clock()
        work()
        times.append(clock() - start)
    return 1e3 * min(times)


def gigaflops(lengths: Tensor, H: int, products: int, ms: float) -> float:
    """Rate of `products` products of the state with the recurrent weights in each direction, padding not counted."""
    return products * 2 * 2.0 * H * 3 * H * int(lengths.sum()) / ms / 1e6


def bench(T: int, N: int, H: int, threads: int, seconds: float) -> str:
    """One line of the table."""
    torch.manual_seed(0)
    torch.set_num_threads(threads)
    lengths = torch.randint(T * 3 // 4, T + 1, (N,)).sort(descending=True).values
    lengths[0] = T
    stock = torch.nn.GRU(H, H, bidirectional=True)
    x = torch.randn(T, N, H, requires_grad=True)
    weight, bias = stock.weight_ih_l0.detach().requires_grad_(), stock.bias_ih_l0.detach().requires_grad_()
    recurrent = torch.stack([stock.weight_hh_l0, stock.weight_hh_l0_reverse]).detach().requires_grad_()
    gates = torch.nn.functional.linear(x, weight, bias).detach().requires_grad_()
    seed = torch.randn(2, T, N, H)

    ours = torch.autograd.grad((gru(gates, recurrent, lengths) * seed).sum(), (gates, recurrent))
    plain = torch.autograd.grad((gru_torch(gates, recurrent, lengths) * seed).sum(), (gates, recurrent))
    for a, b in zip(ours, plain, strict=True):
        assert float((a - b).abs().max()) < 1e-4 * float(b.abs().max()), "the gradients differ: nothing to time"

    def recurrence() -> None:
        torch.autograd.backward(gru(gates, recurrent, lengths), seed)

    def layer() -> None:
        projected = torch.nn.functional.linear(x, weight, bias)
        torch.autograd.backward(gru(projected, recurrent, lengths), seed)

    stock_seed = torch.randn(T, N, 2 * H)
    torch_ms = best_ms(lambda: stock(x)[0].backward(stock_seed), seconds)
    layer_ms, both_ms = best_ms(layer, seconds), best_ms(recurrence, seconds)
    forward_ms = best_ms(lambda: gru(gates, recurrent, lengths), seconds)
    with torch.autocast("cpu", torch.bfloat16):
        quick_layer_ms, quick_ms = best_ms(layer, seconds), best_ms(recurrence, seconds)
    rates = [
        gigaflops(lengths, H, 1, forward_ms),
        gigaflops(lengths, H, 3, both_ms),
        gigaflops(lengths, H, 3, quick_ms),
    ]
    figures = [forward_ms, both_ms, rates[0], rates[1], quick_ms, rates[2], torch_ms, layer_ms, quick_layer_ms]
    faster = f"{torch_ms / layer_ms:7.2f}x {torch_ms / quick_layer_ms:7.2f}x"
    return " ".join([f"{T:4d} {N:3d} {H:4d} {threads:7d}", *(f"{x:8.1f}" for x in figures), faster])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="thread counts to time")
    parser.add_argument("--seconds", type=float, default=1.0, help="time for one figure (s)")
    options = parser.parse_args()
    print(native.describe())
    names = ["fwd ms", "both ms", "fwd GF/s", "both", "bf16 ms", "GF/s", "torch ms", "layer", "bf16"]
    print("   T   N    H threads " + " ".join(f"{name:>8}" for name in [*names, "faster", "bf16"]))
    for threads in options.threads:
        for T, N, H in SIZES:
            print(bench(T, N, H, threads, options.seconds), flush=True)


if __name__ == "__main__":
    main()
