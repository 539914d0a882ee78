"""Deep Speech 2: convolutions, recurrent layers, row convolution, fully connected layers, output (paper §3.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ds2cli.config.model import ModelConfig
from ds2cli.nn.layers import Conv1d, Conv2d, Dense, Frames, Recurrent, RowConv, make_norm, strided_length
from ds2cli.nn.rnn.cells import select_cell


class DeepSpeech2(nn.Module):
    """The network from log power frames to logits of V symbols, blank at 0. It normalizes the features itself.

    mean, std: (bins,) float32, of the training frames.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: ModelConfig, symbols: int, bins: int) -> None:
        super().__init__()
        self.config = config
        layers, norm = len(config.channels), config.norm == "batch"
        self.strides = config.strides[:layers]
        self.stride = config.stride
        self.register_buffer("mean", torch.zeros(bins))
        self.register_buffer("std", torch.ones(bins))
        self.convs = nn.ModuleList()
        maps, width = 1, bins
        for i in range(layers):
            channels, kernel, stride = config.channels[i], config.kernels[i], config.strides[i]
            if config.conv == "1d":
                self.convs.append(Conv1d(width, channels, kernel, stride, norm=norm))
                width = channels
            else:
                shape, step = (config.freq_kernels[i], kernel), (config.freq_strides[i], stride)
                conv = Conv2d(maps, bins, channels, shape, step, norm=norm)
                self.convs.append(conv)
                maps, bins = channels, conv.bins_out
                width = maps * bins
        self.rnns = nn.ModuleList()
        for _ in range(config.rnn_layers):
            rnn = Recurrent(
                width, config.rnn_size, bidirectional=config.bidirectional, cell=select_cell(config), norm=norm
            )
            self.rnns.append(rnn)
            width = config.rnn_size
        self.row_conv = RowConv(width, config.row_conv) if config.row_conv else None
        self.dense = nn.ModuleList()
        for _ in range(config.fc_layers):
            self.dense.append(Dense(width, config.fc_size, norm=norm))
            width = config.fc_size
        self.norm = make_norm(width, norm)
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(width, symbols)

    def num_steps(self, lengths: Tensor) -> Tensor:
        """Number of output steps for utterances of `lengths` frames."""
        for stride in self.strides:
            lengths = strided_length(lengths, stride)
        return lengths

    def forward(self, feats: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the logits of a padded batch.

        feats: (N, T, bins) float32, log power; frames past a row's length are ignored.
        lengths: (N,) int64, longest first, preferably on the CPU.
        Returns logits (T', N, V) and their lengths (N,) on the CPU.
        """
        frames = Frames(lengths, feats.device)
        x = (frames.pack(feats) - self.mean) / self.std
        for conv in self.convs:
            x, frames = conv(x, frames)
            x = self.dropout(x)
        for rnn in self.rnns:
            x = self.dropout(rnn(x, frames))
        if self.row_conv is not None:
            x = self.row_conv(x, frames)
        for dense in self.dense:
            x = self.dropout(dense(x))
        return frames.unpack(self.output(self.norm(x)), steps_first=True), frames.lengths
