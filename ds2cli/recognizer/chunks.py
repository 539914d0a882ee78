"""Emissions of long recordings, computed in chunks. Notation: T frames, F bins, T' output steps, V symbols."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ds2cli.recognizer.experiment import Experiment
from ds2cli.recognizer.windows import compute_windows, split_windows
from ds2cli.runtime.emit import compute_emissions as compute_in_runtime
from ds2cli.runtime.emit import compute_stream as compute_in_pieces

CHUNK_S = 20.0
"""Default length of a chunk (s)."""

CONTEXT_S = 4.0
"""Default context on each side of a chunk (s)."""


def emit_in_chunks(
    experiment: Experiment,
    blocks: Iterable[NDArray[np.float32]],
    chunk_s: float = CHUNK_S,
    context_s: float = CONTEXT_S,
    *,
    windows: int | None = None,
    check: Callable[[], None] = lambda: None,
) -> Iterator[NDArray[np.float32]]:
    """Log-probabilities (T', V) float32 of a recording, T' >= 1: in order, those of all its ceil(T / stride) steps.

    blocks: the features (T, F) of the recording in pieces of any length, not normalized; each is read when it is
    needed. Memory does not depend on their number: a block is kept, and what is computed at once.
    chunk_s: length of a chunk (s), rounded to whole steps. A forward-only network continues from chunk to chunk, and
    the result is that of the whole up to rounding. context_s: what a bidirectional network hears on each side of a
    chunk (s), rounded up to whole steps; its result is then close to that of the whole.
    windows: chunks that a bidirectional network computes at once: 1 for live input; None: those of a minute.
    check: called before each piece of work; may raise to stop.
    BadUtterance if a chunk of a bidirectional network does not fit in memory.
    """
    network, runtime = experiment.network, experiment.runtime
    stride = network.config.stride
    can_stream = experiment.trained.model.can_stream if runtime is None else runtime.can_stream
    chunk = max(round(chunk_s / network.step_s), 1) * stride
    context = math.ceil(context_s / network.step_s - 1e-6) * stride
    if can_stream:
        pieces = (window.feats for window in split_windows(blocks, chunk, 0))
        if runtime is not None:
            return compute_in_pieces(runtime, pieces, check)

        from ds2cli.nn.pieces import compute_stream

        return compute_stream(experiment.trained, pieces, check)
    if runtime is not None:
        return compute_windows(partial(compute_in_runtime, runtime), stride, blocks, chunk, context, windows, check)

    from ds2cli.nn.infer import compute_emissions

    compute = partial(compute_emissions, experiment.trained)
    return compute_windows(compute, stride, blocks, chunk, context, windows, check)
