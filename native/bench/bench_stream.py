"""Products and recurrences of a network that listens as it goes: packed matrices compared with torch's products.

A row of the first table is a product with few rows: 3 or 4 of a chunk of 100 ms of one stream, 30 of ten streams. ds2
multiplies a packed matrix (`ds2_matrix_apply`, with bias and clipped ReLU) in its three formats; torch runs `linear` in
float32 and bfloat16, and its dynamically quantised layer (int8 weights, 8-bit activations), each with a clamp. A row of
the second table is a recurrent layer over a chunk: `ds2_rnn_advance` in three formats, and `ds2_rnn_forward`, the
layer of training, which packs its weights in every call. Every workload goes round as many matrices as fill a network
of 6 MB in float32, as its layers push each other out of the nearest cache. Products are first checked against
float64. Times are us per matrix or layer of one thread, the fastest run.

    gain             ds2 in float32, divided by this format
    torch / ds2      the fastest of torch's three, divided by the fastest of ds2
    error            largest difference from float64, divided by the largest output: float32, bfloat16, int8

    python native/bench/bench_stream.py [--seconds 1] [--shapes 256x1771 448x448] [--rows 3 4] [--streams 1 10]
"""

from __future__ import annotations

import ds2cli  # noqa: F401  # before torch, whose OpenMP threads read how to wait

# isort: split
import argparse
import ctypes
import warnings
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from timing import time_interleaved
from torch.nn.functional import linear

from ds2cli import native
from ds2cli.nn.rnn.cells import CELLS

SHAPES = ["256x1771", "256x1280", "448x256", "448x448", "2560x2560"]
LAYERS = [("rnn-relu", 448, 3), ("gru-tanh", 256, 3), ("rnn-relu", 2560, 3)]
"""Cell, units and steps per chunk."""
NETWORK_BYTES = 6_000_000
CLIP = 20.0

Floats = NDArray[np.float32]


def aligned(size: int) -> NDArray[np.uint8]:
    """A buffer of `size` bytes that starts at a cache line."""
    buffer = np.zeros(size + 64, np.uint8)
    start = -buffer.ctypes.data % 64
    return buffer[start : start + size]


class Matrix:
    """A packed matrix (J, K), with its workspace for up to M rows."""

    def __init__(self, weights: Floats, weight_format: str, M: int) -> None:
        self.library, self.M = native.load_library(), M
        self.shape = native.MatrixShape(native.WEIGHTS.index(weight_format), *weights.shape)
        packed, workspace = ctypes.c_size_t(), ctypes.c_size_t()
        self.library.ds2_matrix_sizes(self.shape, M, packed, workspace)
        self.packed, self.workspace = aligned(packed.value), aligned(workspace.value)
        self.library.ds2_matrix_pack(self.shape, weights.ctypes.data, self.packed.ctypes.data)

    def product(self, x: Floats, bias: Floats) -> tuple[Callable[[], object], Floats]:
        """A call that computes clipped-ReLU(x Wᵀ + bias), x: (M, K), and its output (M, J)."""
        rows = x.ctypes.data + np.arange(len(x), dtype=np.int64) * x.strides[0]
        y = np.zeros((len(x), self.shape.J), np.float32)
        arguments = (
            *(ctypes.byref(self.shape), self.packed.ctypes.data, bias.ctypes.data, 1, len(x), rows.ctypes.data),
            *(y.ctypes.data, self.workspace.ctypes.data, self.workspace.size),
        )
        keep = (rows, y)  # their addresses are in use
        return lambda: (self.library.ds2_matrix_apply(*arguments), keep), y

    def advance(self, cell: int, gates: Floats, state: Floats) -> tuple[Callable[[], object], Floats]:
        """A call that advances N streams, gates: (N, T, GH), state: (N, S, H), and its output (N, T, H)."""
        N, T, _ = gates.shape
        h = np.zeros((N, T, self.shape.K), np.float32)
        lengths = np.full(N, T, np.int32)
        pointers = [a.ctypes.data + np.arange(N, dtype=np.int64) * a.strides[0] for a in (gates, state, h)]
        arguments = (
            *(ctypes.byref(self.shape), cell, self.packed.ctypes.data, N, lengths.ctypes.data),
            *(p.ctypes.data for p in pointers),
            *(self.workspace.ctypes.data, self.workspace.size),
        )
        keep = (lengths, pointers, state, h)
        return lambda: (self.library.ds2_rnn_advance(*arguments), keep), h


def in_turn(calls: list[Callable[[], object]]) -> Callable[[], None]:
    """One call after the other."""

    def run() -> None:
        for call in calls:
            call()

    return run


def linear_relu(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Clipped-ReLU(x Wᵀ + bias)."""
    return linear(x, weight, bias).clamp_(0, CLIP)


def bench_product(J: int, K: int, M: int, seconds: float) -> str:
    """One row of the table of products."""
    rng = np.random.default_rng(0)
    count = max(1, round(NETWORK_BYTES / (4 * J * K)))
    weights = [rng.standard_normal((J, K), np.float32) / np.float32(K**0.5) for _ in range(count)]
    x, bias = rng.standard_normal((M, K), np.float32), rng.standard_normal(J, np.float32)
    exact = (x.astype(np.float64) @ weights[0].T.astype(np.float64) + bias).clip(0, CLIP)
    workloads: dict[str, Callable[[], object]] = {}
    errors = []
    for weight_format in native.WEIGHTS:
        calls = [Matrix(w, weight_format, M).product(x, bias) for w in weights]
        calls[0][0]()
        errors.append(float(abs(calls[0][1] - exact).max() / exact.max()))
        workloads[weight_format] = in_turn([call for call, _ in calls])
    assert errors[0] < 1e-5 and errors[1] < 2e-2 and errors[2] < 2e-2, f"products differ from float64: {errors}"
    single, b = torch.from_numpy(x), torch.from_numpy(bias)
    half, half_b = single.bfloat16(), b.bfloat16()
    layers = [torch.nn.Linear(K, J) for _ in weights]
    for layer, w in zip(layers, weights, strict=True):
        layer.load_state_dict({"weight": torch.from_numpy(w), "bias": b})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantised = [
            torch.ao.quantization.quantize_dynamic(
                torch.nn.Sequential(layer, torch.nn.Hardtanh(0, CLIP)), dtype=torch.qint8
            )
            for layer in layers
        ]
    singles = [torch.from_numpy(w) for w in weights]
    halves = [w.bfloat16() for w in singles]
    workloads["torch float32"] = in_turn([partial(linear_relu, single, w, b) for w in singles])
    workloads["torch bfloat16"] = in_turn([partial(linear_relu, half, w, half_b) for w in halves])
    workloads["torch int8"] = in_turn([partial(layer, single) for layer in quantised])
    with torch.inference_mode():
        times = time_interleaved(workloads, seconds)
    us = {name: 1e3 * time.best / count for name, time in times.items()}
    ours, theirs = list(us.values())[:3], list(us.values())[3:]
    cells = [
        *(f"{value:.1f}" for value in ours),
        *(f"{ours[0] / value:.2f} ×" for value in ours[1:]),
        *(f"{value:.1f}" for value in theirs),
        f"{min(theirs) / min(ours):.1f} ×",
        " / ".join(f"{error:.0e}" for error in errors),
    ]
    return f"| {J} × {K} | {M} | {' | '.join(cells)} |"


def bench_recurrence(name: str, H: int, T: int, N: int, seconds: float) -> str:
    """One row of the table of recurrences."""
    rng = np.random.default_rng(0)
    kind, activation = name.split("-")
    cell = CELLS[kind, activation]
    index = cell.code
    J = cell.gates * H
    count = max(1, round(NETWORK_BYTES / (4 * J * H)))
    weights = [rng.standard_normal((J, H), np.float32) / np.float32(H**0.5) for _ in range(count)]
    gates = rng.standard_normal((N, T, J), np.float32)
    workloads: dict[str, Callable[[], object]] = {}
    for weight_format in native.WEIGHTS:
        states = [np.zeros((N, cell.states, H), np.float32) for _ in weights]
        matrices = [Matrix(w, weight_format, N) for w in weights]
        calls = [m.advance(index, gates, state)[0] for m, state in zip(matrices, states, strict=True)]
        workloads[weight_format] = in_turn(calls)
    workloads["forward"] = in_turn([forward(index, cell.states, w, gates) for w in weights])
    us = [1e3 * time.best / count for time in time_interleaved(workloads, seconds).values()]
    cells = [*(f"{value:.1f}" for value in us[:3]), *(f"{us[0] / value:.2f} ×" for value in us[1:3]), f"{us[3]:.1f}"]
    return f"| {name} | {H} | {T} | {N} | {' | '.join(cells)} |"


def forward(cell: int, states: int, recurrent: Floats, gates: Floats) -> Callable[[], object]:
    """A call of the layer of training, in float32."""
    N, T, _ = gates.shape
    H = recurrent.shape[1]
    library, shape = native.load_library(), native.RnnShape(cell, 1, T, N, T * N, H)
    sizes = [ctypes.c_size_t() for _ in range(3)]
    library.ds2_rnn_sizes(shape, 1, *sizes)
    x = np.ascontiguousarray(gates.transpose(1, 0, 2))
    arrays = [x, recurrent, np.full(N, T, np.int32), np.zeros((states, N, H), np.float32)]
    arrays += [np.zeros((T, N, H), np.float32), np.zeros((states, N, H), np.float32)]
    workspace = aligned(sizes[1].value)
    pointers = [*(a.ctypes.data for a in arrays), None, workspace.ctypes.data, workspace.size, 1, native.FLOAT32]
    keep = (arrays, workspace)  # their addresses are in use
    return lambda: (library.ds2_rnn_forward(ctypes.byref(shape), *pointers), keep)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.0, help="time per measurement (s)")
    parser.add_argument("--shapes", nargs="+", default=SHAPES, help="JxK: outputs and inputs of the matrices")
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 3, 4, 30], help="rows of a product")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 10], help="streams of a recurrence")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(native.describe_libraries().splitlines()[0].split(", ")[-1])
    names = [
        "float32",
        "bfloat16",
        "int8",
        "bf16 gain",
        "int8 gain",
        "torch float32",
        "bfloat16",
        "int8",
        "torch / ds2",
    ]
    print(f"| matrix | rows | {' | '.join(names)} | error |\n|:--|{'--:|' * (len(names) + 2)}")
    for shape in options.shapes:
        J, K = map(int, shape.split("x"))
        for M in options.rows:
            print(bench_product(J, K, M, options.seconds), flush=True)
    names = ["float32", "bfloat16", "int8", "bf16 gain", "int8 gain", "ds2_rnn_forward"]
    print(f"\n| cell | H | steps | streams | {' | '.join(names)} |\n|:--|{'--:|' * (len(names) + 3)}")
    for name, H, T in LAYERS:
        for N in options.streams:
            print(bench_recurrence(name, H, T, N, options.seconds), flush=True)


if __name__ == "__main__":
    main()
