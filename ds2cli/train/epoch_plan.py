"""The steps of an epoch, planned with the lengths that its utterances have in it. N utterances."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ds2cli.train.batch_plan import Steps
from ds2cli.train.batching import plan_batches
from ds2cli.train.examples import TrainFeatures, Utterance, num_frames
from ds2cli.train.job import TrainJob


def plan_epoch(job: TrainJob, epoch: int) -> tuple[Steps, NDArray[np.int32]]:
    """The steps of an epoch, and the frames (N,) that each utterance of the training set has in it."""
    config = job.config
    frames = count_all_frames(job.train_features, job.train, epoch)
    batches = plan_batches(
        frames,
        round(config.batch_s * 1000 / job.features["hop_ms"]),
        config.seed,
        epoch,
        ascending=config.sorta_grad and epoch == 0,
        max_utterances=config.batch_utts,
    )
    return Steps(batches, config.accumulate), frames


def count_all_frames(train_features: TrainFeatures, utterances: Sequence[Utterance], epoch: int) -> NDArray[np.int32]:
    """The number of frames of each utterance in an epoch, (N,), as `train_features.frames` gives it."""
    if getattr(train_features, "keeps_lengths", False):
        return num_frames(utterances)
    return np.array([train_features.frames(u, epoch) for u in utterances], np.int32)
