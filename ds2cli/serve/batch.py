"""One batch: the features and the network's output of the next samples of several streams. N samples, V symbols."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ds2cli.recognizer.stream import EmissionStream, compute_features, emit

STREAMS_PER_THREAD = 3
"""A batch of fewer streams is not divided among threads: they would share too little work."""

Array = NDArray[np.float32]


class Input(NamedTuple):
    """The next samples (N,) of a stream, and whether it ends with them."""

    emissions: EmissionStream
    samples: Array
    end: bool


class BatchComputer:
    """Computes batches, each divided among threads: streams do not depend on each other, and one is computed by one."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._pool = ThreadPoolExecutor(max(threads - 1, 1), "network")

    def compute(self, inputs: Sequence[Input]) -> list[Array | Exception]:
        """The log-probabilities (T, V) of each stream, or why it has failed."""
        count = min(self.threads, max(len(inputs) // STREAMS_PER_THREAD, 1))
        bounds = [len(inputs) * i // count for i in range(count + 1)]
        parts = [inputs[begin:end] for begin, end in pairwise(bounds)]
        try:
            others = [self._pool.submit(_compute, part) for part in parts[1:]]
        except RuntimeError as e:
            # the system has no thread left; parts may be computed already
            return [e] * len(inputs)
        found = _compute(parts[0])
        for other in others:
            found += other.result()
        return found

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()


def _compute(inputs: Sequence[Input]) -> list[Array | Exception]:
    streams = [emissions for emissions, _, _ in inputs]
    try:
        found = compute_features(streams, [x.samples for x in inputs], [x.end for x in inputs])
    except Exception as e:
        return [e] * len(inputs)
    ready = [i for i, x in enumerate(found) if not isinstance(x, Exception)]
    if not ready:
        return found
    try:
        emitted: Sequence[Array | Exception] = emit(
            [streams[i] for i in ready],
            [x for x in found if not isinstance(x, Exception)],
            [inputs[i].end for i in ready],
        )
    except Exception as e:
        # some of their states may have advanced: none of them can continue
        emitted = [e] * len(ready)
    for i, x in zip(ready, emitted, strict=True):
        found[i] = x
    return found
