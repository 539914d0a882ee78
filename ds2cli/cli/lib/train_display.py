"""What `ds2 train` hears while it trains, and what it says."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import typer

from ds2cli import ui
from ds2cli.config.train import TrainConfig
from ds2cli.manifest import Row

if TYPE_CHECKING:
    from ds2cli.train.events import Event, MemoryProbe, TrainStep

SHOWN = 8
"""Utterances of a step that are named."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class SignalRequests:
    """What signals ask of the training. end: one of them asked it to end."""

    def __init__(self) -> None:
        self.end = self._save = False

    def __call__(self) -> int:
        """GO_ON, SAVE or HALT; SAVE is asked once."""
        from ds2cli.train.events import GO_ON, HALT, SAVE

        save, self._save = self._save, False
        return HALT if self.end else SAVE if save else GO_ON

    def hear(self, number: int, _frame: Any) -> None:
        """Take in a signal: SIGUSR1 asks for a checkpoint, SIGINT and SIGTERM for one and the end."""
        if number == signal.SIGUSR1:
            self._save = True
            _say_at_once("train: writing last.pt after this step")
            return
        if self.end:
            raise KeyboardInterrupt
        self.end = True
        _say_at_once("train: ending after this step")


def _say_at_once(line: str) -> None:
    """Past Python's buffers, in which a signal may have found another line half written."""
    with contextlib.suppress(OSError, ValueError):
        os.write(sys.stderr.fileno(), f"{line}\n".encode())


@contextlib.contextmanager
def handling_signals() -> Iterator[SignalRequests]:
    """What SIGINT, SIGTERM and SIGUSR1 ask for; a second Ctrl-C does not wait for the step."""
    asked = SignalRequests()
    with _handled(asked.hear):
        yield asked


@contextlib.contextmanager
def ignoring_signals() -> Iterator[None]:
    """Leave signals, which reach every process of a job, to the first one, and to say that one of them has gone."""
    from ds2cli.nn.distributed.process_group import PeerLostError

    with _handled(signal.SIG_IGN):
        try:
            yield
        except PeerLostError as e:
            raise typer.Exit(e.exit_code) from e


@contextlib.contextmanager
def _handled(how: Any) -> Iterator[None]:
    before = {number: signal.signal(number, how) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def show(events: Iterable[Event], config: TrainConfig) -> bool:
    """Show what happens as it comes, and tell whether the last epoch was reached."""
    from ds2cli.train.events import TrainStep

    finished, shown = True, time.monotonic()
    with ui.bar("step") if sys.stderr.isatty() else contextlib.nullcontext() as bar:
        task = bar.add_task("train", total=None, note="") if bar else None
        for event in events:
            for line in lines_of(event, config):
                bar.console.print(line, markup=False, highlight=False) if bar else ui.log(line)
            if not isinstance(event, TrainStep):
                finished = isinstance(event, dict) or finished
                continue
            finished = False
            if bar and task is not None:
                total = round(event.step / event.progress) if event.progress else None
                bar.update(task, completed=event.step, total=total, note=f"loss {event.loss:.3f}")
            elif time.monotonic() - shown > ui.PLAIN_LINE_EVERY_S:
                shown = time.monotonic()
                left = event.elapsed_s * (1 / event.progress - 1) if event.progress else 0.0
                at = f"epoch {event.epoch + 1}, step {event.step}, loss {event.loss:.3f}"
                ui.log(f"train: {at}, {left / 60:.0f} min left")
    return finished


def lines_of(event: Event, config: TrainConfig) -> Iterator[str]:
    """What there is to say of an event."""
    from ds2cli.train.events import MemoryProbe, Restart, Saved, TrainStep

    if isinstance(event, dict):
        yield _epoch(event, config)
        for sample in event.get("samples", []):
            yield f"    {sample['id']}: {sample['text']}  ->  {sample['pred_text']}"
    elif isinstance(event, TrainStep) and event.skipped:
        yield _skipped(event)
    elif isinstance(event, MemoryProbe):
        yield _rehearsed(event)
    elif isinstance(event, Saved) and event.failed:
        yield f"train: {event.failed}; training goes on, the checkpoint before it is whole"
    elif isinstance(event, Restart):
        yield f"{event.why.partition(' (')[0]}; all start again from the last checkpoint"


def _rehearsed(event: MemoryProbe) -> str:
    """`train: the longest batch (12 x 31.9 s) fits: 1.2 s; 512 steps a pass`."""
    fits = "fits" if event.pieces <= 1 else f"is cut into {event.pieces}, memory does not hold it whole"
    size = f"{event.utterances} utterances, {event.frames} frames"
    return f"train: the longest batch ({size}) {fits}: {event.seconds:.2f} s; {event.steps} steps a pass"


def _skipped(event: TrainStep) -> str:
    """Names the utterances that did not count, and why."""
    what = "skipped" if event.loss != event.loss else "went on without"
    names = [f"{name} ({why})" for name, why in event.skipped.items()]
    rest = [f"{len(names) - SHOWN} more"] if len(names) > SHOWN else []
    return f"warning: train: step {event.step} {what}: {', '.join([*names[:SHOWN], *rest])}"


def _epoch(row: Row, config: TrainConfig) -> str:
    """`epoch 3/40  loss 0.912  dev WER 61.20 CER 24.10  lr 0.0019  12 s (95 h/h)`."""
    dev = f"  dev WER {row['dev_wer']:.2f} CER {row['dev_cer']:.2f}" if "dev_wer" in row else ""
    lost = len(row.get("skipped", ())) + len(row.get("dev_skipped", ()))
    skipped = f"  skipped {lost}" if lost else ""
    loss = "none" if row["loss"] is None else f"{row['loss']:.3f}"
    return (
        f"epoch {row['epoch']}/{config.epochs}  loss {loss}{dev}  lr {row['lr']:.2g}  "
        f"{row['seconds']:.0f} s ({row['hours_per_hour']:.0f} h/h){skipped}"
    )
