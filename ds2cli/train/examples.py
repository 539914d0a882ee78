"""Utterances, and what a batch of them is made of. N utterances, T frames, F bins, L labels. No torch: readers start
quickly without it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ds2cli.audio.recording import Recording
from ds2cli.errors import BadUtterance
from ds2cli.feats.padding import pad

Spectrogram = NDArray[np.float32]


@dataclass(frozen=True)
class Utterance:
    """One example. feats: a reference to stored features, "" where only the recording is known; num_frames: of its
    features; labels: (L,) int32; least: frames that its label needs.
    """

    id: str
    feats: str
    num_frames: int
    labels: NDArray[np.int32]
    text: str
    least: int = 1
    recording: Recording | None = None


DevFeatures = Callable[[Utterance], Spectrogram]
"""Gives the (T, F) features of an utterance as it is; BadUtterance when it cannot."""


class TrainFeatures(Protocol):
    """Gives utterances as they are seen in an epoch."""

    def __call__(self, utterance: Utterance, epoch: int, /) -> Spectrogram:
        """The features (T, F) float32; BadUtterance when there are none."""

    def frames(self, utterance: Utterance, epoch: int, /) -> int:
        """How many frames that will be, without reading anything."""


@dataclass
class BatchArrays:
    """A padded batch, longest first. feats: (N, T, F) float32; lengths, target_lengths: (N,); targets: (N, L) int64.

    unusable: what was left out of it, and why.
    """

    ids: list[str]
    feats: NDArray[np.float32]
    lengths: NDArray[np.int64]
    targets: NDArray[np.int64]
    target_lengths: NDArray[np.int64]
    unusable: dict[str, str] = field(default_factory=dict)


def gather(utterances: Sequence[Utterance], see: TrainFeatures, epoch: int) -> BatchArrays:
    """Read utterances and pad them into a batch; one that cannot be read or is not finite is left out and named."""
    found, unusable = [], {}
    for utterance in utterances:
        try:
            x = see(utterance, epoch)
        except BadUtterance as e:
            unusable[utterance.id] = e.reason
            continue
        if len(x) and np.isfinite(x).all():
            found.append((x, utterance))
        else:
            unusable[utterance.id] = "features-not-finite" if len(x) else "no-frames"
    found.sort(key=lambda item: -len(item[0]))
    return BatchArrays(
        [u.id for _, u in found],
        pad([x for x, _ in found]),
        np.array([len(x) for x, _ in found], np.int64),
        _padded_labels([u.labels for _, u in found]),
        np.array([len(u.labels) for _, u in found], np.int64),
        unusable,
    )


def empty_batch() -> BatchArrays:
    """A batch of no utterances."""
    none = np.zeros(0, np.int64)
    return BatchArrays([], pad([]), none, _padded_labels([]), none)


def _padded_labels(labels: Sequence[NDArray[np.int32]]) -> NDArray[np.int64]:
    out = np.zeros((len(labels), max(map(len, labels), default=0)), np.int64)
    for row, ids in zip(out, labels, strict=True):
        row[: len(ids)] = ids
    return out


def fingerprint(utterances: Sequence[Utterance]) -> str:
    """Changes when an utterance, its length or its label does: a checkpoint goes on with the same data only."""
    digest = hashlib.sha256()
    for u in utterances:
        digest.update(f"{u.id} {u.num_frames} ".encode() + np.asarray(u.labels, "<i4").tobytes())
    return digest.hexdigest()


def plan(
    lengths: Sequence[int], limit: int, seed: int, epoch: int, *, ascending: bool = False, most: int | None = None
) -> list[list[int]]:
    """Cut the utterances into batches of like lengths, each at most `limit` frames with padding, or one utterance, and
    at most `most` utterances.

    The cuts shift from epoch to epoch and the batches come in random order; `ascending` (SortaGrad, paper §3.3) leaves
    them from short to long. Inside a batch the longest comes first. All of it follows from (seed, epoch).
    """
    rng = np.random.default_rng((seed, epoch))
    jitter = rng.permutation(len(lengths))
    order = sorted(range(len(lengths)), key=lambda i: (lengths[i], jitter[i]))
    room = limit if ascending else int(limit * rng.uniform(0.2, 1.0))
    batches: list[list[int]] = []
    current: list[int] = []
    for i in order:
        if current and ((len(current) + 1) * lengths[i] > room or len(current) == most):
            batches.append(current[::-1])
            current, room = [], limit
        current.append(i)
    if current:
        batches.append(current[::-1])
    return batches if ascending else [batches[i] for i in rng.permutation(len(batches))]
