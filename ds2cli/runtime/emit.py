"""Emissions of features: log-probabilities of whole recordings, and of one that comes in pieces.

T frames, F bins, T' output steps, V symbols.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import numpy as np

from ds2cli import memory
from ds2cli.errors import BadUtterance
from ds2cli.runtime.matrix import Array
from ds2cli.runtime.network import RuntimeNetwork

BATCH_FRAMES = 6000
"""Frames computed at once: recordings of a minute together read each weight once for all of them."""


def log_softmax(logits: Array) -> Array:
    """Log-probabilities (T', V); each row depends on its logits only."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))  # type: ignore[no-any-return]


def compute_emissions(
    network: RuntimeNetwork, feats: Sequence[Array], check: Callable[[], None] = lambda: None
) -> list[Array | BadUtterance]:
    """Log-probabilities (T', V) of recordings (T, F), or the error that they do not fit in memory, in their order.

    check: called before each batch; may raise to stop.
    """
    found: list[Array | BadUtterance] = [np.zeros((0, network.symbols), np.float32)] * len(feats)

    def compute(batch: list[int]) -> None:
        check()
        work = partial(network.compute, [feats[i] for i in batch])
        logits, lack = memory.try_to_fit(work)
        if logits is not None:
            for i, x in zip(batch, logits, strict=True):
                found[i] = log_softmax(x)
        elif len(batch) > 1:
            for part in (batch[: len(batch) // 2], batch[len(batch) // 2 :]):
                compute(part)
        else:
            size = f"the network over {len(feats[batch[0]])} frames does not fit in memory: {lack}"
            found[batch[0]] = BadUtterance(memory.OUT_OF_MEMORY, f"{size} ({memory.SHORTER})")

    for batch in _group([len(x) for x in feats]):
        compute(batch)
    return found


def compute_stream(
    network: RuntimeNetwork, pieces: Iterable[Array], check: Callable[[], None] = lambda: None
) -> Iterator[Array]:
    """Log-probabilities (T', V), T' >= 1, of a recording by a forward-only network, after each piece (T, F) of it."""
    state = network.begin()
    for piece in pieces:
        check()
        (logits,) = network.advance([state], [piece])
        if len(logits):
            yield log_softmax(logits)
    check()
    (logits,) = network.advance([state], [np.zeros((0, network.bins), np.float32)], [True])
    if len(logits):
        yield log_softmax(logits)


def _group(lengths: list[int]) -> Iterator[list[int]]:
    """Indices of recordings, longest first, of together at most BATCH_FRAMES; empty ones are left out."""
    group: list[int] = []
    frames = 0
    for i in sorted((i for i, n in enumerate(lengths) if n), key=lambda i: -lengths[i]):
        if group and frames + lengths[i] > BATCH_FRAMES:
            yield group
            group, frames = [], 0
        group.append(i)
        frames += lengths[i]
    if group:
        yield group
