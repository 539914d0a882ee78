"""Divide a recording into chunks, for a bidirectional network each in a window with context on both sides.

T frames, F bins, T' output steps, V symbols.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ds2cli.errors import BadUtterance
from ds2cli.runtime.emit import BATCH_FRAMES

Features = NDArray[np.float32]


class Window(NamedTuple):
    """Features (T, F) of a chunk with its context, and the place of the chunk in it, in frames."""

    feats: Features
    begin: int
    end: int


def split_windows(blocks: Iterable[Features], chunk: int, context: int) -> Iterator[Window]:
    """The chunks of a recording, each of `chunk` frames but the last, with up to `context` frames on both sides.

    blocks: (T_i, F) each. A window is yielded as soon as it is complete; only its frames and the last block are kept.
    """
    parts: list[Features] = []
    # frames read so far; the first one that is kept; the first one of the next chunk
    read = kept = first = 0

    def cut(begin: int, end: int) -> Features:
        if len(parts) > 1:
            parts[:] = [np.concatenate(parts)]
        return parts[0][begin - kept : end - kept]

    for block in blocks:
        parts.append(np.asarray(block, np.float32))
        read += len(block)
        while read >= first + chunk + context:
            yield Window(cut(kept, first + chunk + context), first - kept, first - kept + chunk)
            first += chunk
            begin = max(first - context, 0)
            parts, kept = [cut(begin, read)], begin
    while first < read:
        end = min(first + chunk, read)
        yield Window(cut(kept, min(end + context, read)), first - kept, end - kept)
        first = end
        begin = max(first - context, 0)
        parts, kept = [cut(begin, read)], begin


def compute_windows(
    compute: Callable[[Sequence[Features], Callable[[], None]], list[Features | BadUtterance]],
    stride: int,
    blocks: Iterable[Features],
    chunk: int,
    context: int,
    windows: int | None = None,
    check: Callable[[], None] = lambda: None,
) -> Iterator[Features]:
    """Log-probabilities (T', V) of each chunk of a recording, computed in windows.

    compute: maps windows (T, F) and `check` to log-probabilities, or errors. stride: frames per step.
    chunk, context: frames, multiples of the network's stride, so that the steps of all windows are those of the whole.
    windows: how many are computed at once; None: those of BATCH_FRAMES. check: called before each batch; may raise.
    BadUtterance if one window does not fit in memory.
    """
    if windows is None:
        windows = max(BATCH_FRAMES // (chunk + 2 * context), 1)
    waiting = split_windows(blocks, chunk, context)
    while batch := list(islice(waiting, windows)):
        for window, found in zip(batch, compute([w.feats for w in batch], check), strict=True):
            if isinstance(found, BadUtterance):
                raise found
            yield found[window.begin // stride : -(-window.end // stride)]
