"""What a training run is given, how far it is, and what it tells."""

from __future__ import annotations

import math
import resource
import sys
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ds2cli.config.train import TrainConfig
from ds2cli.nn.checkpoint import Bundle
from ds2cli.nn.examples import Plain, See, Utterance
from ds2cli.text.vocab import Vocab

GO_ON, SAVE, HALT = 0, 1, 2
"""What is asked for after a step: nothing, a checkpoint, or a checkpoint and the end."""


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


@dataclass
class Position:
    """How far the training is, and the sums of the epoch it is in.

    batch: steps taken in this epoch.  best: lowest dev rate.  stale: epochs since.  divisions: of the rate, by a
    plateau.  kept: rates and files of the networks that were best.  scale, steady: of the cost in float16, and the
    steps since it last changed.  padding: frames of it.  waited: for readers (s).  cut: batches computed in pieces.
    skipped: utterances that did not count, and why.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    elapsed_s: float = 0.0
    best: float = math.inf
    stale: int = 0
    divisions: int = 0
    kept: list[Any] = field(default_factory=list)
    scale: float = 32768.0
    steady: int = 0
    loss: float = 0.0
    labels: int = 0
    counted: int = 0
    frames: int = 0
    padding: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    cut: int = 0
    skipped: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Checkpoints of before reasons were kept have a list. ValueError for what is no position."""
        if not all(isinstance(n, int) and n >= 0 for n in (self.epoch, self.batch, self.step)):
            raise ValueError(f"no epoch, batch and step: {self.epoch}, {self.batch}, {self.step}")
        if not isinstance(self.skipped, dict):
            self.skipped = dict.fromkeys(self.skipped, "unknown")

    def row(self, hop_ms: float, lr: float) -> dict[str, Any]:
        """What train.jsonl says of the epoch: loss in nats a label (None: nothing counted), padding, waiting in %."""
        audio_s = self.frames * hop_ms / 1000
        row: dict[str, Any] = {
            "epoch": self.epoch + 1,
            "step": self.step,
            "loss": round(self.loss / max(self.labels, 1), 4) if self.counted else None,
            "lr": float(f"{lr:.4g}"),
            "seconds": round(self.seconds, 2),
            "hours_per_hour": round(audio_s / max(self.seconds, 1e-9), 1),
            "padding": round(100 * self.padding / max(self.frames + self.padding, 1), 1),
            "waiting": round(100 * self.waited / max(self.seconds, 1e-9), 1),
        }
        row["memory_mb"] = peak_memory_mb()
        if self.cut:
            row["cut"] = self.cut
        return {**row, "skipped": self.skipped} if self.skipped else row

    def next_epoch(self) -> None:
        """Start the sums anew."""
        self.epoch += 1
        self.batch = self.labels = self.counted = self.frames = self.padding = self.cut = 0
        self.loss = self.seconds = self.waited = 0.0
        self.skipped = {}


def peak_memory_mb() -> int:
    """The most memory that this process has had, that of its GPU if it has one."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated() >> 20
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # kilobytes, on macOS bytes
    return most >> 20 if sys.platform == "darwin" else most >> 10


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


@dataclass(frozen=True)
class Rehearsal:
    """The longest batch was tried before the first step. frames: with padding; pieces: 1 where memory holds it whole.

    steps: of the epoch that follows, with `audio_frames` frames in all.
    """

    utterances: int
    frames: int
    seconds: float
    pieces: int
    steps: int
    audio_frames: int


@dataclass(frozen=True)
class Saved:
    """A checkpoint was written, or not: then why."""

    failed: str = ""


@dataclass(frozen=True)
class Lost:
    """A process ended early; all start anew from the last checkpoint."""

    why: str


Event = Step | Rehearsal | Saved | Lost | dict[str, Any]
"""What a training tells; a dict is the row of an epoch."""
