"""The steps of an epoch, planned with the lengths that its utterances have in it. N utterances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ds2cli.train.augmenter import Augmenter
from ds2cli.train.batch_plan import Steps
from ds2cli.train.batching import plan_batches
from ds2cli.train.examples import TrainFeatures, Utterance
from ds2cli.train.frame_draws import draw_all_frames
from ds2cli.train.job import TrainJob
from ds2cli.train.mix import Corpora, draw_utterances


def plan_epoch(job: TrainJob, epoch: int) -> tuple[Steps, NDArray[np.int32]]:
    """The steps of an epoch, and the frames (N,) that each utterance of the training set has in it."""
    config = job.config
    frames = count_all_frames(job.train_features, job.train, epoch)
    drawn = None
    if isinstance(job.train, Corpora):
        drawn = draw_utterances(job.train.sizes, config.mix.weights, config.seed, epoch)
    batches = plan_batches(
        frames if drawn is None else frames[drawn],
        round(config.batch_s * 1000 / job.features["hop_ms"]),
        config.seed,
        epoch,
        ascending=config.sorta_grad and epoch == 0,
        max_utterances=config.batch_utts,
    )
    if drawn is not None:
        batches = replace(batches, order=drawn[batches.order])
    return Steps(batches, config.accumulate), frames


def count_all_frames(train_features: TrainFeatures, utterances: Sequence[Utterance], epoch: int) -> NDArray[np.int32]:
    """The number of frames of each utterance in an epoch, (N,), as `train_features.frames` gives it."""
    if isinstance(train_features, Augmenter):
        return draw_all_frames(train_features, utterances, epoch)
    return np.array([train_features.frames(u, epoch) for u in utterances], np.int32)
