"""What the layers of a network compute in a training step on a GPU, counted from the modules that run there.

The counts follow nn/layers.py and nn/rnn: which products are made once per frame, which products a recurrence makes
frame after frame, how often activations pass through memory, and what autograd keeps of them. H units, G gates,
D directions.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from ds2cli.config.train import TrainConfig
from ds2cli.nn.layers import Conv1d, Conv2d, Recurrent, RowConv
from ds2cli.nn.network import Network, make_network
from ds2cli.nn.norm import SequenceNorm
from ds2cli.stages.model import NetworkSpec

CALLS_FUSED = 0
"""Torch calls per frame of a recurrence in cuDNN."""

CALLS_SIMPLE = (7, 10)
"""Torch calls per frame of `rnn_simple`, forward and backward, each of which takes time on the CPU."""

CALLS_GATED = (18, 26)
"""Those of a gated cell in `rnn_torch`, whose backward is autograd's."""


class Products(NamedTuple):
    """Products made for all frames at once.

    macs: multiply-adds per output step, or with `once` per batch. unit: what makes them, one of plan_gpu.SHARES.
    padded: whether they are made on padding, too. passes: 3 for a layer that also passes a gradient to its input, 2 for
    the first one.
    """

    macs: float
    unit: str
    padded: bool = False
    passes: int = 3
    once: bool = False


class Recurrence(NamedTuple):
    """What a layer computes frame after frame. gates: rows of each matrix per unit. calls: torch calls per frame."""

    directions: int
    gates: int
    size: int
    fused: bool
    calls: tuple[int, int]


class LayerCost(NamedTuple):
    """One layer. stride: frames per step of its output. width: elements of its output per step.

    accesses: elements read and written per step, forward and backward, apart from the products.
    """

    name: str
    stride: int
    width: int
    products: list[Products]
    recurrence: Recurrence | None
    accesses: float


def list_costs(network: NetworkSpec, train: TrainConfig, processes: int) -> list[LayerCost]:
    """The cost of each layer, from the input to the output, in training on `processes` GPUs."""
    with torch.device("meta"):
        model = make_network(network.config, network.symbols, network.bins)
    synchronized = train.sync_norm and processes > 1
    dropout = getattr(network.config, "dropout", 0.0) > 0
    return [_layer_cost(model, n, synchronized, dropout) for n in range(len(model.list_layers()))]


def _layer_cost(model: Network, number: int, synchronized: bool, dropout: bool) -> LayerCost:
    layer = model.list_layers()[number]
    width = 1
    for size in layer.shape:
        width *= size
    parameters = [p for module in layer.modules for p in module.parameters()]
    macs = float(sum(p.numel() for p in parameters if p.dim() > 1) * layer.positions)
    passes = 3 if number else 2
    module = layer.modules[0]
    # norm: two reads and a write, and in backward three reads and a write; activation: 2 and 3; dropout: 2 and 2
    pointwise = (7 + 5 if any(isinstance(m, SequenceNorm) for m in module.modules()) else 5) + 4 * dropout
    if isinstance(module, Recurrent):
        return _recurrent_cost(layer.name, layer.stride, module, synchronized, dropout, width)
    if isinstance(module, Conv1d | Conv2d):
        # the input is unpacked and the output packed: a read and a write, each with its gradient
        one_map = isinstance(module, Conv2d) and module.maps == 1
        products = [Products(macs, "conv of one map" if one_map else "conv", padded=True, passes=passes)]
        return LayerCost(layer.name, layer.stride, width, products, None, width * (pointwise + 12))
    if isinstance(module, RowConv):
        return LayerCost(layer.name, layer.stride, width, [Products(macs, "conv", True)], None, width * 16.0)
    return LayerCost(layer.name, layer.stride, width, [Products(macs, "matmul", passes=passes)], None, width * 12.0)


def _recurrent_cost(
    name: str, stride: int, module: Recurrent, synchronized: bool, dropout: bool, width: int
) -> LayerCost:
    cell, inputs = module.cell, module.project.in_features
    D, rows, H = module.recurrent.shape
    fused = cell.fused is not None and not synchronized
    # a product with the recurrent matrix forward, and one for each of its two gradients backward
    weights = Products(D * rows * H, "rnn" if fused else "matmul", passes=1)
    pointwise = width * (4.0 * D + 4 * dropout)
    if not fused:
        calls = CALLS_SIMPLE if cell.gates == 1 else CALLS_GATED
        recurrence = Recurrence(D, cell.gates, H, False, calls)
        norm = rows * (12.0 if isinstance(module.norm, SequenceNorm) else 0.0)
        gates = rows * D * 8.0
        products = [Products(inputs * rows, "matmul"), weights]
        return LayerCost(name, stride, width, products, recurrence, pointwise + norm + gates)
    # cuDNN makes the input projection of each direction on its own
    products = [Products(D * inputs * rows, "rnn"), weights]
    if isinstance(module.norm, SequenceNorm):
        # the covariance of the input, with a gradient of the same size, instead of a norm of the output
        products.append(Products(inputs * inputs, "float32", passes=2))
        products.append(Products(rows * inputs * inputs, "float32", once=True))
    recurrence = Recurrence(D, cell.gates, H, True, (CALLS_FUSED, CALLS_FUSED))
    return LayerCost(name, stride, width, products, recurrence, pointwise + rows * D * 4.0 + inputs * 6.0)


def count_parameters(network: NetworkSpec) -> int:
    """The parameters of the network, of all layers."""
    with torch.device("meta"):
        model: nn.Module = make_network(network.config, network.symbols, network.bins)
    return sum(p.numel() for p in model.parameters())
