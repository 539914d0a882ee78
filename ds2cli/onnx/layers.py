"""The layers of Deep Speech 2 as ONNX operators: of whole utterances, and of streams.

N utterances or streams, T frames, C channels of the input, H units or channels of the output, G gates. Values between
layers are (N, T, C), only those of the recurrent layers (T, N, C), as ONNX wants them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy.typing import NDArray

from ds2cli.onnx.graph import LAST, Graph, Shape
from ds2cli.runtime.cells import CLIP

Array = NDArray[np.float32]

OPERATORS = {"gru": "GRU", "rnn": "RNN", "lstm": "LSTM"}
ORDER = {"gru": (1, 0, 2), "rnn": (0,), "lstm": (0, 3, 1, 2)}
"""Our gates (GRU: r, z, n; LSTM: i, f, g, o) in the order of ONNX (z, r, h; i, o, f, c)."""


def normalize(g: Graph, x: str, mean: Array, std: Array) -> str:
    """The features with the mean and standard deviation of the training frames taken out."""
    return g.op("Div", g.op("Sub", x, g.weight("mean", mean)), g.weight("std", std))


def subtract_mean(g: Graph, x: str, lengths: str) -> str:
    """(N, T, F), zeros past the end of each utterance, less the mean of each bin over the utterance."""
    sums = g.op("ReduceSum", x, g.ints(1), keepdims=1)
    counts = g.op("Unsqueeze", g.op("Cast", lengths, to=onnx.TensorProto.FLOAT), g.ints(1, 2))
    return g.op("Sub", x, g.op("Div", sums, counts))


def clipped_relu(g: Graph, x: str) -> str:
    """min(max(x, 0), 20), paper §3.1."""
    return g.op("Clip", x, g.weight("zero", np.float32(0)), g.weight("clip", np.float32(CLIP)))


def dense(g: Graph, name: str, x: str, weight: Array, bias: Array, *, relu: bool) -> str:
    """A fully connected layer."""
    product = g.op("MatMul", x, g.weight(f"{name}.weight", weight.T))
    y = g.op("Add", product, g.weight(f"{name}.bias", bias))
    return clipped_relu(g, y) if relu else y


@dataclass
class Conv:
    """A convolution over time, with all bins as channels (1d), or over frequency and time (2d).

    weight: (H, C, K), or (H, maps, K of frequency, K). strides: of time, or of frequency and time.
    bins: of the input (2d); its channels are then bins * maps, maps varying fastest.
    """

    name: str
    weight: Array
    bias: Array
    strides: tuple[int, ...]
    bins: int = 0

    @property
    def half(self) -> int:
        """Frames of zeros before the first one, and after the last one."""
        return int(self.weight.shape[-1]) // 2

    @property
    def inputs(self) -> int:
        """Channels of the input."""
        return int(self.weight.shape[1]) * max(self.bins, 1)

    @property
    def bins_out(self) -> int:
        """Bins of the output (2d)."""
        return -(-self.bins // self.strides[0])

    def compute(self, g: Graph, x: str, *, pad: int, taps: int | None = None) -> str:
        """(N, T, C) to (N, T', H).

        pad: frames of zeros on both sides. taps: filter length in time, with zeros after the filter.
        """
        weight = self.weight
        if taps is not None:
            weight = np.pad(weight, [(0, 0)] * (weight.ndim - 1) + [(0, taps - weight.shape[-1])])
        names = g.weight(f"{self.name}.weight", weight), g.weight(f"{self.name}.bias", self.bias)
        if weight.ndim == 3:
            y = g.op("Conv", g.transpose(x, 0, 2, 1), *names, pads=[pad, pad], strides=self.strides)
            return clipped_relu(g, g.transpose(y, 0, 2, 1))
        maps = g.op("Reshape", x, g.ints(0, 0, self.bins, weight.shape[1]))
        pads = [weight.shape[2] // 2, pad] * 2
        y = g.op("Conv", g.transpose(maps, 0, 3, 2, 1), *names, pads=pads, strides=self.strides)
        y = g.op("Reshape", g.transpose(y, 0, 3, 2, 1), g.ints(0, 0, self.bins_out * len(weight)))
        return clipped_relu(g, y)


@dataclass
class Recurrent:
    """A recurrent layer of one or two directions, which are summed.

    project: (GH, C), of both directions. bias: (GH,). recurrent: (directions, GH, H).
    """

    name: str
    project: Array
    bias: Array
    recurrent: Array
    cell: str
    activation: str

    @property
    def size(self) -> int:
        """Units, H."""
        return int(self.recurrent.shape[2])

    @property
    def states(self) -> tuple[str, ...]:
        """The names of its states."""
        return ("h", "c") if self.cell == "lstm" else ("h",)

    def compute(self, g: Graph, x: str, lengths: str = "", states: list[str] | None = None) -> list[str]:
        """(T, N, C) to (T, N, H), and the last states, (1, N, H) each.

        lengths: (N,) int32; the outputs after them are zeros. states: the first ones, (1, N, H) each.
        """
        directions, rows, size = self.recurrent.shape
        order = np.arange(rows).reshape(-1, size)[list(ORDER[self.cell])].reshape(-1)
        weights = [
            np.broadcast_to(self.project[order], (directions, *self.project.shape)),
            self.recurrent[:, order],
            np.broadcast_to(np.concatenate([self.bias[order], np.zeros(rows, np.float32)]), (directions, 2 * rows)),
        ]
        names = [g.weight(f"{self.name}.{name}", value) for name, value in zip(("W", "R", "B"), weights, strict=True)]
        outputs = g.ops(
            OPERATORS[self.cell], [x, *names, lengths, *(states or [])], 1 + len(self.states), **self._attributes()
        )
        return [g.op("ReduceSum", outputs[0], g.ints(1), keepdims=0), *outputs[1:]]

    def _attributes(self) -> dict[str, object]:
        directions, _, size = self.recurrent.shape
        values: dict[str, object] = {
            "hidden_size": size,
            "direction": "bidirectional" if directions == 2 else "forward",
        }
        if self.cell == "gru":
            # n = f(x_n + r ∘ (U h)), and not f(x_n + U (r ∘ h))
            values["linear_before_reset"] = 1
        f = "Relu" if self.activation == "relu" else "Tanh"
        if f == "Relu":
            # what enters f is clipped to ±20, and so f to 0 … 20; the gates of a GRU do not change by as much as 1e-8
            values["clip"] = CLIP
        values["activations"] = {"gru": ["Sigmoid", f], "rnn": [f], "lstm": ["Sigmoid", f, f]}[self.cell] * directions
        return values


def row_conv(g: Graph, x: str, weight: Array) -> str:
    """The row convolution (N, T, H) to (N, T - A, H), of this step and the next A. weight: (H, A + 1)."""
    name = g.weight("row_conv.weight", weight[:, None])
    y = g.op("Conv", g.transpose(x, 0, 2, 1), name, group=len(weight))
    return g.transpose(y, 0, 2, 1)


@dataclass
class Streams:
    """Streams in a graph that computes their next frames: the states of layers are its inputs and outputs.

    end: (1,) int64, 1 at the end of the streams, else 0. states: the shape of each state before the first frame, at
    which all of them are zeros, without the dimension N.
    """

    g: Graph
    n: str
    end: str
    states: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def read(self, name: str, first: tuple[int, ...], *, grows: bool = False) -> str:
        """A state (N, …), which is an input; grows: the size of its second dimension may change."""
        self.states[f"state_{name}"] = first
        sizes: Shape = (f"K_{name}", *first[1:]) if grows else first
        return self.g.input(f"state_{name}", ("N", *sizes))

    def write(self, name: str, value: str, *, grows: bool = False) -> None:
        """The next value of a state, which is an output."""
        first = self.states[f"state_{name}"]
        sizes: Shape = (f"new_K_{name}", *first[1:]) if grows else first
        self.g.output(f"new_state_{name}", value, ("N", *sizes))

    def window(
        self, name: str, x: str, channels: int, *, size: int, stride: int, before: int, after: int
    ) -> tuple[str, str]:
        """The frames (N, T, C) of the outputs that are complete with the next frames x, and their number (1,).

        Outputs are `stride` apart, each of `size` frames, size >= stride; the frames from the first one that the next
        output needs are kept. If none is complete, the frames are those of one output, to be left out.
        before, after: frames of zeros before the first frame, and after the last one.
        """
        g = self.g
        kept = self.read(name, (before, channels), grows=True)
        zeros = g.zeros(self.n, g.op("Mul", self.end, g.ints(after)), g.ints(channels))
        frames = g.op("Concat", kept, x, zeros, axis=1)
        found = g.size(frames, 1)
        # truncated and not rounded down: right for 0 and above, and anything below becomes 0
        steps = g.op("Div", g.op("Sub", found, g.ints(size - stride)), g.ints(stride))
        count = g.op("Max", steps, g.ints(0))
        self.write(name, g.slice(frames, 1, g.op("Mul", count, g.ints(stride)), g.ints(LAST)), grows=True)
        lack = g.op("Max", g.op("Sub", g.ints(size), found), g.ints(0))
        return g.op("Concat", frames, g.zeros(self.n, lack, g.ints(channels)), axis=1), count

    def conv(self, layer: Conv, x: str) -> tuple[str, str]:
        """The outputs (N, T', H) of a convolution, T' >= 1, and how many of them are complete (1,)."""
        taps, stride = layer.weight.shape[-1], layer.strides[-1]
        # a filter shorter than its stride gets zeros, so that windows have no gaps
        size = max(taps, stride)
        after = max(layer.half, size - 1 - layer.half)
        frames, count = self.window(
            layer.name, x, layer.inputs, size=size, stride=stride, before=layer.half, after=after
        )
        return layer.compute(self.g, frames, pad=0, taps=size), count

    def recurrent(self, layer: Recurrent, x: str, count: str) -> str:
        """(T, N, C) to (T, N, H), T >= 1; if none of the frames is complete (count 0), the states stay."""
        g = self.g
        names = [f"{layer.name}_{state}" for state in layer.states]
        states = [self.read(name, (layer.size,)) for name in names]
        y, *found = layer.compute(g, x, states=[g.op("Unsqueeze", state, g.ints(0)) for state in states])
        some = g.op("Greater", count, g.ints(0))
        for name, state, new in zip(names, states, found, strict=True):
            self.write(name, g.op("Where", some, g.op("Squeeze", new, g.ints(0)), state))
        return y

    def row_conv(self, x: str, weight: Array) -> tuple[str, str]:
        """The outputs (N, T', H) of the row convolution, T' >= 1, and how many of them are complete (1,)."""
        size, taps = weight.shape
        frames, count = self.window("row_conv", x, size, size=taps, stride=1, before=0, after=taps - 1)
        return row_conv(self.g, frames, weight), count

    def complete(self, x: str, count: str) -> str:
        """The steps (N, T, C) that are complete."""
        return self.g.slice(x, 1, self.g.ints(0), count)
