"""Matrices packed for inference, and products with them. Notation: J outputs, K inputs, M rows.

The weights are float32, bfloat16 (half the memory) or int8 with a scale per output (a quarter). A row's result is the
same to the bit whatever the number of rows and the other rows.
"""

from __future__ import annotations

import ctypes as c
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ds2cli import native
from ds2cli.runtime.cells import clipped_relu

Array = NDArray[np.float32]
Weights = Literal["float32", "bfloat16", "int8"]

MOST_ROWS = 48
"""Rows that the native library multiplies at a time (kBlockRows of native/src/matrix.h): its workspace is for these."""

MOST_STEPS, MOST_KEPT_ROWS = 64, 4096
"""Numbers of rows whose offsets are kept, those of pieces of streams: at most 2 MB."""

SMALLEST = np.float32(7.70371978e-34)
"""Rows of int8 weights that are all smaller count as zeros, as in the native library."""


class Rows(NamedTuple):
    """Rows of K floats in a contiguous array, whose first elements are `step` floats apart: they may overlap."""

    array: Array
    length: int
    step: int

    def view(self, K: int) -> Array:
        """(length, K), not a copy."""
        if not self.length:
            return np.zeros((0, K), np.float32)
        return np.ndarray((self.length, K), np.float32, self.array, 0, (4 * self.step, 4))


class Matrix:
    """The function x -> W x + b of rows, with an optional clipped ReLU after it."""

    def __init__(self, weights: Array, bias: Array | None, kind: Weights) -> None:
        """weights: (J, K). bias: (J,)."""
        self.J, self.K = weights.shape
        self.bias = None if bias is None else np.array(bias, np.float32)
        self.native = native.available()
        weights = np.ascontiguousarray(weights, np.float32)
        if not self.native:
            self.transposed = np.ascontiguousarray(round_weights(weights, kind).T)
            return
        library = native.load_library()
        self._sizes: dict[int, tuple[int, int]] = {}
        self._steps: dict[tuple[int, int], NDArray[np.int64]] = {}
        self.shape = native.MatrixShape(native.WEIGHTS.index(kind), self.J, self.K)
        self.packed = aligned_bytes(self._find_sizes(1)[0])
        library.ds2_matrix_pack(self.shape, weights.ctypes.data, address(self.packed))
        self.packed_at, self._apply = address(self.packed), library.ds2_matrix_apply
        self._bias_at = None if self.bias is None else address(self.bias)

    @property
    def bytes(self) -> int:
        """Memory of the weights."""
        return int(self.packed.nbytes if self.native else self.transposed.nbytes)

    def workspace(self, rows: int) -> NDArray[np.uint8]:
        """What the native library needs for this many rows at a time."""
        return np.empty(self._find_sizes(min(rows, MOST_ROWS))[1], np.uint8)

    def _find_sizes(self, rows: int) -> tuple[int, int]:
        """Bytes of the packed weights and of the workspace."""
        if rows not in self._sizes:
            sizes = c.c_size_t(), c.c_size_t()
            native.load_library().ds2_matrix_sizes(self.shape, rows, c.byref(sizes[0]), c.byref(sizes[1]))
            self._sizes[rows] = sizes[0].value, sizes[1].value
        return self._sizes[rows]

    def apply(self, blocks: Sequence[Rows], *, relu: bool = False) -> Array:
        """Outputs (M, J) of the rows of all blocks."""
        if not self.native:
            rows = np.concatenate([block.view(self.K) for block in blocks]) @ self.transposed
            if self.bias is not None:
                rows += self.bias
            return clipped_relu(rows) if relu else rows
        parts = [self._pointers(block) for block in blocks if block.length]
        if not parts:
            return np.empty((0, self.J), np.float32)
        return self._multiply(parts[0] if len(parts) == 1 else np.concatenate(parts), relu)

    def apply_windows(
        self, frames: Array, starts: Sequence[int], counts: Sequence[int], stride: int, *, relu: bool = False
    ) -> Array:
        """Outputs (M, J) of windows of K floats of frames (N, C).

        starts, counts: where the first window of each stream begins, and their number.  stride: from one to the next.
        """
        size = frames.shape[1]
        if len(counts) == 1 or not self.native:
            blocks = [Rows(frames[b:], count, stride * size) for b, count in zip(starts, counts, strict=True)]
            return self.apply(blocks, relu=relu)
        if not (M := sum(counts)):
            return np.empty((0, self.J), np.float32)
        firsts = np.array(starts, np.int64)
        firsts[1:] -= stride * np.cumsum(counts[:-1])
        return self._multiply(
            np.repeat(4 * size * firsts, counts) + self._pointers(Rows(frames, M, stride * size)), relu
        )

    def _multiply(self, pointers: NDArray[np.int64], relu: bool) -> Array:
        """Outputs (M, J) of the rows at these addresses (M,)."""
        M = len(pointers)
        y, workspace = np.empty((M, self.J), np.float32), self.workspace(M)
        self._apply(
            self.shape, self.packed_at, self._bias_at, relu, M,
            address(pointers), address(y), address(workspace), len(workspace),
        )  # fmt: skip
        return y

    def _pointers(self, rows: Rows) -> NDArray[np.int64]:
        """The addresses of rows."""
        key = rows.length, rows.step
        steps = self._steps.get(key)
        if steps is None:
            steps = np.arange(rows.length, dtype=np.int64) * (4 * rows.step)
            if rows.length <= MOST_KEPT_ROWS:
                # few sizes are common
                self._steps = {} if len(self._steps) >= MOST_STEPS else self._steps
                self._steps[key] = steps
        return steps + address(rows.array)


def round_weights(weights: Array, kind: str) -> Array:
    """The values (J, K) that a matrix of this kind has."""
    if kind == "bfloat16":
        return from_bfloat16(to_bfloat16(weights))
    if kind == "int8":
        values, scale = to_int8(weights)
        return values * scale[:, None]
    return weights


def to_bfloat16(weights: Array) -> NDArray[np.uint16]:
    """Round to nearest even: the upper half of each float32. Infinity and NaN are not expected."""
    bits = np.ascontiguousarray(weights, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def from_bfloat16(values: NDArray[np.uint16]) -> Array:
    """The float32 of each bfloat16."""
    return (values.astype(np.uint32) << 16).view(np.float32)


def to_int8(weights: Array) -> tuple[NDArray[np.int8], Array]:
    """Integers (J, …) and a scale (J,) for each output, as the native library chooses them; 0 for a row of zeros.

    The scale is max |w| / 127, rounded up to 17 bits: its products with integers are exact, so that rounded weights
    have the same integers again.
    """
    rows = np.ascontiguousarray(weights, np.float32).reshape(len(weights), -1)
    largest = np.abs(rows).max(axis=1, initial=0)
    bits = (largest / np.float32(127)).view(np.uint32)
    scale = ((bits + np.uint32(0x7F)) & np.uint32(0xFFFFFF80)).view(np.float32)
    scale[largest < SMALLEST] = 0
    integers = np.rint(rows / np.where(scale > 0, scale, np.inf)[:, None]).astype(np.int8)
    return integers.reshape(weights.shape), scale


def address(array: NDArray[Any]) -> int:
    """Address of the first element of a contiguous array; a quarter of the time that `array.ctypes.data` takes."""
    return c.addressof(c.c_char.from_buffer(array))  # type: ignore[arg-type]


def aligned_bytes(size: int, boundary: int = 64) -> NDArray[np.uint8]:
    """Zeros (size,) that start on a cache line."""
    data = np.zeros(size + boundary, np.uint8)
    start = -data.ctypes.data % boundary
    return data[start : start + size]
