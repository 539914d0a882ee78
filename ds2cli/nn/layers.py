"""Layers of Deep Speech 2, computed on valid frames only.

N utterances, T frames, C channels, H units, D directions, M = sum of the lengths. Between layers activations are packed
as (M, C): for each frame in turn, the utterances that are at least that long. So batch statistics and matrix products
never include padding, and the recurrence reads the frames in this order. `Frames` converts to padded (N, T, C) for a
convolution and back. Each layer has a batch norm over its valid frames, or biases instead (norm=False).
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
    """Select rows. Each row is selected at most once, so backward copies, where that of index_select has to add."""

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
    """The positions of the valid frames in a padded batch on `device`.

    lengths: (N,) int64, longest first; kept on the CPU, so that nothing waits for a GPU.
    """

    def __init__(self, lengths: Tensor, device: torch.device | None = None) -> None:
        self.lengths = lengths.cpu()
        self.device = device or lengths.device
        self.rows = len(lengths)
        self.steps = int(self.lengths.max())
        valid = torch.arange(self.steps).unsqueeze(1) < self.lengths
        self.active = valid.sum(1)  # (T,) int64, utterances that are valid at each frame
        step, row = valid.nonzero(as_tuple=True)
        self._utterance_major = (row * self.steps + step).to(self.device, non_blocking=True)
        self._frame_major = (step * self.rows + row).to(self.device, non_blocking=True)

    def strided(self, stride: int) -> Frames:
        """The frames after a "same" convolution with this stride: ceil(T / stride)."""
        return self if stride == 1 else Frames(strided_length(self.lengths, stride), self.device)

    def pack(self, x: Tensor) -> Tensor:
        """(N, T, C) to (M, C)."""
        return _Pack.apply(x.reshape(self.rows * self.steps, -1), self._utterance_major)  # type: ignore[no-any-return,no-untyped-call]

    def unpack(self, x: Tensor, *, steps_first: bool = False) -> Tensor:
        """(M, C) to (N, T, C), or (T, N, C), zero on padding."""
        index = self._frame_major if steps_first else self._utterance_major
        padded = x.new_zeros(self.rows * self.steps, x.shape[1]).index_copy(0, index, x)
        return padded.view((self.steps, self.rows, -1) if steps_first else (self.rows, self.steps, -1))

    def mean(self, x: Tensor) -> Tensor:
        """The mean over the frames of its utterance, for each row of (M, C)."""
        sums = self.unpack(x).sum(1)
        means = sums / self.lengths.to(self.device).unsqueeze(1)
        return means.index_select(0, self._frame_major % self.rows)


def strided_length(length: Tensor, stride: int) -> Tensor:
    """Number of frames after a "same" convolution: ceil(length / stride)."""
    return (length + stride - 1) // stride


def make_norm(width: int, norm: bool) -> nn.Module:
    """Batch norm of `width` channels over valid frames (paper eq. 6), or the identity."""
    return SequenceNorm(width) if norm else nn.Identity()


class Conv1d(nn.Module):
    """Convolution over time with all bins as channels, batch norm, clipped ReLU (paper eq. 1)."""

    def __init__(self, inputs: int, channels: int, kernel: int, stride: int, *, norm: bool = True) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv1d(inputs, channels, kernel, stride, kernel // 2, bias=not norm)
        self.norm = make_norm(channels, norm)

    def forward(self, x: Tensor, frames: Frames) -> tuple[Tensor, Frames]:
        """x: (M, C). Returns (M', channels) and the new frames."""
        y = self.conv(frames.unpack(x).transpose(1, 2))
        out = frames.strided(self.stride)
        return clipped_relu(self.norm(out.pack(y.transpose(1, 2)))), out


class Conv2d(nn.Module):
    """Convolution over frequency and time, batch norm per channel, clipped ReLU (paper §3.5)."""

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
        self.norm = make_norm(channels, norm)
        self.bins_out = -(-bins // stride[0])

    def forward(self, x: Tensor, frames: Frames) -> tuple[Tensor, Frames]:
        """x: (M, bins * maps), maps varying fastest. Returns (M', bins_out * channels) and the new frames."""
        padded = frames.unpack(x).view(frames.rows, frames.steps, self.bins, self.maps)
        y = self.conv(padded.permute(0, 3, 2, 1))
        out = frames.strided(self.stride[1])
        packed = out.pack(y.permute(0, 3, 2, 1))
        y = clipped_relu(self.norm(packed.view(-1, self.channels)))
        return y.view(packed.shape), out


class Recurrent(nn.Module):
    """Recurrent layer with sequence-wise batch norm on the input projection, directions summed (paper eq. 3, 8, 10).

    Both directions share the input projection and its norm; each has its own recurrent matrix, without a second bias.
    """

    def __init__(
        self,
        inputs: int,
        size: int,
        *,
        bidirectional: bool,
        cell: Cell = GRU,
        norm: bool = True,
        gain: float = 1.0,
    ) -> None:
        """gain: scale of the initial recurrent weights."""
        super().__init__()
        self.cell = cell
        width = cell.gates * size
        self.project = nn.Linear(inputs, width, bias=not norm)
        self.norm = make_norm(width, norm)
        self.recurrent = nn.Parameter(torch.empty(2 if bidirectional else 1, width, size))
        for direction in self.recurrent.data:
            for gate in direction.split(size):
                nn.init.orthogonal_(gate, gain)
        nn.init.xavier_uniform_(self.project.weight)

    def forward(self, x: Tensor, frames: Frames) -> Tensor:
        """x: (M, inputs). Returns (M, size)."""
        if cudnn.can_run_fused(self.cell, self.norm, x):
            weight, bias = cudnn.fold_norm(self.project, self.norm, x)
            return cudnn.run_fused(self.cell, x, weight, bias, self.recurrent, frames.active)
        return rnn_packed(self.cell, self.norm(self.project(x)), self.recurrent, frames.lengths)


class RowConv(nn.Module):
    """Row convolution (lookahead): per unit, a weighted sum of this step and the next `ahead` (paper eq. 11), no bias.

    Steps past the end of an utterance count as zeros.
    """

    def __init__(self, size: int, ahead: int) -> None:
        super().__init__()
        # starts close to the identity, as a network without it: random weights for all steps would blur the output, and
        # CTC would hardly find an alignment
        bound = 0.1 / (ahead + 1)
        weight = torch.empty(size, ahead + 1).uniform_(-bound, bound)
        weight[:, 0] += 1
        self.weight = nn.Parameter(weight)

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
        self.norm = make_norm(size, norm)

    def forward(self, x: Tensor) -> Tensor:
        """x: (M, inputs). Returns (M, size)."""
        return clipped_relu(self.norm(self.linear(x)))
