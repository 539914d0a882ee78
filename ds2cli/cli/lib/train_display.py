"""Signals that `ds2 train` handles, and the lines it prints."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import typer

from ds2cli import atomic, ui
from ds2cli.config.train import TrainConfig
from ds2cli.errors import TERMINATED

if TYPE_CHECKING:
    from ds2cli.train.events import Epoch, Event, MemoryProbe, Request, Resumed, TimeLimit, TrainStep

MEASURING = "measuring whether this machine is faster in bfloat16 or float32, once per network: some seconds ..."
"""Printed before the measurement of --precision auto."""
MAX_NAMED = 8
"""Maximum number of skipped utterances named per line."""
FOLLOW_THE_CLOCK = ("line", "cosine")
"""Learning-rate schedules that fall to zero within --minutes."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class SignalRequests:
    """Turns signals into requests to the trainer. stop: the signal that has asked training to stop, 0 if none has."""

    def __init__(self) -> None:
        self.stop, self._save = 0, False

    def __call__(self) -> Request:
        """The current request; SAVE is returned once per signal."""
        from ds2cli.train.events import Request

        save, self._save = self._save, False
        return Request.STOP if self.stop else Request.SAVE if save else Request.NONE

    def handle(self, number: int, _frame: Any) -> None:
        """Signal handler: SIGUSR1 requests a checkpoint; SIGINT and SIGTERM request a checkpoint, then a stop."""
        if number == signal.SIGUSR1:
            self._save = True
            _write_unbuffered("train: writing last.pt after this step")
            return
        if self.stop and number == signal.SIGTERM:
            sys.exit(TERMINATED)
        if self.stop:
            raise KeyboardInterrupt
        self.stop = number
        _write_unbuffered("train: stopping after this step")


def _write_unbuffered(line: str) -> None:
    """Bypass Python's buffers: the signal may have interrupted a write to them."""
    with contextlib.suppress(OSError, ValueError):
        os.write(sys.stderr.fileno(), f"{line}\n".encode())


@contextlib.contextmanager
def handling_signals() -> Iterator[SignalRequests]:
    """Turn SIGINT, SIGTERM and SIGUSR1 into requests; a second one does not wait for the end of the step."""
    requests = SignalRequests()
    with _signal_handler(requests.handle):
        yield requests


@contextlib.contextmanager
def ignoring_signals() -> Iterator[None]:
    """Leave it to rank 0 to handle signals, which reach every process of a job, and to report lost processes."""
    from ds2cli.nn.distributed.process_group import PeerLostError

    with _signal_handler(signal.SIG_IGN):
        try:
            yield
        except PeerLostError as e:
            raise typer.Exit(e.exit_code) from e


@contextlib.contextmanager
def _signal_handler(handler: Any) -> Iterator[None]:
    # otherwise the first checkpoint would replace the handler
    atomic.begin_output()
    previous = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, old in previous.items():
            signal.signal(number, old)


def show(events: Iterable[Event], config: TrainConfig) -> bool:
    """Print events as they arrive; return whether the training ended with a complete epoch."""
    from ds2cli.train.events import Epoch, TrainStep

    finished, last_log = True, time.monotonic()
    with ui.bar("step") if sys.stderr.isatty() else contextlib.nullcontext() as bar:
        task = bar.add_task("train", total=None, note="") if bar else None
        for event in events:
            for line in format_event(event, config):
                bar.console.print(line, markup=False, highlight=False) if bar else ui.log(line)
            if not isinstance(event, TrainStep):
                finished = isinstance(event, Epoch) or finished
                continue
            finished = False
            if bar and task is not None:
                total = round(event.step / event.progress) if event.progress else None
                bar.update(task, completed=event.step, total=total, note=f"loss {event.loss:.3f}")
            elif time.monotonic() - last_log > ui.LOG_INTERVAL_S:
                last_log = time.monotonic()
                left_s = event.elapsed_s * (1 / event.progress - 1) if event.progress else 0.0
                position = f"epoch {event.epoch + 1}, step {event.step}, loss {event.loss:.3f}"
                ui.log(f"train: {position}, {left_s / 60:.0f} min left")
    return finished


def format_event(event: Event, config: TrainConfig) -> Iterator[str]:
    """The lines to print for an event; none for most steps."""
    from ds2cli.train.events import (
        Epoch,
        Measuring,
        MemoryProbe,
        NotDrawn,
        NotRecorded,
        Precision,
        Restart,
        Resumed,
        Saved,
        TimeLimit,
        TrainStep,
    )

    if isinstance(event, Epoch):
        yield _format_epoch(event, config)
        for sample in event.samples:
            yield f"    {sample['id']}  ref: {sample['text']}  hyp: {sample['pred_text']}"
    elif isinstance(event, TrainStep) and event.skipped:
        yield _format_skipped(event)
    elif isinstance(event, Measuring):
        yield f"train: {MEASURING}"
    elif isinstance(event, Precision):
        yield f"train: precision {event.name} ({event.reason})"
    elif isinstance(event, Resumed):
        yield _format_resumed(event, config)
    elif isinstance(event, MemoryProbe):
        yield _format_probe(event)
    elif isinstance(event, Saved) and event.failed:
        yield f"train: {event.failed}; training continues, the previous checkpoint is intact"
    elif isinstance(event, NotDrawn):
        yield f"warning: train: {event.name} does not fit in memory: {event.lack}; training continues without it"
    elif isinstance(event, NotRecorded):
        yield f"warning: train: losses are no longer written: {event.reason}; training continues"
    elif isinstance(event, TimeLimit):
        yield _format_time_limit(event, config)
    elif isinstance(event, Restart):
        yield f"{event.reason.partition(' (')[0]}; restarting all processes from the last checkpoint"


def _format_resumed(resumed: Resumed, config: TrainConfig) -> str:
    """`train: resuming from exp/last.pt: epoch 3 of 40, after step 512 and 2.1 min of training`."""
    minutes = f"{resumed.elapsed_s / 60:.1f} min"
    if resumed.complete:
        further = "a larger --epochs continues it, " if resumed.epoch >= config.epochs else ""
        done = f"complete after {resumed.epoch} of {config.epochs} epochs (step {resumed.step}, {minutes})"
        return f"train: {resumed.checkpoint}: {done}: nothing to do ({further}--fresh starts over)"
    within = f" (step {resumed.batch} of this epoch)" if resumed.batch else ""
    position = f"epoch {resumed.epoch + 1} of {config.epochs}, after step {resumed.step}{within}"
    return f"train: resuming from {resumed.checkpoint}: {position} and {minutes} of training"


def _format_probe(probe: MemoryProbe) -> str:
    """`train: the longest batch (8 utterances, 296 frames) fits in memory and takes 0.02 s; 512 steps per epoch`."""
    size = f"the longest batch ({probe.utterances} utterances, {probe.frames} frames)"
    steps = f"{probe.steps} steps per epoch"
    rest = f" without {_join_names(probe.too_large)}" if probe.too_large else ""
    if rest and not probe.counted:
        return f"train: {size} does not fit in memory: {_join_names(probe.too_large)} will be left out; {steps}"
    pieces = f"does not fit in memory, is computed in {probe.pieces} pieces{rest}"
    fits = f"fits in memory{rest}"
    return f"train: {size} {fits if probe.pieces <= 1 else pieces} and takes {probe.seconds:.2f} s; {steps}"


def _format_time_limit(limit: TimeLimit, config: TrainConfig) -> str:
    """How much was not trained, and the minutes that all epochs would take at the speed of those that were."""
    untrained = f"{max(limit.untrained, 0.1):.1f} epochs were not trained"
    if not limit.reached:
        return f"warning: train: {untrained}, because --minutes ended an earlier run (--fresh without it trains all)"
    minutes = math.ceil(limit.elapsed_s / 6 * config.epochs / (config.epochs - limit.untrained)) / 10
    cut = f"--minutes {config.minutes:g} ended the training in epoch {limit.epoch} of {config.epochs}"
    fix = f"--fresh with --minutes {minutes:g}, or without a limit, trains all"
    if limit.epoch < config.epochs:
        fix += f"; without --fresh, training continues with epoch {limit.epoch + 1}"
        if config.optim.schedule in FOLLOW_THE_CLOCK:
            fix += ", but the learning rate, which has fallen to zero, rises again"
    return f"warning: train: {cut}: {untrained} ({fix})"


def _format_skipped(step: TrainStep) -> str:
    """Name the skipped utterances of a step, with the reasons."""
    outcome = "skipped the step" if step.loss != step.loss else "left out"
    names = [f"{name} ({reason})" for name, reason in step.skipped.items()]
    return f"warning: train: step {step.step}: {outcome}: {_join_names(names)}"


def _join_names(names: Sequence[str]) -> str:
    rest = [f"{len(names) - MAX_NAMED} more"] if len(names) > MAX_NAMED else []
    return ", ".join([*names[:MAX_NAMED], *rest])


def _format_epoch(epoch: Epoch, config: TrainConfig) -> str:
    """`epoch 3/40  loss 0.912  dev WER 61.20 CER 24.10  lr 0.0019  12 s (95 h of audio per hour)`."""
    dev = "" if epoch.dev_wer is None else f"  dev WER {epoch.dev_wer:.2f} CER {epoch.dev_cer:.2f}"
    num_skipped = len(epoch.skipped) + epoch.unnamed + len(epoch.dev_skipped)
    skipped = f"  {num_skipped} skipped" if num_skipped else ""
    loss = "none" if epoch.loss is None else f"{epoch.loss:.3f}"
    return (
        f"epoch {epoch.epoch}/{config.epochs}  loss {loss}{dev}  lr {epoch.lr:.2g}  "
        f"{epoch.seconds:.0f} s ({epoch.hours_per_hour:.0f} h of audio per hour){skipped}"
    )
