"""Emissions of recordings of any length, in memory that does not grow with it.

A forward-only network continues from chunk to chunk, with the result of the whole. A bidirectional one sees each chunk
in a window with context on both sides. T frames, F bins, T' output steps, V symbols.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ds2cli.errors import BadUtterance
from ds2cli.nn.checkpoint import TrainedModel
from ds2cli.nn.device import autocast
from ds2cli.nn.infer import BATCH_FRAMES, compute_emissions

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
    trained: TrainedModel,
    blocks: Iterable[Features],
    chunk: int,
    context: int,
    windows: int | None = None,
    check: Callable[[], None] = lambda: None,
) -> Iterator[Features]:
    """Log-probabilities (T', V) of each chunk of a recording, computed in windows.

    chunk, context: frames, multiples of the network's stride, so that the steps of all windows are those of the whole.
    windows: how many are computed at once; None: those of BATCH_FRAMES. check: called before each batch; may raise.
    BadUtterance if one window does not fit in memory.
    """
    stride = trained.model.stride
    if windows is None:
        windows = max(BATCH_FRAMES // (chunk + 2 * context), 1)
    waiting = split_windows(blocks, chunk, context)
    while batch := list(islice(waiting, windows)):
        for window, found in zip(batch, compute_emissions(trained, [w.feats for w in batch], check), strict=True):
            if isinstance(found, BadUtterance):
                raise found
            yield found[window.begin // stride : -(-window.end // stride)]


def compute_stream(
    trained: TrainedModel, blocks: Iterable[Features], chunk: int, check: Callable[[], None] = lambda: None
) -> Iterator[Features]:
    """Log-probabilities (T', V), T' >= 1, of a recording by a forward-only network that continues after each chunk.

    blocks, chunk, check: as for `compute_windows`.
    """
    stream = trained.model.stream()
    device = trained.model.mean.device

    def compute(work: Callable[[], Tensor]) -> Features:
        check()
        with torch.inference_mode(), autocast(device, trained.precision):
            logits = work()
        with torch.inference_mode():
            scores: Features = logits[:, 0].float().log_softmax(-1).cpu().numpy()
        return scores

    for window in split_windows(blocks, chunk, 0):
        frames = torch.from_numpy(np.ascontiguousarray(window.feats)).unsqueeze(1).to(device)
        scores = compute(lambda frames=frames: stream.advance(frames))  # type: ignore[misc]
        if len(scores):
            yield scores
    if len(scores := compute(stream.finish)):
        yield scores
