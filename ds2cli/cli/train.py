"""`ds2 train TRAIN EXP`."""

from __future__ import annotations

import contextlib
import shlex
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ds2cli import __version__, manifest, native, ui
from ds2cli.cli._options import with_config
from ds2cli.config.base import build, read_toml, to_toml
from ds2cli.config.featurize import SpectrogramConfig
from ds2cli.config.train import TrainConfig
from ds2cli.drops import Ledger
from ds2cli.io import open_out
from ds2cli.manifest import Row

if TYPE_CHECKING:
    from ds2cli.nn.job import Step

INTERRUPTED = 130
SHOWN = 8
"""Utterances of a step that are named."""


@with_config(TrainConfig)
def train(
    config: TrainConfig,
    train: Annotated[str, typer.Argument(metavar="TRAIN", help="Manifest with features and texts to learn from.")],
    exp: Annotated[str, typer.Argument(metavar="EXP", help="Folder of the experiment, made if missing.")],
    dev: Annotated[str | None, typer.Option(help="Manifest to test on after each epoch.")] = None,
    cmvn: Annotated[str | None, typer.Option(help="Statistics of featurize [default: from the rows].")] = None,
) -> None:
    """Train a network on TRAIN in the folder EXP; the same command goes on where an earlier run ended.

    EXP gets config.toml, tokens.txt, train.jsonl (a row an epoch), best.safetensors (to use) and last.pt (to go on).
    Ctrl-C ends after the current step; the next run of the command goes on from there.

    Example: ds2 train data/train.feats.jsonl exp/base --dev data/dev.feats.jsonl --config conf/train.toml --nproc 2
    """
    from ds2cli.stages import train as stage

    ledger = Ledger()
    needs = ("id", "feats", "num_frames", "text")
    held_out = manifest.read(dev, needs) if dev else iter(())
    job = stage.prepare(config, manifest.read(train, needs, ledger), held_out, exp, features_of(train), ledger, cmvn)
    _report(config, ledger, exp)
    if config.ctc == "native" and not native.available():
        ui.warn(f"train: torch's CTC loss is used, slower: {native.missing()}")
    with _asking() as asked:
        events = stage.run(job, exp, lambda: bool(asked))
        with open_out(f"{exp}/config.toml") as f:
            made = {"ds2cli": __version__, "command": shlex.join(["ds2", *sys.argv[1:]]), "kept": ledger.kept}
            # a folder's own settings may be given back to go on in it: they must not ask to start anew
            f.write(to_toml(replace(config, fresh=False), made))
        done = _show(events, config)
    if asked and not done:
        ui.log("train: interrupted, last.pt is written; the same command goes on from there")
        raise typer.Exit(INTERRUPTED)
    ui.log(f"train: done, {exp}/best.safetensors")


def features_of(train: str) -> dict[str, Any]:
    """The feature settings that `ds2 featurize` saved beside its manifest; the usual ones when it is not there."""
    path = f"{train}.config.toml"
    if train == "-" or not Path(path).is_file():
        return SpectrogramConfig().features()
    saved, known = read_toml(path), SpectrogramConfig().features()
    return build(SpectrogramConfig, (path, {k: v for k, v in saved.items() if k in known})).features()


def _report(config: TrainConfig, ledger: Ledger, exp: str) -> None:
    """Say what is trained on; refuse when too many utterances are bad."""
    dropped = config.dropped or f"{exp}/dropped.jsonl"
    with open_out(dropped) as f:
        f.writelines(ledger.lines())
    ui.log(f"train: {ledger.summary()}{f', see {dropped}' if ledger.rows else ''}")
    ledger.refuse("train", config.max_bad)


@contextlib.contextmanager
def _asking() -> Iterator[list[int]]:
    """A list that Ctrl-C and SIGTERM add to; a second Ctrl-C does not wait for the step."""
    asked: list[int] = []

    def ask(number: int, _frame: Any) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        ui.log("train: ending after this step")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _show(events: Iterable[Step | Row], config: TrainConfig) -> bool:
    """Show the steps as they come, a line an epoch and what was skipped; tell whether the last epoch was reached."""
    finished = True
    if sys.stderr.isatty():
        with ui.bar("step") as bar:
            task = bar.add_task("train", total=None, note="")
            for event in events:
                finished = isinstance(event, dict)
                _warn_of_skips(event)
                if isinstance(event, dict):
                    bar.console.print(_line(event, config))
                else:
                    total = round(event.step / event.progress) if event.progress else None
                    bar.update(task, completed=event.step, total=total, note=f"loss {event.loss:.3f}")
        return finished
    shown = time.monotonic()
    for event in events:
        finished = isinstance(event, dict)
        _warn_of_skips(event)
        if isinstance(event, dict):
            ui.log(_line(event, config))
        elif time.monotonic() - shown > ui.PLAIN_LINE_EVERY_S:
            shown = time.monotonic()
            left = event.elapsed_s * (1 / event.progress - 1) if event.progress else 0.0
            at = f"epoch {event.epoch + 1}, step {event.step}, loss {event.loss:.3f}"
            ui.log(f"train: {at}, {left / 60:.0f} min left")
    return finished


def _warn_of_skips(event: Step | Row) -> None:
    """Name the utterances that did not count, and why."""
    if not isinstance(event, dict) and event.skipped:
        what = "skipped" if event.loss != event.loss else "went on without"
        names = [f"{name} ({why})" for name, why in event.skipped.items()]
        rest = [f"{len(names) - SHOWN} more"] if len(names) > SHOWN else []
        ui.warn(f"train: step {event.step} {what}: {', '.join([*names[:SHOWN], *rest])}")


def _line(row: Row, config: TrainConfig) -> str:
    """`epoch 3/40  loss 0.912  dev WER 61.20 CER 24.10  lr 0.0019  12 s (95 h/h)`."""
    dev = f"  dev WER {row['dev_wer']:.2f} CER {row['dev_cer']:.2f}" if "dev_wer" in row else ""
    skipped = f"  skipped {len(row['skipped'])}" if "skipped" in row else ""
    return (
        f"epoch {row['epoch']}/{config.epochs}  loss {row['loss']:.3f}{dev}  lr {row['lr']:.2g}  "
        f"{row['seconds']:.0f} s ({row['hours_per_hour']:.0f} h/h){skipped}"
    )
