"""The rows of several streams in one array, one stream after another. Notation: M rows in all, C channels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ds2cli.runtime.matrix import Array


class Ragged(NamedTuple):
    """rows: (M, C), contiguous.  counts: the number of rows of each stream, which may be 0."""

    rows: Array
    counts: Sequence[int]

    @classmethod
    def join(cls, parts: Sequence[Array]) -> Ragged:
        """Of the rows of each stream, float32; a copy, unless there is one part that is contiguous."""
        counts = [len(part) for part in parts]
        parts = [part if part.flags.c_contiguous else np.ascontiguousarray(part) for part in parts]
        if len(parts) == 1:
            return cls(parts[0], counts)
        return cls(
            np.frombuffer(bytearray().join([part.data for part in parts]), np.float32).reshape(-1, parts[0].shape[1]),
            counts,
        )

    def split(self) -> list[Array]:
        """The rows of each stream, not copies."""
        if len(self.counts) == 1:
            return [self.rows]
        parts, begin = [], 0
        for count in self.counts:
            parts.append(self.rows[begin : begin + count])
            begin += count
        return parts


@dataclass
class Window:
    """The frames from the first one that the next output needs; outputs are `stride` apart, each of `size` frames.

    kept: their values, float32.  skip: frames to leave out, if outputs are further apart than they are long.
    """

    kept: bytes
    size: int
    stride: int
    skip: int = 0


def slide(
    windows: Sequence[Window], rows: Array, counts: Sequence[int], after: Sequence[int]
) -> tuple[Array, list[int], list[int]]:
    """The frames that the next outputs of each stream need, where those of each stream begin, and how many outputs.

    rows: (M, …), the next `counts` frames of each stream, which follow those that its window has kept.  after: frames
    of zeros that follow those.  Output i of a stream that begins at b is that of the frames from b + i * stride on.
    """
    shape = rows.shape[1:]
    row_bytes = rows.itemsize * math.prod(shape)
    given = rows.data.cast("B") if rows.size else memoryview(b"")
    parts, end = list[bytes | memoryview](), 0
    for window, count, zeros in zip(windows, counts, after, strict=True):
        begin, end = end, end + count * row_bytes
        parts += [window.kept, given[begin:end], bytes(zeros * row_bytes)]
    # numpy would let another thread run during each copy, which takes longer than the copy
    data = bytearray().join(parts)
    view = memoryview(data)
    starts, outputs, stop = list[int](), list[int](), 0
    for window, count, zeros in zip(windows, counts, after, strict=True):
        begin, stop = stop, stop + len(window.kept) // row_bytes + count + zeros
        if window.skip:
            left_out = min(window.skip, stop - begin)
            begin, window.skip = begin + left_out, window.skip - left_out
        complete = max((stop - begin - window.size) // window.stride + 1, 0)
        done = begin + complete * window.stride
        if done > stop:
            window.skip += done - stop
        window.kept = bytes(view[done * row_bytes : stop * row_bytes])
        starts.append(begin)
        outputs.append(complete)
    return np.frombuffer(data, np.float32).reshape(-1, *shape), starts, outputs
