"""Forward-only layers that continue: a recording in pieces, with the results of the whole.

N streams, T frames, C channels. Every layer takes the next frames (T, N, C) of each stream and returns the outputs
(T', N, C') that are complete, T' >= 0; `finish` returns those that needed the end of the recording. A convolution keeps
the frames that its next outputs need, a recurrence its state. Batch norms use their running statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from ds2cli.nn.layers import Conv1d, Conv2d, Recurrent, RowConv
from ds2cli.nn.rnn import cudnn
from ds2cli.nn.rnn.cells import clipped_relu
from ds2cli.nn.rnn.recurrence import rnn_advance


class Stream(Protocol):
    """A layer, or a whole network, at some frame of N streams."""

    def advance(self, x: Tensor) -> Tensor:
        """The outputs (T', N, C') that are complete with the next frames x (T, N, C); T' may be 0."""

    def finish(self) -> Tensor:
        """The remaining outputs (T', N, C') at the end of the streams; call it once, and nothing after it."""


class _Window:
    """The frames from the first one that the next output needs: outputs are `stride` apart, each of `size` frames."""

    def __init__(self, size: int, stride: int, before: int) -> None:
        """before: frames of zeros before the first frame."""
        self.size, self.stride = size, stride
        self.before = before
        self.kept: Tensor | None = None
        self.skip = 0  # frames to leave out, if outputs are further apart than they are long

    def add(self, x: Tensor) -> tuple[Tensor, int]:
        """The frames (T, N, C) of the outputs that are complete with x, and how many outputs these are."""
        if self.kept is None:
            self.kept = x.new_zeros(self.before, *x.shape[1:])
        frames = torch.cat([self.kept, x])
        frames, self.skip = frames[self.skip :], max(self.skip - len(frames), 0)
        count = max((len(frames) - self.size) // self.stride + 1, 0)
        done = count * self.stride
        # a copy, so that the frames before it are freed
        self.kept, self.skip = frames[done:].clone(), self.skip + max(done - len(frames), 0)
        return frames[: (count - 1) * self.stride + self.size] if count else frames[:0], count


class ConvStream:
    """A convolution over time, 1d or 2d, of layers.py."""

    def __init__(self, layer: Conv1d | Conv2d, streams: int) -> None:
        self.layer, self.streams = layer, streams
        self.half = layer.conv.kernel_size[-1] // 2
        self.window = _Window(2 * self.half + 1, layer.conv.stride[-1], self.half)
        self.inputs = layer.conv.in_channels * (layer.bins if isinstance(layer, Conv2d) else 1)

    def advance(self, x: Tensor) -> Tensor:
        """See `Stream`."""
        layer, conv = self.layer, self.layer.conv
        frames, count = self.window.add(x)
        if isinstance(layer, Conv1d):
            if not count:
                return x.new_zeros(0, self.streams, conv.out_channels)
            y = functional.conv1d(frames.permute(1, 2, 0), conv.weight, conv.bias, conv.stride)
            return clipped_relu(_norm(layer.norm, y.permute(2, 0, 1)))
        if not count:
            return x.new_zeros(0, self.streams, layer.bins_out * layer.channels)
        maps = frames.view(len(frames), self.streams, layer.bins, layer.maps).permute(1, 3, 2, 0)
        padding = (conv.padding[0], 0)
        y = functional.conv2d(maps, conv.weight, conv.bias, conv.stride, padding)  # type: ignore[arg-type]
        return clipped_relu(_norm(layer.norm, y.permute(3, 0, 2, 1))).flatten(2)

    def finish(self) -> Tensor:
        """See `Stream`; frames past the end are zeros."""
        return self.advance(self.layer.conv.weight.new_zeros(self.half, self.streams, self.inputs))


class RecurrentStream:
    """A forward recurrent layer."""

    def __init__(self, layer: Recurrent, streams: int) -> None:
        self.layer = layer
        H = layer.recurrent.shape[2]
        self.state = layer.recurrent.new_zeros(layer.cell.states, streams, H)

    def advance(self, x: Tensor) -> Tensor:
        """See `Stream`."""
        layer = self.layer
        if not len(x):
            return self.state.new_zeros(0, *self.state.shape[1:])
        if cudnn.can_run_fused(layer.cell, layer.norm, x):
            weight, bias = cudnn.fold_norm(layer.project, layer.norm, x)
            y, self.state = cudnn.advance_fused(layer.cell, x, weight, bias, layer.recurrent, self.state)
        else:
            gates = _norm(layer.norm, layer.project(x))
            y, self.state = rnn_advance(layer.cell, gates, layer.recurrent, self.state)
        return y

    def finish(self) -> Tensor:
        """See `Stream`."""
        return self.state.new_zeros(0, *self.state.shape[1:])


class RowConvStream:
    """A row convolution; its outputs are `ahead` steps late."""

    def __init__(self, layer: RowConv, streams: int) -> None:
        self.layer, self.streams = layer, streams
        size, taps = layer.weight.shape
        self.window = _Window(taps, 1, 0)
        self.size, self.ahead = size, taps - 1

    def advance(self, x: Tensor) -> Tensor:
        """See `Stream`."""
        frames, count = self.window.add(x)
        if not count:
            return x.new_zeros(0, self.streams, self.size)
        weight = self.layer.weight.unsqueeze(1)
        return functional.conv1d(frames.permute(1, 2, 0), weight, groups=self.size).permute(2, 0, 1)

    def finish(self) -> Tensor:
        """See `Stream`; steps past the end count as zeros."""
        return self.advance(self.layer.weight.new_zeros(self.ahead, self.streams, self.size))


class Pointwise:
    """A function of each frame alone."""

    def __init__(self, function: Callable[[Tensor], Tensor], empty: Tensor) -> None:
        """function: maps (M, C) to (M, C'). empty: (0, N, C), what it gets at the end."""
        self.function, self.empty = function, empty

    def advance(self, x: Tensor) -> Tensor:
        """See `Stream`."""
        y = self.function(x.flatten(0, 1))
        return y.view(*x.shape[:2], y.shape[1])

    def finish(self) -> Tensor:
        """See `Stream`."""
        return self.advance(self.empty)


class StreamChain:
    """Layers one after the other."""

    def __init__(self, streams: Sequence[Stream]) -> None:
        self.streams = streams

    def advance(self, x: Tensor) -> Tensor:
        """See `Stream`."""
        for stream in self.streams:
            x = stream.advance(x)
        return x

    def finish(self) -> Tensor:
        """See `Stream`: the last outputs of each layer pass through all later ones, which then finish."""
        x: Tensor | None = None
        for stream in self.streams:
            rest = [] if x is None else [stream.advance(x)]
            x = torch.cat([*rest, stream.finish()])
        assert x is not None
        return x


def _norm(norm: nn.Module, x: Tensor) -> Tensor:
    """A norm over the last of the dimensions of x."""
    return norm(x.reshape(-1, x.shape[-1])).view(x.shape)  # type: ignore[no-any-return]
