"""The base class of all networks, and how to make one: the setting `model.kind` names its file in `nn/models`.

N utterances, T frames, F bins, T' output steps, V symbols with the blank at 0.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ds2cli.config.model import KINDS, NetworkConfig


class Layer(NamedTuple):
    """One layer in the table of a network.

    what: its kind and settings, in readable form. shape: output per step. stride: frames per step of its output.
    modules: those with its parameters. positions: how often its matrices and filters are applied per step.
    """

    name: str
    what: str
    shape: tuple[int, ...]
    stride: int
    modules: tuple[nn.Module, ...]
    positions: int = 1


class Network(nn.Module):
    """Maps feature frames to the logits of V symbols. It normalizes the features itself.

    mean, std: (F,) float32, of the training frames; set later. config: its settings. stride: frames per step.
    A layer called `output` has V rows: starting from another network copies it symbol by symbol. Batch norms are
    `SequenceNorm`, in the order in which `forward` calls them.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: NetworkConfig, bins: int) -> None:
        super().__init__()
        self.config = config
        self.stride = config.stride
        self.register_buffer("mean", torch.zeros(bins))
        self.register_buffer("std", torch.ones(bins))

    def num_steps(self, lengths: Tensor) -> Tensor:
        """Number of output steps for utterances of `lengths` frames: ceil(length / stride)."""
        return (lengths + self.stride - 1) // self.stride

    def forward(self, feats: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the logits of a padded batch.

        feats: (N, T, F) float32, not normalized; frames past a row's length are ignored.
        lengths: (N,) int64, longest first, preferably on the CPU.
        Returns logits (T', N, V) and their lengths (N,), `num_steps(lengths)`, on the CPU.
        """
        raise NotImplementedError

    def list_layers(self) -> list[Layer]:
        """The layers from the input to the output; together they hold each parameter exactly once."""
        raise NotImplementedError


def make_network(config: NetworkConfig, symbols: int, bins: int) -> Network:
    """A network of this kind with random weights, for V = `symbols` and F = `bins`."""
    network: Network = KINDS.load(config.kind).Model(config, symbols, bins)
    return network
