"""Kaldi's compressed matrices, as src/matrix/compressed-matrix.cc reads them. Notation: T rows, D columns.

"CM " has one byte per element and four quantiles per column (Kaldi's speech-feature format), "CM2 " two bytes per
element, "CM3 " one byte per element on one scale.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]
QUANTILE_MAX = 65535

SHORT_ROWS = 8
"""Up to this many rows Kaldi chooses the two-byte format, as quantiles per column would take more space."""


class OutOfFileError(Exception):
    """The file ends within the matrix."""


class NotAMatrixError(Exception):
    """The bytes are no matrix in a known format."""


def take_array(data: memoryview, kind: str, offset: int, count: int) -> NDArray[Any]:
    """An array (count,) of this type at a byte of a file; OutOfFileError if the file ends before."""
    if offset + count * np.dtype(kind).itemsize > len(data):
        raise OutOfFileError
    return np.frombuffer(data, kind, count, offset)


def check_sizes(rows: int, columns: int) -> tuple[int, int]:
    """The sizes in a header; NotAMatrixError for negative ones."""
    if rows < 0 or columns < 0:
        raise NotAMatrixError(f"its header gives a size of {rows} x {columns}")
    return rows, columns


def compressed_shape(data: memoryview, offset: int, token: bytes) -> tuple[int, int]:
    """Rows and columns of the matrix whose header begins at a byte; OutOfFileError if the file ends within it."""
    rows, columns = check_sizes(*struct.unpack("<8xii", take_array(data, "u1", offset, 16).tobytes()))
    size = {b"CM": 8 * columns + rows * columns, b"CM2": 2 * rows * columns, b"CM3": rows * columns}[token]
    take_array(data, "u1", offset + 16, size)
    return rows, columns


def decompress(data: memoryview, offset: int, token: bytes) -> Matrix:
    """The matrix (T, D) whose header begins at a byte. OutOfFileError, NotAMatrixError."""
    low, span, *sizes = struct.unpack("<ffii", take_array(data, "u1", offset, 16).tobytes())
    rows, columns = check_sizes(*sizes)
    offset += 16
    if token == b"CM2":
        values = take_array(data, "<u2", offset, rows * columns).reshape(rows, columns)
        return _as_float(values, low, span, QUANTILE_MAX)
    if token == b"CM3":
        return _as_float(take_array(data, "u1", offset, rows * columns).reshape(rows, columns), low, span, 255)
    quantiles = _as_float(take_array(data, "<u2", offset, 4 * columns).reshape(columns, 4), low, span, QUANTILE_MAX)
    codes = take_array(data, "u1", offset + 8 * columns, rows * columns).reshape(columns, rows)
    # a column has only 256 possible values, on a piecewise linear scale: decode by table look-up
    table = np.empty((columns, 256), np.float32)
    q0, q25, q75, q100 = (quantiles[:, i : i + 1] for i in range(4))
    steps = np.arange(256, dtype=np.float32)
    table[:, :65] = q0 + (q25 - q0) * (steps[:65] / 64)
    table[:, 65:193] = q25 + (q75 - q25) * ((steps[65:193] - 64) / 128)
    table[:, 193:] = q75 + (q100 - q75) * ((steps[193:] - 192) / 63)
    offsets = 256 * np.arange(columns, dtype=np.int64)[:, None]
    return np.ascontiguousarray(np.take(table, codes + offsets).T)


def _as_float(values: NDArray[Any], low: float, span: float, top: int) -> Matrix:
    return (values * np.float32(span / top) + np.float32(low)).astype(np.float32, copy=False)


def compress_matrix(matrix: Matrix) -> list[Any]:
    """The bytes of a matrix (T, D) that is not empty, in parts: its header and its codes."""
    rows, columns = matrix.shape
    low, high = np.float32(matrix.min()), np.float32(matrix.max())
    if high == low:
        high = low + (1 + abs(low))
    span = np.float32(high - low)
    if rows <= SHORT_ROWS:
        return [b"CM2 " + struct.pack("<ffii", low, span, rows, columns), _to_uint16(matrix, low, span).tobytes()]
    columnwise = np.ascontiguousarray(matrix.T)
    quarter = rows // 4
    marks = np.sort(columnwise, axis=1)[:, [0, quarter, 3 * quarter, rows - 1]].T
    # the four quantiles of a column must increase strictly, so that no segment of its scale is empty
    q0, q25, q75, q100 = _to_uint16(marks, low, span).astype(np.int64)
    q0 = np.minimum(q0, QUANTILE_MAX - 3)
    q25 = np.clip(q25, q0 + 1, QUANTILE_MAX - 2)
    q75 = np.clip(q75, q25 + 1, QUANTILE_MAX - 1)
    quantiles = np.stack([q0, q25, q75, np.maximum(q100, q75 + 1)], axis=1).astype("<u2")
    p0, p25, p75, p100 = _as_float(quantiles, float(low), float(span), QUANTILE_MAX).T[:, :, None]
    # a value above a segment adds all steps of the segment, a value below it adds none
    codes = _steps(columnwise, p0, p25, 64)
    codes += _steps(columnwise, p25, p75, 128)
    codes += _steps(columnwise, p75, p100, 63)
    head = b"CM " + struct.pack("<ffii", low, span, rows, columns)
    return [head, quantiles.tobytes(), codes.tobytes()]


def _steps(values: Matrix, low: Matrix, high: Matrix, count: int) -> NDArray[np.uint8]:
    """The nearest of `count` equal steps from low to high for each value: 0 … count."""
    scaled = values - low
    scaled *= np.float32(count) / (high - low)
    scaled += np.float32(0.5)
    return scaled.clip(0, count, out=scaled).astype(np.uint8)


def _to_uint16(values: Matrix, low: np.float32, span: np.float32) -> NDArray[np.uint16]:
    scaled = ((values - low) / span).clip(0, 1) * np.float32(QUANTILE_MAX) + np.float32(0.499)
    return scaled.astype("<u2")
