"""Learning curves and TensorBoard files, updated during training."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ds2cli.errors import DataError, UsageError
from ds2cli.metrics import curves, heatmap
from ds2cli.train.checkpoint_files import LOG
from ds2cli.train.events import Epoch, Event, TrainStep

PICTURE = "train.png"
FOLDER = "tensorboard"


def monitored(events: Iterable[Event], exp: str, *, tensorboard: bool) -> Iterator[Event]:
    """Pass on the events of a training run in EXP; draw EXP/train.png after each epoch if matplotlib is installed.

    tensorboard: also write EXP/tensorboard, the loss of each step and the results of each epoch.
    Raises UsageError, at once, when TensorBoard is not installed.
    """
    if tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise UsageError("--tensorboard: TensorBoard is not installed (pip install 'ds2cli[tensorboard]')")
    return _monitor(events, Path(exp), tensorboard)


def _monitor(events: Iterable[Event], exp: Path, tensorboard: bool) -> Iterator[Event]:
    writer = None
    try:
        for event in events:
            # a full disk is reported elsewhere and must not end training here
            with contextlib.suppress(OSError):
                if tensorboard and writer is None and isinstance(event, TrainStep):
                    writer = _open_writer(exp, event.step)
                if writer is not None:
                    _write(writer, event)
            if isinstance(event, Epoch) and heatmap.can_draw():
                with contextlib.suppress(DataError, OSError):
                    _draw_curves(exp)
            yield event
    finally:
        if writer is not None:
            with contextlib.suppress(OSError):
                writer.close()


def _draw_curves(exp: Path) -> None:
    rows = [json.loads(line) for line in (exp / LOG).read_text("utf-8").splitlines()]
    curves.draw(str(exp / PICTURE), exp.name, rows)


def _open_writer(exp: Path, first_step: int) -> Any:
    """A writer that discards what an interrupted run wrote from `first_step` on: those steps are taken again."""
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(exp / FOLDER), purge_step=first_step)  # type: ignore[no-untyped-call]


def _write(writer: Any, event: Event) -> None:
    if isinstance(event, TrainStep) and not math.isnan(event.loss):
        writer.add_scalar("train/loss", event.loss, event.step)
    if not isinstance(event, Epoch):
        return
    for name, value in event.to_row().items():
        if isinstance(value, (int, float)) and name not in ("epoch", "step"):
            writer.add_scalar(f"dev/{name[4:]}" if name.startswith("dev_") else f"epoch/{name}", value, event.step)
    for sample in event.samples:
        text = f"reference: {sample['text']}\n\nhypothesis: {sample['pred_text']}"
        writer.add_text(f"sample/{sample['id']}", text, event.step)
    writer.flush()
