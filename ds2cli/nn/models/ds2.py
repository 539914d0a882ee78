"""Deep Speech 2: convolutions, recurrent layers, fully connected layers, one score a symbol and step (paper §3.1)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ds2cli.config.model import ModelConfig
from ds2cli.errors import UsageError
from ds2cli.nn.layers import Conv1d, Conv2d, Dense, Frames, Recurrent, strided_length


class DeepSpeech2(nn.Module):
    """Log power frames to scores of V symbols, blank at 0. Features come raw; the model normalises them.

    mean, std: (bins,) float32, over the training frames.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: ModelConfig, symbols: int, bins: int) -> None:
        """UsageError when the lists of the convolutions differ in length or a filter length is even."""
        super().__init__()
        layers = len(config.channels)
        _check(config, layers)
        self.strides = config.strides[:layers]
        self.stride = math.prod(self.strides)
        self.register_buffer("mean", torch.zeros(bins))
        self.register_buffer("std", torch.ones(bins))
        self.convs = nn.ModuleList()
        maps, width = 1, bins
        for i in range(layers):
            channels, kernel, stride = config.channels[i], config.kernels[i], config.strides[i]
            if config.conv == "1d":
                self.convs.append(Conv1d(width, channels, kernel, stride))
                width = channels
            else:
                shape, step = (config.freq_kernels[i], kernel), (config.freq_strides[i], stride)
                conv = Conv2d(maps, bins, channels, shape, step)
                self.convs.append(conv)
                maps, bins = channels, conv.bins_out
                width = maps * bins
        self.rnns = nn.ModuleList()
        for _ in range(config.rnn_layers):
            self.rnns.append(Recurrent(width, config.rnn_size, bidirectional=config.bidirectional))
            width = config.rnn_size
        self.dense = nn.ModuleList()
        for _ in range(config.fc_layers):
            self.dense.append(Dense(width, config.fc_size))
            width = config.fc_size
        self.norm = nn.BatchNorm1d(width)
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(width, symbols)

    def num_steps(self, lengths: Tensor) -> Tensor:
        """Output steps of utterances of `lengths` frames."""
        for stride in self.strides:
            lengths = strided_length(lengths, stride)
        return lengths

    def forward(self, feats: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Score a padded batch.

        feats: (N, T, bins) float32, log power; what lies past a row's length is ignored.
        lengths: (N,) int64, longest first.
        Returns logits (T', N, V) and their lengths (N,).
        """
        frames = Frames(lengths)
        x = (frames.pack(feats) - self.mean) / self.std
        for conv in self.convs:
            x, frames = conv(x, frames)
            x = self.dropout(x)
        for rnn in self.rnns:
            x = self.dropout(rnn(x, frames))
        for dense in self.dense:
            x = self.dropout(dense(x))
        return frames.unpack(self.output(self.norm(x)), steps_first=True), frames.lengths


def _check(config: ModelConfig, layers: int) -> None:
    if not 1 <= layers <= 3:
        raise UsageError(f"model.channels: expected 1 to 3 convolutions, got {layers}")
    two_d = {"freq_kernels": config.freq_kernels, "freq_strides": config.freq_strides} if config.conv == "2d" else {}
    for name, values in {"kernels": config.kernels, "strides": config.strides, **two_d}.items():
        if len(values) < layers:
            raise UsageError(f"model.{name}: expected {layers} values, one a convolution, got {len(values)}")
        if name.endswith("kernels") and any(k % 2 == 0 for k in values):
            raise UsageError(f"model.{name}: filter lengths are odd, got {list(values)}")
