"""The rows of several streams in one array, one stream after another. Notation: M rows in all, C channels."""

from __future__ import annotations

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
        """Of the rows of each stream; a copy, unless there is one part that is contiguous."""
        rows = np.ascontiguousarray(parts[0]) if len(parts) == 1 else np.concatenate(parts)
        return cls(rows, [len(part) for part in parts])

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
    """The frames from the first one that the next output needs; outputs are `stride` apart, each of `size` frames."""

    kept: Array
    size: int
    stride: int
    skip: int = 0  # frames to leave out, if outputs are further apart than they are long


def slide(
    windows: Sequence[Window], rows: Array, counts: Sequence[int], after: Sequence[int]
) -> tuple[Array, list[int], list[int]]:
    """The frames that the next outputs of each stream need, where those of each stream begin, and how many outputs.

    rows: (M, …), the next `counts` frames of each stream, which follow those that its window has kept.  after: frames
    of zeros that follow those.  Output i of a stream that begins at b is that of the frames from b + i * stride on.
    """
    size = sum([len(window.kept) for window in windows]) + len(rows) + sum(after)
    frames = np.empty((size, *rows.shape[1:]), np.float32)
    starts, outputs, stop, row = [], [], 0, 0
    for window, count, zeros in zip(windows, counts, after, strict=True):
        begin, kept = stop, len(window.kept)
        stop += kept
        if kept:
            frames[begin:stop] = window.kept
        frames[stop : stop + count] = rows[row : row + count]
        stop += count
        row += count
        if zeros:
            frames[stop : stop + zeros] = 0
            stop += zeros
        if window.skip:
            left_out = min(window.skip, stop - begin)
            begin, window.skip = begin + left_out, window.skip - left_out
        complete = max((stop - begin - window.size) // window.stride + 1, 0)
        done = begin + complete * window.stride
        if done > stop:
            window.skip += done - stop
        # a copy: a piece is not kept for the sake of its end
        window.kept = frames[min(done, stop) : stop].copy()
        starts.append(begin)
        outputs.append(complete)
    return frames, starts, outputs
