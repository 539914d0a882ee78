"""Pictures and TensorBoard's files of a training, while it goes on."""

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
from ds2cli.train.events import Event, TrainStep

PICTURE = "train.png"
FOLDER = "tensorboard"


def monitored(events: Iterable[Event], exp: str, *, tensorboard: bool) -> Iterator[Event]:
    """The events of a training in EXP; at each epoch EXP/train.png is drawn anew, where matplotlib is installed.

    tensorboard: also write EXP/tensorboard, the loss of each step and the row of each epoch.
    UsageError, at once, when TensorBoard is not installed.
    """
    if tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise UsageError("--tensorboard: it is not installed (pip install 'ds2cli[tensorboard]')")
    return _watched(events, Path(exp), tensorboard)


def _watched(events: Iterable[Event], exp: Path, tensorboard: bool) -> Iterator[Event]:
    board = None
    try:
        for event in events:
            # a full disk has been told of, and must not end the training here
            with contextlib.suppress(OSError):
                if tensorboard and board is None and isinstance(event, TrainStep):
                    board = _board(exp, event.step)
                if board is not None:
                    _write(board, event)
            if isinstance(event, dict) and heatmap.can_draw():
                with contextlib.suppress(DataError, OSError):
                    _draw(exp)
            yield event
    finally:
        if board is not None:
            with contextlib.suppress(OSError):
                board.close()


def _draw(exp: Path) -> None:
    rows = [json.loads(line) for line in (exp / LOG).read_text("utf-8").splitlines()]
    curves.draw(str(exp / PICTURE), exp.name, rows)


def _board(exp: Path, first: int) -> Any:
    """A writer that forgets what an interrupted run wrote of the steps from `first` on, which come again."""
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(exp / FOLDER), purge_step=first)  # type: ignore[no-untyped-call]


def _write(board: Any, event: Event) -> None:
    if isinstance(event, TrainStep) and not math.isnan(event.loss):
        board.add_scalar("train/loss", event.loss, event.step)
    if not isinstance(event, dict):
        return
    for name, value in event.items():
        if isinstance(value, (int, float)) and name not in ("epoch", "step"):
            board.add_scalar(f"dev/{name[4:]}" if name.startswith("dev_") else f"epoch/{name}", value, event["step"])
    for sample in event.get("samples", []):
        text = f"reference: {sample['text']}\n\nhypothesis: {sample['pred_text']}"
        board.add_text(f"sample/{sample['id']}", text, event["step"])
    board.flush()
