"""Layers that continue: recordings in pieces, with the results of the whole.

T frames, C channels of the input, H units or channels of the output. A layer is shared by all streams; what it knows
of each is in a state of its own. `advance` takes the next frames (T_i, C) of several streams, and whether each of them
ends with these, and returns the outputs (T_i', H) that are complete. All products are computed for the rows of all
streams at once, and as little as possible is done for each stream: that takes longer than the products of a small
network. A state is used by one thread at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from ds2cli import native
from ds2cli.runtime import cells
from ds2cli.runtime.matrix import Array, Matrix, Rows, Weights, address
from ds2cli.runtime.ragged import Ragged, Window, slide

State = Any


class Layer(Protocol):
    """One layer of a network."""

    def begin(self) -> State:
        """The state of a stream before its first frame."""
        ...

    def advance(self, states: Sequence[State], x: Ragged, ends: Sequence[bool]) -> Ragged:
        """See the module."""
        ...


class UtteranceMean:
    """Subtracts the mean of each bin over the utterance (`input_norm`), whose frames wait for its end."""

    def __init__(self, bins: int) -> None:
        self.bins = bins

    def begin(self) -> list[bytes]:
        """The frames until now. See `Layer`."""
        return []

    def advance(self, states: Sequence[list[bytes]], x: Ragged, ends: Sequence[bool]) -> Ragged:
        """See `Layer`."""
        parts = []
        for waiting, rows, end in zip(states, x.split(), ends, strict=True):
            waiting.append(rows.tobytes())
            if not end:
                parts.append(rows[:0])
                continue
            whole = np.frombuffer(b"".join(waiting), np.float32).reshape(-1, self.bins)
            waiting.clear()
            # as torch adds them up: in float32
            parts.append(whole - whole.mean(0) if len(whole) else whole)
        return Ragged.join(parts)


class Conv1d:
    """Convolution over time with all bins as channels, and a clipped ReLU (paper §3.1)."""

    def __init__(self, weight: Array, bias: Array, stride: int, kind: Weights) -> None:
        """weight: (H, C, kernel)."""
        H, self.channels, self.kernel = weight.shape
        self.half, self.stride = self.kernel // 2, stride
        # as the frames of a window lie in memory
        self.matrix = Matrix(weight.transpose(0, 2, 1).reshape(H, -1), bias, kind)

    def begin(self) -> Window:
        """See `Layer`."""
        return Window(bytes(4 * self.half * self.channels), self.kernel, self.stride)

    def advance(self, states: Sequence[Window], x: Ragged, ends: Sequence[bool]) -> Ragged:
        """See `Layer`; frames past the end are zeros."""
        frames, starts, counts = slide(states, x.rows, x.counts, [self.half if end else 0 for end in ends])
        return Ragged(self.matrix.apply_windows(frames, starts, counts, self.stride, relu=True), counts)


class Conv2d:
    """Convolution over frequency and time, and a clipped ReLU (paper §3.5). Maps vary fastest, then bins."""

    def __init__(self, weight: Array, bias: Array, strides: tuple[int, int], bins: int, kind: Weights) -> None:
        """weight: (H, maps, kernel in frequency, kernel in time). strides: in frequency, time. bins: of the input."""
        self.channels, self.maps, self.height, self.kernel = weight.shape
        self.bins, self.bins_out = bins, -(-bins // strides[0])
        self.half, self.stride, self.freq_stride = self.kernel // 2, strides[1], strides[0]
        self.border = self.height // 2
        self.matrix = Matrix(weight.transpose(0, 3, 2, 1).reshape(self.channels, -1), bias, kind)

    def begin(self) -> Window:
        """See `Layer`."""
        bins = self.bins + 2 * self.border
        return Window(bytes(4 * self.half * bins * self.maps), self.kernel, self.stride)

    def advance(self, states: Sequence[Window], x: Ragged, ends: Sequence[bool]) -> Ragged:
        """See `Layer`; frames past the end, and bins beyond both ends, are zeros."""
        padded = np.zeros((len(x.rows), self.bins + 2 * self.border, self.maps), np.float32)
        padded[:, self.border : self.border + self.bins] = x.rows.reshape(len(x.rows), self.bins, self.maps)
        frames, starts, counts = slide(states, padded, x.counts, [self.half if end else 0 for end in ends])
        blocks = []
        for start, count in zip(starts, counts, strict=True):
            # a copy: the bins of a window of frames are not contiguous
            windows = np.ascontiguousarray(self._windows(frames[start:], count))
            blocks.append(Rows(windows, count * self.bins_out, self.matrix.K))
        y = self.matrix.apply(blocks, relu=True)
        return Ragged(y.reshape(-1, self.bins_out * self.channels), counts)

    def _windows(self, frames: Array, count: int) -> Array:
        """(outputs, bins_out, kernel, height, maps), not a copy."""
        frame, bin_, map_ = frames.strides
        shape = (count, self.bins_out, self.kernel, self.height, self.maps)
        strides = (self.stride * frame, self.freq_stride * bin_, frame, bin_, map_)
        return np.lib.stride_tricks.as_strided(frames, shape, strides)


class _RecurrentState:
    """h: (S, H), whose address stays the same.  heard: of a bidirectional layer, its input so far."""

    def __init__(self, h: Array) -> None:
        self.h, self.at = h, address(h)
        self.heard: list[Array] = []


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

    def advance(self, states: Sequence[_RecurrentState], x: Ragged, ends: Sequence[bool]) -> Ragged:
        """See `Layer`."""
        if len(self.directions) == 1:
            return self._run(0, states, self._project(x))
        for state, part in zip(states, x.split(), strict=True):
            # a copy: the rows of the other streams need not be kept for as long
            state.heard.append(part.copy())
        outputs = [np.zeros((0, self.size), np.float32)] * len(states)
        if not (ready := [i for i, end in enumerate(ends) if end]):
            return Ragged.join(outputs)
        gates = self._project(Ragged.join([np.concatenate(states[i].heard) for i in ready]))
        reversed_ = Ragged.join([part[::-1] for part in gates.split()])
        forward = self._run(0, [self.begin() for _ in ready], gates)
        backward = self._run(1, [self.begin() for _ in ready], reversed_)
        for i, ahead, back in zip(ready, forward.split(), backward.split(), strict=True):
            states[i].heard.clear()
            outputs[i] = ahead + back[::-1]
        return Ragged.join(outputs)

    def _project(self, x: Ragged) -> Ragged:
        return Ragged(self.project.apply([Rows(x.rows, len(x.rows), x.rows.shape[1])]), x.counts)

    def _run(self, direction: int, states: Sequence[_RecurrentState], gates: Ragged) -> Ragged:
        """h (T_i, H) of each stream, whose states are replaced by those after its last frame."""
        matrix = self.directions[direction]
        hidden = Ragged(np.empty((len(gates.rows), self.size), np.float32), gates.counts)
        if not matrix.native:
            for state, x, h in zip(states, gates.split(), hidden.split(), strict=True):
                for t in range(len(x)):
                    cells.step(self.cell, self.activation, x[t], state.h[0] @ matrix.transposed, state.h)
                    h[t] = state.h[0]
        elif len(gates.rows):
            active = [(state.at, count) for state, count in zip(states, gates.counts, strict=True) if count]
            lengths = np.array([count for _, count in active], np.int32)
            begins = np.zeros(len(active), np.int64)
            np.cumsum(lengths[:-1], out=begins[1:])
            pointers = np.empty((3, len(active)), np.int64)
            pointers[0] = address(gates.rows) + 4 * gates.rows.shape[1] * begins
            pointers[1] = [at for at, _ in active]
            pointers[2] = address(hidden.rows) + 4 * self.size * begins
            first, workspace = address(pointers), matrix.workspace(len(active))
            native.load_library().ds2_rnn_advance(
                matrix.shape, self.code, matrix.packed_at, len(active), address(lengths),
                first, first + 8 * len(active), first + 16 * len(active), address(workspace), len(workspace),
            )  # fmt: skip
        return hidden


class RowConv:
    """Row convolution: a weighted sum of this step and the next `ahead`, per unit (paper eq. 11)."""

    def __init__(self, weight: Array) -> None:
        """weight: (H, ahead + 1)."""
        self.size, taps = weight.shape
        self.ahead = taps - 1
        self.weight, self.native = np.array(weight.T, np.float32, order="C"), native.available()

    def begin(self) -> Window:
        """See `Layer`."""
        return Window(b"", self.ahead + 1, 1)

    def advance(self, states: Sequence[Window], x: Ragged, ends: Sequence[bool]) -> Ragged:
        """See `Layer`; steps past the end count as zeros."""
        frames, starts, counts = slide(states, x.rows, x.counts, [self.ahead if end else 0 for end in ends])
        y = Ragged(np.zeros((sum(counts), self.size), np.float32), counts)
        if not self.native:
            for start, count, part in zip(starts, counts, y.split(), strict=True):
                for tap, weights in enumerate(self.weight):
                    part += frames[start + tap : start + tap + count] * weights
        elif len(y.rows):
            row_conv, taps = native.load_library().ds2_row_conv, self.ahead + 1
            frames_at, weight_at, at, row = address(frames), address(self.weight), address(y.rows), 4 * self.size
            for start, count in zip(starts, counts, strict=True):
                if count:
                    row_conv(self.size, taps, count, frames_at + row * start, weight_at, at)
                    at += row * count
        return y


class Dense:
    """Fully connected layer, with a clipped ReLU or, for the output, without."""

    def __init__(self, weight: Array, bias: Array, kind: Weights, *, relu: bool) -> None:
        """weight: (H, C)."""
        self.matrix, self.relu = Matrix(weight, bias, kind), relu

    def begin(self) -> None:
        """It needs no state."""

    def advance(self, states: Sequence[State], x: Ragged, ends: Sequence[bool]) -> Ragged:
        """See `Layer`."""
        y = self.matrix.apply([Rows(x.rows, len(x.rows), x.rows.shape[1])], relu=self.relu)
        return Ragged(y, x.counts)


def count_state_bytes(state: object) -> int:
    """Memory of the arrays of one state."""
    if isinstance(state, Window):
        return len(state.kept)
    if isinstance(state, _RecurrentState):
        return state.h.nbytes + sum(x.nbytes for x in state.heard)
    return 0
