"""Layers of Deep Speech 2 that see valid frames only.

N utterances, T frames, C channels, H units, D directions, M = sum of the lengths. Between layers activations are
packed: (M, C), frame after frame, each with the utterances that reach it, so batch statistics and products never touch
padding and a recurrence walks them as they are. `Frames` turns them into padded (N, T, C) for a convolution, and back.
Layers are normalised over their valid frames, or have biases instead (norm=False).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ds2cli.nn.norm import SequenceNorm
from ds2cli.nn.rnn import cudnn
from ds2cli.nn.rnn.cells import GRU, Cell, clipped_relu
from ds2cli.nn.rnn.recurrence import rnn_packed


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
    """Where the valid frames of a padded batch on `device` are.

    lengths: (N,) int64, longest first; they stay on the CPU, so that nothing waits for a GPU.
    """

    def __init__(self, lengths: Tensor, device: torch.device | None = None) -> None:
        self.lengths = lengths.cpu()
        self.device = device or lengths.device
        self.rows = len(lengths)
        self.steps = int(self.lengths.max())
        valid = torch.arange(self.steps).unsqueeze(1) < self.lengths
        self.active = valid.sum(1)  # (T,) int64, utterances that reach each frame
        step, row = valid.nonzero(as_tuple=True)
        self._rows_first = (row * self.steps + step).to(self.device, non_blocking=True)
        self._steps_first = (step * self.rows + row).to(self.device, non_blocking=True)

    def strided(self, stride: int) -> Frames:
        """The frames left by a "same" convolution with this stride: ceil(T / stride)."""
        return self if stride == 1 else Frames(strided_length(self.lengths, stride), self.device)

    def pack(self, x: Tensor) -> Tensor:
        """(N, T, C) to (M, C)."""
        return _Pack.apply(x.reshape(self.rows * self.steps, -1), self._rows_first)  # type: ignore[no-any-return,no-untyped-call]

    def unpack(self, x: Tensor, *, steps_first: bool = False) -> Tensor:
        """(M, C) to (N, T, C), or (T, N, C), zero on padding."""
        index = self._steps_first if steps_first else self._rows_first
        padded = x.new_zeros(self.rows * self.steps, x.shape[1]).index_copy(0, index, x)
        return padded.view((self.steps, self.rows, -1) if steps_first else (self.rows, self.steps, -1))


def strided_length(length: Tensor, stride: int) -> Tensor:
    """Frames after a "same" convolution, ceil(length / stride)."""
    return (length + stride - 1) // stride


def norm_of(width: int, norm: bool) -> nn.Module:
    """Batch norm of `width` numbers over valid frames (paper eq. 6), or nothing."""
    return SequenceNorm(width) if norm else nn.Identity()


class Conv1d(nn.Module):
    """Convolution over time with all bins as channels, batch norm, clipped ReLU (paper eq. 1)."""

    def __init__(self, inputs: int, channels: int, kernel: int, stride: int, *, norm: bool = True) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv1d(inputs, channels, kernel, stride, kernel // 2, bias=not norm)
        self.norm = norm_of(channels, norm)

    def forward(self, x: Tensor, frames: Frames) -> tuple[Tensor, Frames]:
        """x: (M, C). Returns (M', channels) and its frames."""
        y = self.conv(frames.unpack(x).transpose(1, 2))
        out = frames.strided(self.stride)
        return clipped_relu(self.norm(out.pack(y.transpose(1, 2)))), out


class Conv2d(nn.Module):
    """Convolution over frequency and time, batch norm a channel, clipped ReLU (paper §3.5)."""

    def __init__(
        self,
        maps: int,
        bins: int,
        channels: int,
        kernel: tuple[int, int],
        stride: tuple[int, int],
        *,
        norm: bool = True,
    ) -> None:
        super().__init__()
        self.maps, self.bins, self.channels = maps, bins, channels
        self.stride = stride
        self.conv = nn.Conv2d(maps, channels, kernel, stride, (kernel[0] // 2, kernel[1] // 2), bias=not norm)
        self.norm = norm_of(channels, norm)
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
    """Recurrent layer, sequence-wise batch norm on its input, directions summed (paper eq. 3, 8 and 10).

    Both directions share the input projection and its norm; each has its own recurrent matrix and no second bias.
    """

    def __init__(self, inputs: int, size: int, *, bidirectional: bool, cell: Cell = GRU, norm: bool = True) -> None:
        super().__init__()
        self.cell = cell
        width = cell.gates * size
        self.project = nn.Linear(inputs, width, bias=not norm)
        self.norm = norm_of(width, norm)
        self.recurrent = nn.Parameter(torch.empty(2 if bidirectional else 1, width, size))
        for direction in self.recurrent.data:
            for gate in direction.split(size):
                nn.init.orthogonal_(gate)
        nn.init.xavier_uniform_(self.project.weight)

    def forward(self, x: Tensor, frames: Frames) -> Tensor:
        """x: (M, inputs). Returns (M, size)."""
        if cudnn.suits(self.cell, self.norm, x):
            weight, bias = cudnn.folded(self.project, self.norm, x)
            return cudnn.run(self.cell, x, weight, bias, self.recurrent, frames.active)
        return rnn_packed(self.cell, self.norm(self.project(x)), self.recurrent, frames.lengths)


class RowConv(nn.Module):
    """Row convolution: each unit's weighted sum of this step and the next `ahead` (paper eq. 11), without a bias.

    A forward-only network sees that far and no further; beyond an utterance's end there is nothing, that is zeros.
    """

    def __init__(self, size: int, ahead: int) -> None:
        super().__init__()
        bound = (ahead + 1) ** -0.5
        self.weight = nn.Parameter(torch.empty(size, ahead + 1).uniform_(-bound, bound))

    def forward(self, x: Tensor, frames: Frames) -> Tensor:
        """x: (M, size). Returns (M, size)."""
        size, taps = self.weight.shape
        padded = functional.pad(frames.unpack(x).transpose(1, 2), (0, taps - 1))
        return frames.pack(functional.conv1d(padded, self.weight.unsqueeze(1), groups=size).transpose(1, 2))


class Dense(nn.Module):
    """Fully connected layer, batch norm, clipped ReLU."""

    def __init__(self, inputs: int, size: int, *, norm: bool = True) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, size, bias=not norm)
        self.norm = norm_of(size, norm)

    def forward(self, x: Tensor) -> Tensor:
        """x: (M, inputs). Returns (M, size)."""
        return clipped_relu(self.norm(self.linear(x)))
