"""Training utterances and how their features are read. T frames, F bins, L labels.

Does not import torch, so that data-loader processes start quickly.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ds2cli.audio.recording import Recording

Features = NDArray[np.float32]


@dataclass(frozen=True)
class Utterance:
    """One training example.

    feats: reference to stored features, "" when only the recording is known; num_frames: frames of those features;
    labels: (L,) int32; min_frames: frames that the labels need.
    """

    id: str
    feats: str
    num_frames: int
    labels: NDArray[np.int32]
    text: str
    min_frames: int = 1
    recording: Recording | None = None


DevFeatures = Callable[[Utterance], Features]
"""Reads the unaugmented features (T, F) of an utterance; raises BadUtterance when it cannot."""


class TrainFeatures(Protocol):
    """Reads the augmented features of an utterance in an epoch."""

    def __call__(self, utterance: Utterance, epoch: int, /) -> Features:
        """The features (T, F) float32; raises BadUtterance when they cannot be read."""

    def frames(self, utterance: Utterance, epoch: int, /) -> int:
        """Number of frames the call will return, without reading anything."""


def fingerprint(utterances: Sequence[Utterance]) -> str:
    """A hash of ids, lengths and labels: a checkpoint only resumes on the data it was trained on."""
    # a table has computed it
    if known := getattr(utterances, "fingerprint", ""):
        return str(known)
    digest = hashlib.sha256()
    for utterance in utterances:
        digest.update(hashed_part(utterance))
    return digest.hexdigest()


def hashed_part(u: Utterance) -> bytes:
    """What `fingerprint` hashes of an utterance."""
    return f"{u.id} {u.num_frames} ".encode() + np.asarray(u.labels, "<i4").tobytes()


def read_id(utterances: Sequence[Utterance], place: int) -> str:
    """The id of an utterance; of a table, without reading the rest of it."""
    find: Callable[[int], str] | None = getattr(utterances, "read_id", None)
    return find(place) if find is not None else utterances[place].id


def read_ids(utterances: Sequence[Utterance]) -> Iterator[str]:
    """The ids of all utterances; of a table, without reading the rest of them."""
    find: Callable[[], Iterator[list[str]]] | None = getattr(utterances, "read_ids", None)
    return chain.from_iterable(find()) if find is not None else (u.id for u in utterances)


def num_frames(utterances: Sequence[Utterance]) -> NDArray[np.int32]:
    """The frames of each utterance, without augmentation."""
    known = getattr(utterances, "num_frames", None)
    return np.array([u.num_frames for u in utterances], np.int32) if known is None else known


def min_frames(utterances: Sequence[Utterance]) -> NDArray[np.int32]:
    """The frames that the labels of each utterance need."""
    known = getattr(utterances, "min_frames", None)
    return np.array([u.min_frames for u in utterances], np.int32) if known is None else known


def read_recordings(utterances: Sequence[Utterance], places: NDArray[np.int64]) -> list[Recording | None]:
    """The recordings of the utterances at ascending places; of a table, without reading the rest of them."""
    find: Callable[[NDArray[np.int64]], list[Recording | None]] | None = getattr(utterances, "read_recordings", None)
    return find(places) if find is not None else [utterances[place].recording for place in places.tolist()]
