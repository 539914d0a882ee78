"""What a training reports as it runs, and what it can be asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

GO_ON, SAVE, HALT = 0, 1, 2
"""What is asked for after a step: nothing, a checkpoint, or a checkpoint and the end."""


@dataclass(frozen=True)
class TrainStep:
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
class MemoryProbe:
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
class Restart:
    """A process ended early; all start anew from the last checkpoint."""

    why: str


Event = TrainStep | MemoryProbe | Saved | Restart | dict[str, Any]
"""What a training tells; a dict is the row of an epoch."""
