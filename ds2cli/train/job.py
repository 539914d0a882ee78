"""What a training is given: settings, utterances, and how their features are read. F bins."""

from __future__ import annotations

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
    """What is trained on what. mean, std: (F,), of the training features.

    see: gives a training utterance as it is seen in an epoch; plain: gives an utterance of the dev set.
    init: a network to start from.
    """

    config: TrainConfig
    vocab: Vocab
    features: dict[str, Any]
    train: list[Utterance]
    dev: list[Utterance]
    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    see: TrainFeatures
    plain: DevFeatures
    init: TrainedModel | None = None
