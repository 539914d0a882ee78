"""`ds2 train TRAIN EXP`."""

from __future__ import annotations

import shlex
import sys
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from ds2cli import __version__, manifest, native, ui
from ds2cli.cli.lib.options import with_config
from ds2cli.cli.lib.train_display import handling_signals, ignoring_signals, show
from ds2cli.config.base import build, read_toml, to_toml
from ds2cli.config.featurize import SpectrogramConfig
from ds2cli.config.train import TrainConfig
from ds2cli.drops import Ledger
from ds2cli.errors import DataError, UsageError
from ds2cli.io import open_out

INTERRUPTED = 130
NEEDS = ("id", "text")
OWN_MANIFESTS = ("train.jsonl", "dropped.jsonl")


@with_config(TrainConfig)
def train(
    config: TrainConfig,
    train: Annotated[str, typer.Argument(metavar="TRAIN", help="Manifest to learn from, of ds2 featurize or prepare.")],
    exp: Annotated[str, typer.Argument(metavar="EXP", help="Folder of the experiment, made if missing.")],
    dev: Annotated[str | None, typer.Option(help="Manifest to test on after each epoch.")] = None,
    cmvn: Annotated[str | None, typer.Option(help="Statistics of featurize [default: from the rows].")] = None,
) -> None:
    """Train a network on TRAIN in the folder EXP; the same command goes on where an earlier run ended.

    EXP gets config.toml, tokens.txt, train.jsonl (a row an epoch), train.png, dropped.jsonl (what was left out),
    best.safetensors (to use) and last.pt (to go on).
    Ctrl-C ends after the current step; the next run of the command goes on from there. --config takes a network's name
    of ds2 model list, too.

    Example: ds2 train data/train.feats.jsonl exp/base --dev data/dev.feats.jsonl --config conf/train.toml --nproc 2
    """
    from ds2cli.nn.checkpoint import BEST
    from ds2cli.nn.distributed.process_group import torchrun_rank
    from ds2cli.stages import train as stage
    from ds2cli.train.data import prepare
    from ds2cli.train.monitor import monitored

    _check_paths(exp, train, dev)
    ledger, first = Ledger(), (torchrun_rank() or (0, 1))[0] == 0
    held_out = manifest.read(dev, NEEDS) if dev else None
    job = prepare(config, manifest.read(train, NEEDS, ledger), held_out, exp, features_of(train), ledger, cmvn)
    if not first:
        # the first of torchrun's processes speaks, writes and decides for all
        with ignoring_signals():
            deque(stage.run(job, exp), 0)
        return
    _report(config, ledger, exp)
    if config.ctc == "native" and not native.available():
        ui.warn(f"train: torch's CTC loss is used, slower: {native.missing()}")
    with handling_signals() as asked:
        events = stage.run(job, exp, asked)
        with open_out(f"{exp}/config.toml") as f:
            made = {"ds2cli": __version__, "command": shlex.join(["ds2", *sys.argv[1:]]), "kept": ledger.kept}
            # a folder's own settings may be given back to go on in it: they must not ask to start anew
            f.write(to_toml(replace(config, fresh=False), made))
        done = show(monitored(events, exp, tensorboard=config.tensorboard), config)
    if asked.end and not done:
        ui.log("train: interrupted, last.pt is written; the same command goes on from there")
        raise typer.Exit(INTERRUPTED)
    if not Path(exp, BEST).is_file():
        raise DataError(f"{exp}/{BEST}: is not there, and the training is over (more --epochs, or --fresh)")
    ui.log(f"train: done, {exp}/{BEST}")


def _check_paths(exp: str, *manifests: str | None) -> None:
    """UsageError when EXP is nowhere, or would get a file in the place of a manifest."""
    if not exp:
        raise UsageError("train: EXP is empty, expected a folder (. is this one)")
    for path in manifests:
        if path and Path(path).resolve().parent == Path(exp).resolve() and Path(path).name in OWN_MANIFESTS:
            raise UsageError(f"{path}: the training would write its own file there (another EXP)")


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
