"""Estimate the memory of a training step on a GPU: what autograd keeps of each layer, weights, gradients, optimizer.

The counts follow nn/layers.py and nn/rnn; tests/stages/test_plan_memory.py compares them with the tensors that torch
keeps. H units, G gates, D directions.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ds2cli.config.train import TrainConfig
from ds2cli.nn.layers import Conv1d, Conv2d, Dense, Recurrent, RowConv
from ds2cli.nn.network import make_network
from ds2cli.nn.norm import SequenceNorm
from ds2cli.stages.model import NetworkSpec

Number = TypeVar("Number", float, NDArray[np.float64])

CONTEXT_BYTES = 0.8e9
"""CUDA's context and the workspaces of its libraries."""

FRAGMENTATION = 1.1
"""Memory that torch reserves for each byte in use."""

SPARE = 0.93
"""Share of the memory of a GPU that a process can have: error correction and the driver take the rest."""

MASK_BYTES = 1
"""Bytes that dropout keeps of an element, on a GPU."""

LABELS_PER_FRAME = 0.15
"""Labels per frame of 10 ms: 15 characters per second (paper, footnote 2: English has 14.1)."""


class Kept(NamedTuple):
    """Bytes that autograd keeps of a batch.

    per_row: of each valid step of a layer's output; per_padded: of each step, padding included; per_step: of each step
    of the batch, whatever its utterances. stride: frames per step.
    """

    stride: int
    per_row: float
    per_padded: float
    per_step: float = 0.0


class Memory(NamedTuple):
    """Bytes of a training step: fixed ones, and for a batch those kept and those in use at the peak besides."""

    fixed: float
    kept: list[Kept]
    widest: list[tuple[int, float]]

    def activations(self, utterances: Number, longest: Number, frames: Number) -> Number:
        """Bytes kept of a batch until its gradients are computed; of numbers, or of arrays for several batches.

        longest, frames: frames of the longest utterance, and of all of them without padding.
        """
        total: Any = 0.0
        for kept in self.kept:
            steps = -(-longest // kept.stride)
            total += kept.per_row * frames / kept.stride + kept.per_padded * steps * utterances
            total += kept.per_step * steps
        # CTC: the forward variables, two for each label and one more
        states = 2 * LABELS_PER_FRAME * longest + 1
        total += 4 * states * -(-longest // self.kept[-1].stride) * utterances
        return total  # type: ignore[no-any-return]

    def peak(self, utterances: Number, longest: Number, frames: Number) -> Number:
        """Bytes of the step, with those of the CUDA context."""
        parts: Any = [each * -(-longest // stride) * utterances for stride, each in self.widest]
        largest = np.maximum.reduce(parts)
        used: Any = self.fixed + self.activations(utterances, longest, frames) + largest
        return FRAGMENTATION * used + CONTEXT_BYTES  # type: ignore[no-any-return]


def count_memory(network: NetworkSpec, train: TrainConfig, processes: int, precision: str) -> Memory:
    """What a training step keeps in memory on each of `processes` GPUs."""
    with torch.device("meta"):
        model = make_network(network.config, network.symbols, network.bins)
    size = 4 if precision == "float32" else 2
    mask = MASK_BYTES if getattr(network.config, "dropout", 0.0) > 0 else 0
    synchronized = train.sync_norm and processes > 1
    kept, widest, stride, width = [], [], 1, network.bins
    extra = 0.0
    for layer in model.list_layers():
        module = layer.modules[0]
        out = 1
        for length in layer.shape:
            out *= length
        if isinstance(module, Conv1d | Conv2d):
            # the input is unpacked
            kept.append(Kept(stride, 0, size * width))
            kept.append(Kept(layer.stride, (size * (1 + _has_norm(module)) + mask) * out, 0))
        elif isinstance(module, Recurrent):
            fused = module.cell.fused is not None and not synchronized
            kept.append(_kept_by_recurrence(module, layer.stride, size, mask, fused))
            extra += _weight_copies(module, size, fused)
        elif isinstance(module, RowConv):
            kept.append(Kept(layer.stride, 0, size * out))
        elif isinstance(module, Dense):
            kept.append(Kept(layer.stride, size * (width + (1 + _has_norm(module)) * out) + mask * out, 0))
        else:
            # the output layer: the input of its norm, its own input, and the logits
            kept.append(Kept(layer.stride, (1 + _has_norm(module)) * size * width, size * out))
        widest.append((layer.stride, 3.0 * size * max(out, width)))
        stride, width = layer.stride, out
    parameters = sum(p.numel() for p in model.parameters())
    states = (2 if train.optim.method == "adamw" else 1) + (train.optim.ema > 0)
    # weights, gradients, their buckets for other GPUs, optimizer, and 16-bit copies of the weights
    fixed = parameters * (4 * (2 + (processes > 1) + states) + (2 if size == 2 else 0))
    return Memory(fixed + extra, kept, widest)


def _has_norm(module: nn.Module) -> bool:
    return any(isinstance(m, SequenceNorm) for m in module.modules())


def _kept_by_recurrence(module: Recurrent, stride: int, size: int, mask: int, fused: bool) -> Kept:
    """What a recurrent layer keeps. cuDNN does not document its reserve: taken as the gates and two states."""
    inputs = module.project.in_features
    D, rows, H = module.recurrent.shape
    norm = _has_norm(module)
    if fused:
        centered = 4 * inputs if norm else 0
        return Kept(stride, size * inputs + centered + size * D * (rows + 3 * H) + mask * H, 0)
    # the input, that of the norm, two indices of the frames
    per_row = size * (inputs + rows * norm) + mask * H + 16
    # the gates are reversed in time for the backward direction, and its states back: gather keeps its input
    gathered = 4.0 * rows + 16
    if module.cell.gates == 1:
        copies = 4 * D * H if size == 2 and D == 2 else 0
        return Kept(stride, per_row, size * D * H + gathered + copies)
    # of each frame: two gates, the candidate before its activation, the difference to the state; u and the state
    per_padded = D * H * (4 * 4 + (module.cell.gates + 1) * size + 4 * (D - 1)) + gathered + D
    # every frame casts the weights again
    casts = 2 * D * rows * H if size == 2 else 0
    return Kept(stride, per_row, per_padded, casts)


def _weight_copies(module: Recurrent, size: int, fused: bool) -> float:
    """Bytes of the weights of a recurrent layer that are computed in each step."""
    D, rows, H = module.recurrent.shape
    projection = rows * module.project.in_features
    return 4 * projection + size * D * (projection + rows * H) if fused else 0.0
