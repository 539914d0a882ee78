"""Estimate a training run on a GPU that is not there, by arithmetic from its data sheet and the layers of the network.

B batches; N utterances, T frames, M valid frames of a batch on one GPU.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ds2cli.config.plan import Gpu
from ds2cli.config.train import TrainConfig
from ds2cli.stages.plan_layers import LayerCost, Products
from ds2cli.train.batch_plan import Batches
from ds2cli.train.batching import plan_batches

Floats = NDArray[np.float64]

SHARES = {
    "matmul": (0.85, 0.6),
    "float32": (0.85, 0.85),
    "rnn": (0.85, 0.6),
    "conv": (0.6, 0.25),
    "conv of one map": (0.55, 0.01),
}
"""Shares of the peak, in float32 and with tensor cores, that products reach: of linear layers and of recurrent ones, of
those that stay in float32, and of convolutions. In DeepBench's table of the V100 (results/train) large products reach
0.8 to 0.95 and 0.6 to 0.75, those of its second speech convolution 0.65 and 0.24 in the mean of forward and backward,
and those of the first one, with one input map, 0.58 and 0.01."""

SMALL_ARITHMETIC = 0.5
"""Share of the peak that the products of single frames reach."""

BANDWIDTH = 0.65
"""Share of the memory bandwidth that kernels reach."""

CACHE_SPEED = 3.0
"""How many times as fast the level-2 cache is read as the memory."""

LAUNCH_S = 5e-6
"""Seconds from one kernel to the next that depends on it."""

KERNELS_FUSED = 4
"""Kernels in a row per frame of a recurrence in cuDNN: DeepBench's GRUs take 20 us per frame besides the weights."""

CUDNN_S = 1.5e-3
"""Seconds of a recurrence in cuDNN besides its frames, forward and again backward (DeepBench: short ones)."""

CALL_S = 10e-6
"""Seconds that a torch call takes on the CPU, which small kernels wait for: Braun (arXiv 1806.01818) has 0.305 s for
1000 frames of an LSTM in a Python loop, with some 30 calls per frame."""

LAYER_CALLS = 40
"""Torch calls per layer and batch outside of recurrences, forward and backward."""

CTC_STEP_S = 20e-6
"""Seconds of the CTC loss and its gradient per step: warp-ctc's table has 3.3 ms for 150 steps."""

NVLINK, PCI_EXPRESS = 0.35, 0.12
"""Shares of the link's rate, both directions together, at which gradients are summed. By table 7 of the paper, 4 and 8
GPUs summed them at 5.1 and 3.1 GB/s over PCI Express, with 32 GB/s."""

SLOWEST_NVLINK = 100
"""GB/s; links below are PCI Express."""

GPUS_PER_MACHINE = 8
NETWORK = 5.0
"""GB/s at which gradients are summed between machines: 0.4 of 100 Gb/s, as with the paper's 56 Gb/s (table 7)."""


class Shapes(NamedTuple):
    """Batches on one GPU, (B,) each: utterances, frames of the longest one, valid frames."""

    utterances: Floats
    longest: Floats
    frames: Floats


class Machine(NamedTuple):
    """What computes: the GPUs, and the precision of matrix products."""

    gpu: Gpu
    gpus: int
    precision: str

    @property
    def size(self) -> int:
        """Bytes of an activation and of a weight as factors of products."""
        return 4 if self.precision == "float32" else 2

    def rate(self, unit: str, share: float | None = None) -> float:
        """FLOP/s of products (`Products.unit`): a share of the peak, that of large ones unless it is given."""
        kind = "float32" if unit == "float32" else self.precision
        if kind == "float32" and unit not in ("float32", "matmul") and self.gpu.tf32 is not None:
            # torch lets cuDNN round to TF32, but not linear layers
            kind = "tf32"
        return (share or SHARES[unit][kind != "float32"]) * self.gpu.peak(kind) * 1e12

    @property
    def link(self) -> float:
        """Bytes per second at which gradients are summed over the GPUs."""
        rate = self.gpu.link * (NVLINK if self.gpu.link >= SLOWEST_NVLINK else PCI_EXPRESS)
        return 1e9 * (min(rate, NETWORK) if self.gpus > GPUS_PER_MACHINE else rate)


def share_batches(sizes: Floats, longest: Floats, frames: Floats, processes: int) -> Shapes:
    """The part of each batch that one of the processes computes: every n-th utterance."""
    utterances = np.ceil(sizes / processes)
    return Shapes(utterances, longest, np.minimum(frames / processes, utterances * longest))


def time_batches(layers: list[LayerCost], machine: Machine, shapes: Shapes) -> Floats:
    """Seconds of the gradients of each batch on one GPU, (B,)."""
    seconds = np.zeros(len(shapes.frames))
    for layer in layers:
        steps = np.ceil(shapes.longest / layer.stride)
        rows = np.maximum(shapes.frames / layer.stride, 1)
        padded = steps * shapes.utterances
        for products in layer.products:
            seconds += product_seconds(products, machine, padded if products.padded else rows)
        seconds += layer.accesses * rows * machine.size / (BANDWIDTH * machine.gpu.bandwidth * 1e9)
        seconds += LAYER_CALLS * CALL_S
        if layer.recurrence is not None:
            seconds += recurrence_seconds(layer, machine, steps, rows / steps)
    return seconds + CTC_STEP_S * np.ceil(shapes.longest / layers[-1].stride)


def time_step(parameters: int, machine: Machine, train: TrainConfig) -> float:
    """Seconds of the sum of gradients over the GPUs, of clipping and of the optimizer."""
    states = (2 if train.optim.method == "adamw" else 1) + (train.optim.ema > 0)
    # gradients are scaled, their norm is taken, they are clipped; weights and states are read and written
    accesses = 2 + 1 + 2 + 1 + 2 * (1 + states)
    casts = 0 if machine.precision == "float32" else 6 * parameters
    memory = (4 * accesses * parameters + casts) / (BANDWIDTH * machine.gpu.bandwidth * 1e9)
    # as in a ring (paper §4.1)
    moved = 2 * 4 * parameters * (machine.gpus - 1) / machine.gpus
    return memory + moved / machine.link


def product_seconds(products: Products, machine: Machine, rows: Floats) -> Floats:
    """Seconds of the products of a layer with this many output steps (B,), forward and backward."""
    flops = 2 * products.macs * products.passes * (np.ones(len(rows)) if products.once else rows)
    return flops / machine.rate(products.unit)


def recurrence_seconds(layer: LayerCost, machine: Machine, steps: Floats, rows: Floats) -> Floats:
    """Seconds of a recurrence, whose frames wait for each other; backward makes a product of the same size.

    steps: (B,) frames of the longest utterance. rows: (B,) utterances per frame, on average.
    """
    recurrence = layer.recurrence
    assert recurrence is not None
    weights = float(recurrence.gates * recurrence.size**2)
    kind = "rnn" if recurrence.fused else "matmul"
    arithmetic = 2 * weights * rows / machine.rate(kind, SMALL_ARITHMETIC)
    cached = weights * recurrence.directions * machine.size <= machine.gpu.cache * 1e6
    speed = machine.gpu.bandwidth * 1e9 * (CACHE_SPEED if cached else 1.0)
    product = np.maximum(arithmetic, weights * machine.size / (BANDWIDTH * speed))
    if recurrence.fused:
        frame = recurrence.directions * (KERNELS_FUSED * LAUNCH_S + product)
        return 2 * (CUDNN_S + frame * steps)
    # both directions are one product, and the CPU prepares a call while the GPU computes the one before
    busy = recurrence.directions * product + 4 * LAUNCH_S
    forward, backward = (np.maximum(calls * CALL_S, busy) for calls in recurrence.calls)
    return (forward + backward) * steps


def spread_lengths(count: int, mean: float, longest: float) -> NDArray[np.int32]:
    """Frames of `count` utterances (in order of length) of this mean and maximum: longest · u^k, u even in 0..1.

    With longest = 2 mean, all lengths up to the longest are equally frequent.
    """
    power = max(longest / mean - 1, 0.0)
    positions = (np.arange(count) + 0.5) / count
    lengths = longest * positions**power
    frames: NDArray[np.int32] = np.maximum(np.round(lengths * mean / lengths.mean()), 1).astype(np.int32)
    return frames


def plan_lengths(lengths: NDArray[np.int32], config: TrainConfig, hop_ms: float) -> tuple[Floats, Floats, Floats]:
    """Utterances, longest frames and valid frames of the batches of epoch 2, (B,) each, as training plans them."""
    frames = round(config.batch_s * 1000 / hop_ms)
    batches = plan_batches(lengths, frames, config.seed, 1, max_utterances=config.batch_utts)
    return measure_batches(batches, lengths)


def measure_batches(batches: Batches, lengths: NDArray[np.int32]) -> tuple[Floats, Floats, Floats]:
    """Utterances, longest frames and valid frames of batches, (B,) each."""
    starts = np.concatenate([[0], batches.ends[:-1]])
    totals = np.add.reduceat(lengths[batches.order].astype(np.float64), starts)[batches.turn]
    return batches.sizes.astype(np.float64), lengths[batches.longest].astype(np.float64), totals
