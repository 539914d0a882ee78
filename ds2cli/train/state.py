"""How far a training is, and the sums of the epoch it is in."""

from __future__ import annotations

import math
import resource
import sys
from dataclasses import dataclass, field
from typing import Any

import torch


@dataclass
class TrainState:
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
