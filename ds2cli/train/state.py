"""Training progress, and the sums of the current epoch."""

from __future__ import annotations

import math
import resource
import sys
from dataclasses import dataclass, field
from typing import Any

import torch

from ds2cli.config.train import TrainConfig
from ds2cli.train.events import Epoch

MAX_NAMED = 100_000
"""Skipped utterances of an epoch whose names are kept."""


@dataclass
class TrainState:
    """Training progress, and the sums of the current epoch. last.pt stores the fields by name, under "at".

    epoch: from 0.  batch: steps taken in it.  step: steps taken in all.  best: lowest dev rate.  stale: epochs since.
    left_out: parts of epochs that --minutes has cut off.  divisions: times a plateau has divided the learning rate.
    kept: [rate, file] of the networks kept by --keep-best.
    scale: of the cost in float16.  steady: steps since it last changed.
    Sums of the epoch: loss (nats), labels, counted utterances; frames without and of padding; seconds; waited: seconds
    spent waiting for data; cut: steps computed in pieces for lack of memory; skipped: reason codes by utterance id, of
    the last MAX_NAMED; unnamed: skipped utterances before these.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    elapsed_s: float = 0.0
    best: float = math.inf
    stale: int = 0
    left_out: float = 0.0
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
    unnamed: int = 0

    def __post_init__(self) -> None:
        """Accept the list of skipped utterances of old checkpoints. Raises ValueError for an impossible position."""
        if not all(isinstance(n, int) and n >= 0 for n in (self.epoch, self.batch, self.step)):
            raise ValueError(f"epoch, batch and step: expected counts, found {self.epoch}, {self.batch}, {self.step}")
        if not isinstance(self.skipped, dict):
            self.skipped = dict.fromkeys(self.skipped, "unknown")

    def skip(self, reasons: dict[str, str]) -> None:
        """Note skipped utterances, with their reason codes."""
        self.skipped |= reasons
        while len(self.skipped) > MAX_NAMED:
            del self.skipped[next(iter(self.skipped))]
            self.unnamed += 1

    def time_used(self, config: TrainConfig) -> float:
        """Fraction of the time limit that is used; 0 without a limit."""
        return self.elapsed_s / (60 * config.minutes) if config.minutes else 0.0

    def progress(self, config: TrainConfig, steps: int, taken: float) -> float:
        """Fraction of the whole training after `taken` of the epoch's steps."""
        return max((self.epoch + taken / steps) / config.epochs, self.time_used(config))

    def count_untrained(self, config: TrainConfig, epochs: int | None = None) -> float:
        """Epochs, and parts of epochs, that --minutes has left out, in earlier runs too; the rest if it is used up.

        epochs: completed ones, by default those before the current epoch.
        """
        rest = config.epochs - (self.epoch if epochs is None else epochs) if self.time_used(config) >= 1 else 0
        return self.left_out + max(rest, 0)

    def summarize_epoch(self, config: TrainConfig, features: dict[str, Any], lr: float) -> Epoch:
        """The results of the current epoch, without those of the dev set."""
        audio_s = self.frames * features["hop_ms"] / 1000
        return Epoch(
            epoch=self.epoch + 1,
            step=self.step,
            loss=round(self.loss / max(self.labels, 1), 4) if self.counted else None,
            lr=float(f"{lr:.4g}"),
            seconds=round(self.seconds, 2),
            hours_per_hour=round(audio_s / max(self.seconds, 1e-9), 1),
            padding=round(100 * self.padding / max(self.frames + self.padding, 1), 1),
            waiting=round(100 * self.waited / max(self.seconds, 1e-9), 1),
            memory_mb=peak_memory_mb(),
            cut=self.cut,
            skipped=self.skipped,
            unnamed=self.unnamed,
            untrained=round(self.count_untrained(config, self.epoch + 1), 2),
        )

    def next_epoch(self) -> None:
        """Go to the next epoch and reset the sums."""
        self.epoch += 1
        self.batch = self.labels = self.counted = self.frames = self.padding = self.cut = self.unnamed = 0
        self.loss = self.seconds = self.waited = 0.0
        self.skipped = {}


def peak_memory_mb() -> int:
    """Peak memory of this process (MB): on its GPU if it uses one, else resident."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated() >> 20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # kilobytes, on macOS bytes
    return peak >> 20 if sys.platform == "darwin" else peak >> 10
