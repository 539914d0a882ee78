"""Layers that continue: recordings in pieces, with the results of the whole.

T frames, C channels of the input, H units or channels of the output. A layer is shared by all streams; what it knows
of each is in a state of its own. `advance` takes the next frames (T_i, C) of several streams, and whether each of them
ends with these, and returns the outputs (T_i', H) that are complete. All products are computed for the rows of all
streams at once. A state is used by one thread at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from ds2cli import native
from ds2cli.runtime import cells
from ds2cli.runtime.matrix import Array, Matrix, Rows, Weights, address

State = Any


class Layer(Protocol):
    """One layer of a network."""

    def begin(self) -> State:
        """The state of a stream before its first frame."""
        ...

    def advance(self, states: Sequence[State], xs: Sequence[Array], ends: Sequence[bool]) -> list[Array]:
        """See the module."""
        ...


def rows_of(xs: Sequence[Array]) -> list[Rows]:
    """All rows of each stream; a copy where they are not contiguous."""
    return [Rows(x if x.flags.c_contiguous else np.ascontiguousarray(x), len(x), x.shape[1]) for x in xs]


def split_rows(rows: Array, counts: Sequence[int]) -> list[Array]:
    """The rows of each stream again."""
    if len(counts) == 1:
        return [rows]
    parts, begin = [], 0
    for count in counts:
        parts.append(rows[begin : begin + count])
        begin += count
    return parts


@dataclass
class _Window:
    """The frames from the first one that the next output needs; outputs are `stride` apart, each of `size` frames."""

    kept: Array
    size: int
    stride: int
    skip: int = 0  # frames to leave out, if outputs are further apart than they are long

    def add(self, x: Array, after: int) -> tuple[Array, int]:
        """The frames that are kept with those of x and `after` frames of zeros, and how many outputs are complete.

        Output i begins at frame i * stride.
        """
        parts = [self.kept, x]
        if after:
            parts.append(np.zeros((after, *x.shape[1:]), np.float32))
        frames = np.concatenate(parts)
        if self.skip:
            left_out = min(self.skip, len(frames))
            frames, self.skip = frames[left_out:], self.skip - left_out
        count = max((len(frames) - self.size) // self.stride + 1, 0)
        done = count * self.stride
        self.skip += max(done - len(frames), 0)
        kept = frames[done:]
        # a long piece is not kept for the sake of its end
        self.kept = kept.copy() if len(frames) > 4 * len(kept) else kept
        return frames, count


class Conv1d:
    """Convolution over time with all bins as channels, and a clipped ReLU (paper §3.1)."""

    def __init__(self, weight: Array, bias: Array, stride: int, kind: Weights) -> None:
        """weight: (H, C, kernel)."""
        H, self.channels, self.kernel = weight.shape
        self.half, self.stride = self.kernel // 2, stride
        # as the frames of a window lie in memory
        self.matrix = Matrix(weight.transpose(0, 2, 1).reshape(H, -1), bias, kind)

    def begin(self) -> _Window:
        """See `Layer`."""
        return _Window(np.zeros((self.half, self.channels), np.float32), self.kernel, self.stride)

    def advance(self, states: Sequence[_Window], xs: Sequence[Array], ends: Sequence[bool]) -> list[Array]:
        """See `Layer`; frames past the end are zeros."""
        blocks = []
        for window, x, end in zip(states, xs, ends, strict=True):
            frames, count = window.add(x, self.half if end else 0)
            blocks.append(Rows(frames, count, self.stride * self.channels))
        return split_rows(self.matrix.apply(blocks, relu=True), [block.length for block in blocks])


class Conv2d:
    """Convolution over frequency and time, and a clipped ReLU (paper §3.5). Maps vary fastest, then bins."""

    def __init__(self, weight: Array, bias: Array, strides: tuple[int, int], bins: int, kind: Weights) -> None:
        """weight: (H, maps, kernel in frequency, kernel in time). strides: in frequency, time. bins: of the input."""
        self.channels, self.maps, self.height, self.kernel = weight.shape
        self.bins, self.bins_out = bins, -(-bins // strides[0])
        self.half, self.stride, self.freq_stride = self.kernel // 2, strides[1], strides[0]
        self.border = self.height // 2
        self.matrix = Matrix(weight.transpose(0, 3, 2, 1).reshape(self.channels, -1), bias, kind)

    def begin(self) -> _Window:
        """See `Layer`."""
        bins = self.bins + 2 * self.border
        return _Window(np.zeros((self.half, bins, self.maps), np.float32), self.kernel, self.stride)

    def advance(self, states: Sequence[_Window], xs: Sequence[Array], ends: Sequence[bool]) -> list[Array]:
        """See `Layer`; frames past the end, and bins beyond both ends, are zeros."""
        blocks, counts = [], []
        for window, x, end in zip(states, xs, ends, strict=True):
            padded = np.zeros((len(x), self.bins + 2 * self.border, self.maps), np.float32)
            padded[:, self.border : self.border + self.bins] = x.reshape(len(x), self.bins, self.maps)
            frames, count = window.add(padded, self.half if end else 0)
            # a copy: the bins of a window of frames are not contiguous
            windows = np.ascontiguousarray(self._windows(frames, count))
            blocks.append(Rows(windows, count * self.bins_out, self.matrix.K))
            counts.append(count)
        y = self.matrix.apply(blocks, relu=True)
        return split_rows(y.reshape(-1, self.bins_out * self.channels), counts)

    def _windows(self, frames: Array, count: int) -> Array:
        """(outputs, bins_out, kernel, height, maps), not a copy."""
        frame, bin_, map_ = frames.strides
        shape = (count, self.bins_out, self.kernel, self.height, self.maps)
        strides = (self.stride * frame, self.freq_stride * bin_, frame, bin_, map_)
        return np.lib.stride_tricks.as_strided(frames, shape, strides)


@dataclass
class _RecurrentState:
    h: Array
    heard: list[Array] = field(default_factory=list)  # of a bidirectional layer: its input so far


class Recurrent:
    """Recurrent layer (paper eq. 3, 10). A bidirectional one waits for the end; its directions are summed."""

    def __init__(
        self, project: Array, bias: Array, recurrent: Array, cell: str, activation: str, kind: Weights
    ) -> None:
        """project: (GH, C). bias: (GH,). recurrent: (D, GH, H)."""
        self.project = Matrix(project, bias, kind)
        self.directions = [Matrix(matrix, None, kind) for matrix in recurrent]
        self.cell, self.activation, self.size = cell, activation, recurrent.shape[2]
        self.code, self.states = cells.CODES[cell, activation], cells.STATES[cell]

    def begin(self) -> _RecurrentState:
        """See `Layer`."""
        return _RecurrentState(np.zeros((self.states, self.size), np.float32))

    def advance(self, states: Sequence[_RecurrentState], xs: Sequence[Array], ends: Sequence[bool]) -> list[Array]:
        """See `Layer`."""
        if len(self.directions) == 1:
            return self._run(0, [state.h for state in states], self._project(xs))
        for state, x in zip(states, xs, strict=True):
            state.heard.append(x)
        ready = [i for i, end in enumerate(ends) if end]
        outputs = [np.zeros((0, self.size), np.float32)] * len(xs)
        if not ready:
            return outputs
        gates = self._project([np.concatenate(states[i].heard) for i in ready])
        forward = self._run(0, [self.begin().h for _ in ready], gates)
        backward = self._run(1, [self.begin().h for _ in ready], [np.ascontiguousarray(x[::-1]) for x in gates])
        for i, ahead, back in zip(ready, forward, backward, strict=True):
            states[i].heard.clear()
            outputs[i] = ahead + back[::-1]
        return outputs

    def _project(self, xs: Sequence[Array]) -> list[Array]:
        return split_rows(self.project.apply(rows_of(xs)), [len(x) for x in xs])

    def _run(self, direction: int, states: Sequence[Array], gates: Sequence[Array]) -> list[Array]:
        """h (T_i, H) of each stream, whose states are replaced by those after its last frame."""
        matrix = self.directions[direction]
        hidden = [np.empty((len(x), self.size), np.float32) for x in gates]
        if not matrix.native:
            for x, state, h in zip(gates, states, hidden, strict=True):
                for t in range(len(x)):
                    cells.step(self.cell, self.activation, x[t], state[0] @ matrix.transposed, state)
                    h[t] = state[0]
        elif active := [i for i, x in enumerate(gates) if len(x)]:
            count = len(active)
            lengths = np.array([len(gates[i]) for i in active], np.int32)
            pointers = np.array([address(arrays[i]) for arrays in (gates, states, hidden) for i in active], np.int64)
            first, workspace = address(pointers), matrix.workspace(count)
            native.load_library().ds2_rnn_advance(
                matrix.shape, self.code, matrix.packed_at, count, address(lengths),
                first, first + 8 * count, first + 16 * count, address(workspace), len(workspace),
            )  # fmt: skip
        return hidden


class RowConv:
    """Row convolution: a weighted sum of this step and the next `ahead`, per unit (paper eq. 11)."""

    def __init__(self, weight: Array) -> None:
        """weight: (H, ahead + 1)."""
        self.size, taps = weight.shape
        self.ahead = taps - 1
        self.weight, self.native = np.array(weight.T, np.float32, order="C"), native.available()

    def begin(self) -> _Window:
        """See `Layer`."""
        return _Window(np.zeros((0, self.size), np.float32), self.ahead + 1, 1)

    def advance(self, states: Sequence[_Window], xs: Sequence[Array], ends: Sequence[bool]) -> list[Array]:
        """See `Layer`; steps past the end count as zeros."""
        return [
            self._sum(*window.add(x, self.ahead if end else 0)) for window, x, end in zip(states, xs, ends, strict=True)
        ]

    def _sum(self, frames: Array, count: int) -> Array:
        y = np.zeros((count, self.size), np.float32)
        if not self.native:
            for tap, weights in enumerate(self.weight):
                y += frames[tap : tap + count] * weights
        elif count:
            row_conv = native.load_library().ds2_row_conv
            row_conv(self.size, self.ahead + 1, count, address(frames), address(self.weight), address(y))
        return y


class Dense:
    """Fully connected layer, with a clipped ReLU or, for the output, without."""

    def __init__(self, weight: Array, bias: Array, kind: Weights, *, relu: bool) -> None:
        """weight: (H, C)."""
        self.matrix, self.relu = Matrix(weight, bias, kind), relu

    def begin(self) -> None:
        """It needs no state."""

    def advance(self, states: Sequence[State], xs: Sequence[Array], ends: Sequence[bool]) -> list[Array]:
        """See `Layer`."""
        return split_rows(self.matrix.apply(rows_of(xs), relu=self.relu), [len(x) for x in xs])


def count_state_bytes(state: object) -> int:
    """Memory of the arrays of one state."""
    if isinstance(state, _Window):
        return state.kept.base.nbytes if state.kept.base is not None else state.kept.nbytes
    if isinstance(state, _RecurrentState):
        return state.h.nbytes + sum(x.nbytes for x in state.heard)
    return 0
