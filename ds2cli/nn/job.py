"""What a training run is given, how far it is, and what it tells."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ds2cli.config.train import TrainConfig
from ds2cli.nn.batches import Reader, Utterance
from ds2cli.text.vocab import Vocab


@dataclass(frozen=True)
class Job:
    """What is trained on what. mean, std: (F,), of the training features, which come raw from `read`."""

    config: TrainConfig
    vocab: Vocab
    features: dict[str, Any]
    train: list[Utterance]
    dev: list[Utterance]
    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    read: Reader


@dataclass
class Position:
    """How far the training is, and the sums of the epoch it is in. skipped: utterances that did not count, and why."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    elapsed_s: float = 0.0
    best: float = math.inf
    loss: float = 0.0
    labels: int = 0
    frames: int = 0
    seconds: float = 0.0
    skipped: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Checkpoints of before reasons were kept have a list."""
        if not isinstance(self.skipped, dict):
            self.skipped = dict.fromkeys(self.skipped, "unknown")

    def next_epoch(self) -> None:
        """Start the sums anew."""
        self.epoch += 1
        self.batch = self.labels = self.frames = 0
        self.loss = self.seconds = 0.0
        self.skipped = {}


@dataclass(frozen=True)
class Step:
    """One step was taken, or skipped: then the loss is NaN.

    loss: nats a label.  progress: share of the whole training.  skipped: utterances that did not count, and why.
    """

    epoch: int
    batch: int
    batches: int
    step: int
    loss: float
    progress: float
    elapsed_s: float
    skipped: dict[str, str]
