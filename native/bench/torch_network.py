"""Deep Speech 2 built from torch's own modules: the baseline that `ds2 train` is compared with.

Conv1d or Conv2d, BatchNorm, hardtanh; nn.RNN, nn.GRU or nn.LSTM, with their directions added; Linear. It deviates from
the paper where stock modules cannot follow it: each direction has its own input matrix, batch norms are outside the
recurrence and include padding if batches are padded, and a simple cell's ReLU is not clipped. The row convolution is a
grouped one.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from ds2cli.config.model import ModelConfig
from ds2cli.nn.layers import strided_length
from ds2cli.train.batches import Batch


class TorchNetwork(nn.Module):
    """The network of a model config. packed: recurrent layers run on packed sequences."""

    def __init__(self, model: ModelConfig, symbols: int, bins: int, *, packed: bool) -> None:
        super().__init__()
        if (model.cell, model.activation) == ("gru", "relu") or model.norm == "none":
            raise SystemExit("torch_network: torch has no GRU with ReLU, and this network always has batch norms")
        self.packed, self.is_1d = packed, model.conv == "1d"
        self.strides = model.strides[: len(model.channels)]
        self.convs, self.conv_norms = nn.ModuleList(), nn.ModuleList()
        maps = bins if self.is_1d else 1
        for i, channels in enumerate(model.channels):
            kernel, stride = model.kernels[i], model.strides[i]
            if self.is_1d:
                self.convs.append(nn.Conv1d(maps, channels, kernel, stride, kernel // 2, bias=False))
                self.conv_norms.append(nn.BatchNorm1d(channels))
            else:
                shape, step = (model.freq_kernels[i], kernel), (model.freq_strides[i], stride)
                self.convs.append(nn.Conv2d(maps, channels, shape, step, (shape[0] // 2, kernel // 2), bias=False))
                self.conv_norms.append(nn.BatchNorm2d(channels))
                bins = -(-bins // step[0])
            maps = channels
        width = maps if self.is_1d else maps * bins
        self.rnns, self.norms = nn.ModuleList(), nn.ModuleList()
        for _ in range(model.rnn_layers):
            self.norms.append(nn.BatchNorm1d(width))
            options = {"batch_first": True, "bidirectional": model.bidirectional}
            if model.cell == "rnn":
                self.rnns.append(nn.RNN(width, model.rnn_size, nonlinearity=model.activation, **options))
            else:
                self.rnns.append({"gru": nn.GRU, "lstm": nn.LSTM}[model.cell](width, model.rnn_size, **options))
            width = model.rnn_size
        self.size, self.ahead = width, model.row_conv
        self.row_conv = nn.Conv1d(width, width, self.ahead + 1, groups=width, bias=False) if self.ahead else None
        self.dense = nn.ModuleList()
        for _ in range(model.fc_layers):
            linear = nn.Linear(width, model.fc_size, bias=False)
            self.dense.append(nn.Sequential(linear, LastAxisNorm(model.fc_size), nn.Hardtanh(0.0, 20.0)))
            width = model.fc_size
        self.last_norm, self.output = LastAxisNorm(width), nn.Linear(width, symbols)
        self.dropout = nn.Dropout(model.dropout)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """x: (N, T, bins); returns logits (N, T', symbols) and their lengths."""
        x = x.transpose(1, 2) if self.is_1d else x.transpose(1, 2).unsqueeze(1)
        for conv, norm, stride in zip(self.convs, self.conv_norms, self.strides, strict=True):
            x = self.dropout(functional.hardtanh(norm(conv(x)), 0.0, 20.0))
            lengths = strided_length(lengths, stride)
        x = x.flatten(1, -2).transpose(1, 2) if not self.is_1d else x.transpose(1, 2)
        for rnn, norm in zip(self.rnns, self.norms, strict=True):
            x = norm(x.transpose(1, 2)).transpose(1, 2)
            if self.packed:
                states, _ = rnn(pack_padded_sequence(x, lengths, batch_first=True))
                both, _ = pad_packed_sequence(states, batch_first=True)
            else:
                both, _ = rnn(x)
            x = self.dropout(sum(both.split(self.size, dim=2)))
        if self.row_conv is not None:
            x = self.row_conv(functional.pad(x.transpose(1, 2), (0, self.ahead))).transpose(1, 2)
        for dense in self.dense:
            x = self.dropout(dense(x))
        return self.output(self.last_norm(x)), lengths

    def backward(self, batch: Batch, device: torch.device, precision: torch.dtype) -> None:
        """Compute the gradients of the summed CTC loss of a batch, with torch's loss."""
        for p in self.parameters():
            p.grad = None
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            logits, steps = self(batch.feats.to(device), batch.lengths)
        log_probs = logits.float().log_softmax(2).transpose(0, 1)
        targets = (batch.targets.to(device), steps, batch.target_lengths)
        functional.ctc_loss(log_probs, *targets, reduction="sum", zero_infinity=True).backward()


class LastAxisNorm(nn.BatchNorm1d):
    """Batch norm over the last axis."""

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, T, C)."""
        return super().forward(x.transpose(1, 2)).transpose(1, 2)
