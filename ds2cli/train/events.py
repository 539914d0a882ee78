"""The events that training reports as it runs, and the requests it accepts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from enum import IntEnum
from typing import Any


class Request(IntEnum):
    """What training is asked to do after a step. SAVE: write last.pt; STOP: write last.pt and stop."""

    NONE = 0
    SAVE = 1
    STOP = 2


@dataclass(frozen=True)
class Precision:
    """The precision of matrix products: float32, bfloat16 or float16. reason: why it was chosen, "" if it was set."""

    name: str
    reason: str = ""


@dataclass(frozen=True)
class Measuring:
    """The precisions are about to be timed, for --precision auto."""


@dataclass(frozen=True)
class TrainStep:
    """One step was taken, or skipped: then the loss is NaN.

    epoch: from 0.  batch: steps taken in this epoch.  batches: steps per epoch.  step: steps since the start.
    loss: nats per label.  progress: fraction of the whole training.  skipped: reason codes by utterance id.
    positions: of the utterances in the training set.  costs: their losses (nats), NaN of the skipped ones.
    """

    epoch: int
    batch: int
    batches: int
    step: int
    loss: float
    progress: float
    elapsed_s: float
    skipped: dict[str, str]
    positions: Sequence[int] = field(default=(), repr=False, compare=False)
    costs: Sequence[float] = field(default=(), repr=False, compare=False)


@dataclass(frozen=True)
class Epoch:
    """Results of one epoch. Fields are those of train.jsonl, in its order.

    epoch: from 1.  step: steps since the start.  loss: nats per label, None when no utterance counted.  lr: learning
    rate of the last step.  hours_per_hour: hours of audio trained on per hour.  padding: of all frames, in percent.
    waiting: for data loading, in percent of the time.  cut: steps computed in pieces for lack of memory.
    skipped, dev_skipped: reason codes by utterance id.  unnamed: skipped utterances that `skipped` is too short for.
    dev_wer, dev_cer: in percent, None without a dev set.
    samples: `id`, `text` and `pred_text` of some dev utterances.  untrained: epochs, and parts of epochs, that
    --minutes has left out so far, and all later ones if it ended the training with this one.
    """

    epoch: int
    step: int
    loss: float | None
    lr: float
    seconds: float
    hours_per_hour: float
    padding: float
    waiting: float
    memory_mb: int
    cut: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    unnamed: int = 0
    dev_wer: float | None = None
    dev_cer: float | None = None
    samples: list[dict[str, str]] = field(default_factory=list)
    dev_skipped: dict[str, str] = field(default_factory=dict)
    untrained: float = 0.0

    def to_row(self) -> dict[str, Any]:
        """The row of train.jsonl; fields that do not apply are left out."""
        row = {f.name: getattr(self, f.name) for f in fields(self)}
        omitted = {name for name in ("cut", "skipped", "unnamed", "dev_skipped", "untrained") if not row[name]}
        if self.dev_wer is None:
            omitted |= {"dev_wer", "dev_cer", "samples"}
        return {name: value for name, value in row.items() if name not in omitted}


@dataclass(frozen=True)
class MemoryProbe:
    """The longest batch was tried before the first step.

    frames: padding included; pieces: 1 when it fits in memory; steps: per epoch; audio_frames: per epoch, padding
    included.  too_large: ids of utterances that do not fit on their own.  counted: utterances of this process's share
    that were computed.
    """

    utterances: int
    frames: int
    seconds: float
    pieces: int
    steps: int
    audio_frames: int
    too_large: tuple[str, ...] = ()
    counted: int = 1


@dataclass(frozen=True)
class NotDrawn:
    """Memory does not hold what follows a training, which continues. name: of the file or folder in EXP."""

    name: str
    lack: str


@dataclass(frozen=True)
class NotRecorded:
    """The losses of the utterances cannot be written any more; the training continues. reason: why."""

    reason: str


@dataclass(frozen=True)
class Resumed:
    """The training continues from a checkpoint, or is already complete.

    checkpoint: its file.  epoch: completed ones.  batch: steps taken in the next one.  step: steps since the start.
    complete: no step is left to take.
    """

    checkpoint: str
    epoch: int
    batch: int
    step: int
    elapsed_s: float
    complete: bool = False


@dataclass(frozen=True)
class Saved:
    """A checkpoint was written. failed: why it was not, "" when it was."""

    failed: str = ""


@dataclass(frozen=True)
class TimeLimit:
    """The training is over, and because of --minutes, parts of it were left out.

    epoch: the last one, from 1.  untrained: epochs, and parts of epochs, that were not trained.  reached: the limit
    ended the training; False: it ended an earlier run, in an epoch that was not continued.
    """

    epoch: int
    untrained: float
    elapsed_s: float
    reached: bool = True


@dataclass(frozen=True)
class Restart:
    """A process exited early; all processes restart from the last checkpoint."""

    reason: str


Event = (
    Measuring
    | Precision
    | Resumed
    | TrainStep
    | MemoryProbe
    | Saved
    | Restart
    | TimeLimit
    | NotDrawn
    | NotRecorded
    | Epoch
)
"""Anything that training reports."""
