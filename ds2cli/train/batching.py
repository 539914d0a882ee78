"""Planning, reading and padding batches. N utterances, T frames, F bins, L labels.

Does not import torch, so that data-loader processes start quickly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ds2cli import memory
from ds2cli.errors import BadUtterance, Ds2Error
from ds2cli.feats.padding import pad
from ds2cli.kernels.batch_cuts import find_cuts
from ds2cli.train.batch_plan import Batches
from ds2cli.train.examples import TrainFeatures, Utterance


@dataclass
class BatchArrays:
    """A padded batch, longest utterance first.

    feats: (N, T, F) float32; lengths, target_lengths: (N,); targets: (N, L) int64; unusable: reason codes by the id of
    each utterance left out.
    """

    ids: list[str]
    feats: NDArray[np.float32]
    lengths: NDArray[np.int64]
    targets: NDArray[np.int64]
    target_lengths: NDArray[np.int64]
    unusable: dict[str, str] = field(default_factory=dict)


def plan_batches(
    lengths: Sequence[int] | NDArray[np.int32],
    max_frames: int,
    seed: int,
    epoch: int,
    *,
    ascending: bool = False,
    max_utterances: int | None = None,
) -> Batches:
    """Group utterances of similar length into batches of at most `max_frames` frames, padding included.

    Returns positions in `lengths`, the longest first in each batch. An utterance longer than `max_frames` is a batch of
    its own. Batch boundaries shift from epoch to epoch and the batches come in random order; with `ascending`
    (SortaGrad, paper §3.3) they go from short to long. Everything follows from (seed, epoch).
    """
    rng = np.random.default_rng((seed, epoch))
    lengths = np.asarray(lengths, np.int32)
    # utterances of equal length are in the order of random numbers
    mixed = np.empty(len(lengths), np.int32)
    mixed[rng.permutation(len(lengths))] = np.arange(len(lengths), dtype=np.int32)
    order = mixed[sort_stably(lengths[mixed])]
    # a first batch of random size shifts all boundaries
    first = max_frames if ascending else int(max_frames * rng.uniform(0.2, 1.0))
    ends = find_cuts(lengths, order, first, max_frames, max_utterances)
    return Batches(order, ends, np.arange(len(ends)) if ascending else rng.permutation(len(ends)))


def sort_stably(lengths: NDArray[np.int32]) -> NDArray[np.int64]:
    """The positions of lengths >= 0 from short to long, equal ones in their order."""
    # of 16 bits, numbers are counted instead of compared, in a tenth of the time
    narrow = lengths.astype(np.uint16) if len(lengths) and lengths.max() < 1 << 16 else lengths
    return np.argsort(narrow, kind="stable")


def read_batch(utterances: Sequence[Utterance], train_features: TrainFeatures, epoch: int) -> BatchArrays:
    """Read utterances and pad them into a batch; those unreadable, too large or not finite are left out and named.

    Ds2Error if the batch does not fit in memory although each of its utterances does.
    """
    examples, unusable = [], {}
    for utterance in utterances:
        try:
            read = partial(train_features, utterance, epoch)
            x = memory.fit_utterance(read, "the recording with its features", memory.SHORTER)
        except BadUtterance as e:
            unusable[utterance.id] = e.reason
            continue
        if len(x) and np.isfinite(x).all():
            examples.append((x, utterance))
        else:
            unusable[utterance.id] = "features-not-finite" if len(x) else "no-frames"
    examples.sort(key=lambda example: -len(example[0]))
    feats, lack = memory.try_to_fit(lambda: pad([x for x, _ in examples]))
    if feats is None and len(examples) == 1:
        return replace(empty_batch(), unusable=unusable | {examples[0][1].id: memory.OUT_OF_MEMORY})
    if feats is None:
        size = f"{len(examples)} utterances, the longest of {len(examples[0][0])} frames"
        raise Ds2Error(f"a batch of {size}, does not fit in memory: {lack} (use a smaller --batch-s)")
    return BatchArrays(
        [u.id for _, u in examples],
        feats,
        np.array([len(x) for x, _ in examples], np.int64),
        _pad_labels([u.labels for _, u in examples]),
        np.array([len(u.labels) for _, u in examples], np.int64),
        unusable,
    )


def empty_batch() -> BatchArrays:
    """A batch without utterances."""
    empty = np.zeros(0, np.int64)
    return BatchArrays([], pad([]), empty, _pad_labels([]), empty)


def _pad_labels(labels: Sequence[NDArray[np.int32]]) -> NDArray[np.int64]:
    out = np.zeros((len(labels), max(map(len, labels), default=0)), np.int64)
    for row, ids in zip(out, labels, strict=True):
        row[: len(ids)] = ids
    return out
