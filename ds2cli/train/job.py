"""Everything a training run needs: settings, utterances and how to read their features. F bins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ds2cli.config.train import TrainConfig
from ds2cli.nn.checkpoint import TrainedModel
from ds2cli.text.vocab import Vocab
from ds2cli.train.examples import DevFeatures, TrainFeatures, Utterance


@dataclass(frozen=True)
class TrainJob:
    """The settings and data of one training run.

    features: settings the features were computed with; mean, std: (F,), of the training features;
    train: a table (table.py), from which an utterance is read when it is used;
    train_features: reads a training utterance, augmented for an epoch; dev_features: reads a dev utterance;
    init: network to take the initial weights from.
    """

    config: TrainConfig
    vocab: Vocab
    features: dict[str, Any]
    train: Sequence[Utterance]
    dev: list[Utterance]
    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    train_features: TrainFeatures
    dev_features: DevFeatures
    init: TrainedModel | None = None
