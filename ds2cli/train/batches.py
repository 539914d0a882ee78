"""Batches as tensors. N utterances, T frames, F bins, L labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ds2cli.train.batching import BatchArrays, empty_batch, read_batch
from ds2cli.train.examples import TrainFeatures, Utterance


@dataclass
class Batch:
    """A padded batch, longest utterance first.

    feats: (N, T, F); lengths, target_lengths: (N,); targets: (N, L); unusable: reason codes by the id of each utterance
    left out.
    """

    ids: list[str]
    feats: Tensor
    lengths: Tensor
    targets: Tensor
    target_lengths: Tensor
    unusable: dict[str, str] = field(default_factory=dict)

    @classmethod
    def from_arrays(cls, arrays: BatchArrays) -> Batch:
        """The batch as tensors that share memory with the arrays."""
        feats, lengths, targets, target_lengths = map(
            torch.from_numpy, (arrays.feats, arrays.lengths, arrays.targets, arrays.target_lengths)
        )
        return cls(arrays.ids, feats, lengths, targets, target_lengths, arrays.unusable)

    def all_unusable(self, reason: str) -> Batch:
        """An empty batch that names every utterance of this one as unusable for `reason`."""
        unusable = self.unusable | dict.fromkeys(self.ids, reason)
        return Batch.from_arrays(replace(empty_batch(), unusable=unusable))


def load_batch(utterances: Sequence[Utterance], train_features: TrainFeatures, epoch: int = 0) -> Batch:
    """Read the features of an epoch into one batch."""
    return Batch.from_arrays(read_batch(utterances, train_features, epoch))


def halve_batch(batch: Batch) -> tuple[Batch, Batch]:
    """The longer and the shorter half of a batch of at least two utterances, each with only the padding it needs."""
    middle = (len(batch.ids) + 1) // 2
    halves = []
    for rows in (slice(0, middle), slice(middle, None)):
        lengths, target_lengths = batch.lengths[rows], batch.target_lengths[rows]
        feats = batch.feats[rows, : int(lengths.max())].contiguous()
        targets = batch.targets[rows, : int(target_lengths.max())].contiguous()
        halves.append(Batch(batch.ids[rows], feats, lengths, targets, target_lengths))
    return halves[0], halves[1]
