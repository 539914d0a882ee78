"""Which utterances make a batch, and the batch. N utterances, T frames, F bins, L labels.

All of it follows from (seed, epoch), so that a resumed run and a run on more processes see the same data.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Reader = Callable[[str], NDArray[np.float32]]
"""Gives the (T, F) features that a reference points to."""


@dataclass(frozen=True)
class Utterance:
    """One example. num_frames: of its features; labels: (L,) int32; least: frames that its label needs."""

    id: str
    feats: str
    num_frames: int
    labels: NDArray[np.int32]
    text: str
    least: int = 1


def fingerprint(utterances: Sequence[Utterance]) -> str:
    """Changes when an utterance, its length or its label does: a checkpoint goes on with the same data only."""
    digest = hashlib.sha256()
    for u in utterances:
        digest.update(f"{u.id} {u.num_frames} ".encode() + np.asarray(u.labels, "<i4").tobytes())
    return digest.hexdigest()


@dataclass
class Batch:
    """A padded batch, longest first. feats: (N, T, F); lengths, target_lengths: (N,); targets: (N, L).

    unusable: what was left out of it, and why.
    """

    ids: list[str]
    feats: Tensor
    lengths: Tensor
    targets: Tensor
    target_lengths: Tensor
    unusable: dict[str, str] = field(default_factory=dict)


def plan(lengths: Sequence[int], limit: int, seed: int, epoch: int, *, ascending: bool = False) -> list[list[int]]:
    """Cut the utterances into batches of like lengths, each at most `limit` frames with padding (or one utterance).

    The cuts shift from epoch to epoch and the batches come in random order; `ascending` (SortaGrad, paper §3.3) leaves
    them from short to long. Inside a batch the longest comes first.
    """
    rng = np.random.default_rng((seed, epoch))
    jitter = rng.permutation(len(lengths))
    order = sorted(range(len(lengths)), key=lambda i: (lengths[i], jitter[i]))
    room = limit if ascending else int(limit * rng.uniform(0.2, 1.0))
    batches: list[list[int]] = []
    current: list[int] = []
    for i in order:
        if current and (len(current) + 1) * lengths[i] > room:
            batches.append(current[::-1])
            current, room = [], limit
        current.append(i)
    if current:
        batches.append(current[::-1])
    return batches if ascending else [batches[i] for i in rng.permutation(len(batches))]


Vary = Callable[[NDArray[np.float32], Utterance], NDArray[np.float32]]
"""Gives the features of an utterance as they are seen this time."""


def load(utterances: Sequence[Utterance], read: Reader, vary: Vary) -> Batch:
    """Read utterances and pad them into a batch; one whose features are not finite is left out and named."""
    found, unusable = [], {}
    for utterance in utterances:
        x = read(utterance.feats)
        if np.isfinite(x).all():
            found.append((vary(x, utterance), utterance))
        else:
            unusable[utterance.id] = "features-not-finite"
    found.sort(key=lambda item: -len(item[0]))
    return Batch(
        ids=[u.id for _, u in found],
        feats=pad([x for x, _ in found]),
        lengths=torch.tensor([len(x) for x, _ in found], dtype=torch.int64),
        targets=_padded_labels([u.labels for _, u in found]),
        target_lengths=torch.tensor([len(u.labels) for _, u in found], dtype=torch.int64),
        unusable=unusable,
    )


def pad(arrays: Sequence[NDArray[np.float32]]) -> Tensor:
    """Stack (T_i, F) features as (N, T, F), zero on padding."""
    if not arrays:
        return torch.zeros(0, 0, 0)
    out = np.zeros((len(arrays), max(map(len, arrays)), arrays[0].shape[1]), np.float32)
    for row, x in zip(out, arrays, strict=True):
        row[: len(x)] = x
    return torch.from_numpy(out)


def _padded_labels(labels: Sequence[NDArray[np.int32]]) -> Tensor:
    out = torch.zeros(len(labels), max(map(len, labels), default=0), dtype=torch.int64)
    for row, ids in zip(out, labels, strict=True):
        row[: len(ids)] = torch.from_numpy(np.asarray(ids, np.int64))
    return out
