"""The base class of all networks, and how to make one: the setting `model.kind` is the name of its file in `nn/models`.

N utterances, T frames, F bins, T' output steps, V symbols with the blank at 0.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ds2cli.config.model import KINDS, NetworkConfig
from ds2cli.nn.streaming import Stream


class Layer(NamedTuple):
    """One layer in the table of `ds2 model show`.

    what: its type and settings, in words, such as "1d 11, stride 3". shape: of its output, per step. stride: frames per
    step of its output. modules: those with its parameters. positions: how many times its matrices or filters are
    applied per step (in a 2d convolution, once for each bin of the output), to count multiply-adds.
    """

    name: str
    what: str
    shape: tuple[int, ...]
    stride: int
    modules: tuple[nn.Module, ...]
    positions: int = 1


class Network(nn.Module):
    """Maps frames of features to the logits of V symbols. `forward` normalizes the features with `mean` and `std`.

    mean, std: (F,) float32, of the training frames; the trainer sets them. config: its settings. stride: frames per
    step.

    A subclass keeps two rules. The attribute `output` is the last layer, with V rows of weights, so that `--init` can
    copy it symbol by symbol. Batch norms are `SequenceNorm`, created in the order in which `forward` calls them.
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

        feats: (N, T, F) float32, not normalized; frames past the length of an utterance are ignored.
        lengths: (N,) int64, longest first, preferably on the CPU.
        Returns logits (T', N, V) and their lengths (N,), equal to `num_steps(lengths)`, on the CPU.
        """
        raise NotImplementedError

    @property
    def can_stream(self) -> bool:
        """Whether `stream` is implemented: the network looks only so far ahead, and can continue where it stopped."""
        return False

    def stream(self, streams: int = 1) -> Stream:
        """Begin to compute N = `streams` utterances in pieces, in evaluation mode and without gradients.

        The result takes features (T, N, F), not normalized, and returns the logits (T', N, V) that are complete. With
        those that it returns when it is finished they are the logits of `forward` for the whole, up to rounding.
        """
        raise NotImplementedError

    def list_layers(self) -> list[Layer]:
        """The layers from the input to the output; each parameter belongs to the modules of exactly one of them."""
        raise NotImplementedError


def make_network(config: NetworkConfig, symbols: int, bins: int) -> Network:
    """Make a network of the kind `config.kind` with random weights, for V = `symbols` and F = `bins`."""
    network: Network = KINDS.load(config.kind).Model(config, symbols, bins)
    return network
