"""What a training is given: settings, utterances, and how their features are read. F bins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ds2cli.config.train import TrainConfig
from ds2cli.nn.checkpoint import Bundle
from ds2cli.text.vocab import Vocab
from ds2cli.train.examples import Plain, See, Utterance


@dataclass(frozen=True)
class Job:
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
    see: See
    plain: Plain
    init: Bundle | None = None
