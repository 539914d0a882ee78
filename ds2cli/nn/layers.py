"""Layers of Deep Speech 2 that see valid frames only.

N utterances, T frames, C channels, H units, D directions, M = sum of the lengths. Between layers activations are
packed: (M, C), utterance after utterance without padding, so batch statistics and products never touch padding.
`Frames` turns them into padded (N, T, C) for a convolution, or (T, N, C) for a recurrence, and back.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ds2cli.nn.recurrent import gru

CLIP = 20.0


def clipped_relu(x: Tensor) -> Tensor:
    """min(max(x, 0), 20), paper §3.1."""
    return functional.hardtanh(x, 0.0, CLIP)


class _Pack(torch.autograd.Function):
    """Take rows; the gradient goes back to them, which unlike index_select's own backward need not add."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.rows = x.shape[0]
        return x.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (index,) = ctx.saved_tensors
        return grads[0].new_zeros(ctx.rows, grads[0].shape[1]).index_copy_(0, index, grads[0]), None


class Frames:
    """Where the valid frames of a padded batch are. lengths: (N,) int64, longest first."""

    def __init__(self, lengths: Tensor) -> None:
        self.lengths = lengths
        self.rows = len(lengths)
        self.steps = int(lengths.max())
        valid = torch.arange(self.steps, device=lengths.device) < lengths.unsqueeze(1)
        row, step = valid.nonzero(as_tuple=True)
        self._rows_first = row * self.steps + step
        self._steps_first = step * self.rows + row

    def strided(self, stride: int) -> Frames:
        """The frames left by a "same" convolution with this stride: ceil(T / stride)."""
        return self if stride == 1 else Frames(strided_length(self.lengths, stride))

    def pack(self, x: Tensor, *, steps_first: bool = False) -> Tensor:
        """(N, T, C), or (T, N, C), to (M, C)."""
        index = self._steps_first if steps_first else self._rows_first
        return _Pack.apply(x.reshape(self.rows * self.steps, -1), index)  # type: ignore[no-any-return,no-untyped-call]

    def unpack(self, x: Tensor, *, steps_first: bool = False) -> Tensor:
        """(M, C) to (N, T, C), or (T, N, C), zero on padding."""
        index = self._steps_first if steps_first else self._rows_first
        padded = x.new_zeros(self.rows * self.steps, x.shape[1]).index_copy(0, index, x)
        return padded.view((self.steps, self.rows, -1) if steps_first else (self.rows, self.steps, -1))


def strided_length(length: Tensor, stride: int) -> Tensor:
    """Frames after a "same" convolution, ceil(length / stride)."""
    return (length + stride - 1) // stride


class Conv1d(nn.Module):
    """Convolution over time with all bins as channels, batch norm, clipped ReLU (paper eq. 1)."""

    def __init__(self, inputs: int, channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv1d(inputs, channels, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor, frames: Frames) -> tuple[Tensor, Frames]:
        """x: (M, C). Returns (M', channels) and its frames."""
        y = self.conv(frames.unpack(x).transpose(1, 2))
        out = frames.strided(self.stride)
        return clipped_relu(self.norm(out.pack(y.transpose(1, 2)))), out


class Conv2d(nn.Module):
    """Convolution over frequency and time, batch norm a channel, clipped ReLU (paper §3.5)."""

    def __init__(self, maps: int, bins: int, channels: int, kernel: tuple[int, int], stride: tuple[int, int]) -> None:
        super().__init__()
        self.maps, self.bins, self.channels = maps, bins, channels
        self.stride = stride
        self.conv = nn.Conv2d(maps, channels, kernel, stride, (kernel[0] // 2, kernel[1] // 2), bias=False)
        self.norm = nn.BatchNorm1d(channels)
        self.bins_out = -(-bins // stride[0])

    def forward(self, x: Tensor, frames: Frames) -> tuple[Tensor, Frames]:
        """x: (M, bins * maps), maps varying fastest. Returns (M', bins_out * channels) and its frames."""
        padded = frames.unpack(x).view(frames.rows, frames.steps, self.bins, self.maps)
        y = self.conv(padded.permute(0, 3, 2, 1))
        out = frames.strided(self.stride[1])
        packed = out.pack(y.permute(0, 3, 2, 1))
        y = clipped_relu(self.norm(packed.view(-1, self.channels)))
        return y.view(packed.shape), out


class Recurrent(nn.Module):
    """Gated recurrent layer, sequence-wise batch norm on its input, directions summed (paper eq. 3, 8 and 10).

    Both directions share the input projection and its norm; each has its own recurrent matrix and no second bias.
    """

    def __init__(self, inputs: int, size: int, *, bidirectional: bool) -> None:
        super().__init__()
        self.project = nn.Linear(inputs, 3 * size, bias=False)
        self.norm = nn.BatchNorm1d(3 * size)
        self.recurrent = nn.Parameter(torch.empty(2 if bidirectional else 1, 3 * size, size))
        for direction in self.recurrent.data:
            for gate in direction.split(size):
                nn.init.orthogonal_(gate)
        nn.init.xavier_uniform_(self.project.weight)

    def forward(self, x: Tensor, frames: Frames) -> Tensor:
        """x: (M, inputs). Returns (M, size)."""
        gates = frames.unpack(self.norm(self.project(x)), steps_first=True)
        return frames.pack(gru(gates, self.recurrent, frames.lengths).sum(0), steps_first=True)


class Dense(nn.Module):
    """Fully connected layer, batch norm, clipped ReLU."""

    def __init__(self, inputs: int, size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, size, bias=False)
        self.norm = nn.BatchNorm1d(size)

    def forward(self, x: Tensor) -> Tensor:
        """x: (M, inputs). Returns (M, size)."""
        return clipped_relu(self.norm(self.linear(x)))
