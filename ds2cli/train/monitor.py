"""Learning curves and TensorBoard files, updated during training."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ds2cli import memory
from ds2cli.errors import DataError, UsageError
from ds2cli.metrics import curves, heatmap
from ds2cli.train.checkpoint_files import LOG
from ds2cli.train.events import Epoch, Event, NotDrawn, TrainStep

PICTURE = "train.png"
FOLDER = "tensorboard"
SECONDS_PER_PICTURE = 30.0
"""An epoch of a small corpus takes less time than drawing."""


def monitored(events: Iterable[Event], exp: str, *, tensorboard: bool) -> Iterator[Event]:
    """Pass on the events of a training run in EXP; draw EXP/train.png if matplotlib is installed.

    It is drawn after the first epoch that ends SECONDS_PER_PICTURE after the last picture, and at the end.
    tensorboard: also write EXP/tensorboard, the loss of each step and the results of each epoch.
    Raises UsageError, at once, when TensorBoard is not installed.
    """
    if tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise UsageError("--tensorboard: TensorBoard is not installed (pip install 'ds2cli[tensorboard]')")
    return _monitor(events, Path(exp), tensorboard)


def _monitor(events: Iterable[Event], exp: Path, tensorboard: bool) -> Iterator[Event]:
    writer, lacks = None, dict[str, str]()
    drawn_at, is_drawn = time.monotonic(), True
    try:
        for event in events:
            before = len(lacks)
            with _optional(FOLDER, lacks):
                if tensorboard and writer is None and FOLDER not in lacks and isinstance(event, TrainStep):
                    writer = _open_writer(exp, event.step)
                if writer is not None:
                    _write(writer, event)
            is_drawn &= not isinstance(event, Epoch)
            if not is_drawn and time.monotonic() - drawn_at >= SECONDS_PER_PICTURE:
                _draw_curves(exp, lacks)
                drawn_at, is_drawn = time.monotonic(), True
            yield event
            for name, lack in list(lacks.items())[before:]:
                yield NotDrawn(name, lack)
        before = len(lacks)
        if not is_drawn:
            _draw_curves(exp, lacks)
        for name, lack in list(lacks.items())[before:]:
            yield NotDrawn(name, lack)
    finally:
        if writer is not None:
            with _optional(FOLDER, lacks):
                writer.close()


@contextlib.contextmanager
def _optional(name: str, lacks: dict[str, str]) -> Iterator[None]:
    """Work that must not end training. lacks: how much memory it lacks, by name.

    A full disk is reported elsewhere.
    """
    try:
        yield
    except Exception as e:
        if memory.is_out_of_memory(e):
            lacks.setdefault(name, memory.describe_lack(e))
        elif not isinstance(e, DataError | OSError):
            raise


def _draw_curves(exp: Path, lacks: dict[str, str]) -> None:
    if not heatmap.can_draw():
        return
    with _optional(PICTURE, lacks):
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
