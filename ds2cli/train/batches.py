"""A batch as tensors. N utterances, T frames, F bins, L labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ds2cli.train.examples import BatchArrays, TrainFeatures, Utterance, empty_batch, gather


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

    @classmethod
    def of(cls, arrays: BatchArrays) -> Batch:
        """The batch of arrays, which it shares."""
        feats, lengths, targets, counts = map(
            torch.from_numpy, (arrays.feats, arrays.lengths, arrays.targets, arrays.target_lengths)
        )
        return cls(arrays.ids, feats, lengths, targets, counts, arrays.unusable)

    def without_all(self, why: str) -> Batch:
        """A batch of nobody, all left out for one reason."""
        unusable = self.unusable | dict.fromkeys(self.ids, why)
        return Batch.of(replace(empty_batch(), unusable=unusable))


def load(utterances: Sequence[Utterance], see: TrainFeatures, epoch: int = 0) -> Batch:
    """The batch of utterances as they are seen in an epoch."""
    return Batch.of(gather(utterances, see, epoch))


def halves(batch: Batch) -> tuple[Batch, Batch]:
    """The longer and the shorter half of a batch of two utterances or more, each with as much padding as it needs."""
    middle = (len(batch.ids) + 1) // 2
    parts = []
    for rows in (slice(0, middle), slice(middle, None)):
        lengths, counts = batch.lengths[rows], batch.target_lengths[rows]
        feats = batch.feats[rows, : int(lengths.max())].contiguous()
        targets = batch.targets[rows, : int(counts.max())].contiguous()
        parts.append(Batch(batch.ids[rows], feats, lengths, targets, counts))
    return parts[0], parts[1]
