"""`ds2 train TRAIN EXP`."""

from __future__ import annotations

import os
import shlex
import sys
from collections import deque
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ds2cli import __version__, manifest, native, ui
from ds2cli.atomic import together
from ds2cli.cli.lib.features import inherit_features, saved_features, warn_of_unknown_features
from ds2cli.cli.lib.filter import count_facts
from ds2cli.cli.lib.options import IfStale, limit_setting, with_config
from ds2cli.cli.lib.provenance import begin_training
from ds2cli.cli.lib.train_display import handling_signals, ignoring_signals, show
from ds2cli.config.base import to_toml
from ds2cli.config.train import TrainConfig
from ds2cli.drops import Ledger
from ds2cli.errors import DataError, UsageError
from ds2cli.experiment_files import refuse_bundle
from ds2cli.io import open_out
from ds2cli.provenance import NETWORK_FILES, Provenance, folder_of, read_record

REQUIRED_FIELDS = ("id", "text")
FeaturesFile = Annotated[
    str | None,
    typer.Option(
        metavar="FILE", help="TOML file of feature settings, as for ds2 featurize [default: TRAIN.config.toml]."
    ),
]
OWN_MANIFESTS = ("train.jsonl", "dropped.jsonl", "refused.jsonl")
"""Files that training writes into EXP."""


@with_config(TrainConfig)
def train(
    config: TrainConfig,
    train: Annotated[
        str, typer.Argument(metavar="TRAIN", help="Manifest of the training set, from ds2 featurize or ds2 prepare.")
    ],
    exp: Annotated[str, typer.Argument(metavar="EXP", help="Folder of the experiment, created if missing.")],
    dev: Annotated[
        str | None, typer.Option(help="Manifest of the dev set, evaluated after each epoch [default: none].")
    ] = None,
    cmvn: Annotated[
        str | None,
        typer.Option(
            help="Mean and variance of features: a .cmvn.ark file of ds2 featurize [default: computed from TRAIN]."
        ),
    ] = None,
    features: FeaturesFile = None,
    if_stale: IfStale = False,
) -> None:
    """Train a network on TRAIN and write it to the folder EXP. The same command resumes interrupted training.

    Ctrl-C stops after the current step and writes a checkpoint.
    EXP gets best.safetensors (the network), last.pt (the checkpoint to resume from), config.toml, tokens.txt,
    train.jsonl (one row per epoch), train.png (learning curves) and dropped.jsonl (utterances left out). A refused
    training leaves them as they were.
    --config also takes the name of a network from the paper (ds2 model list).

    The network stores the settings of its features. Unless they are the defaults, give them with --features if TRAIN
    has no stored features, or is a pipe. Without --dev, best.safetensors is the network of the last epoch.

    Example: ds2 train data/train.feats.jsonl exp/base --dev data/dev.feats.jsonl --config conf/train.toml --nproc 2
    """
    from ds2cli.nn.checkpoint import load_model
    from ds2cli.nn.distributed.process_group import torchrun_rank
    from ds2cli.runtime.file import BEST
    from ds2cli.stages import train as stage
    from ds2cli.train.data import prepare_job
    from ds2cli.train.examples import read_ids
    from ds2cli.train.losses import recorded
    from ds2cli.train.monitor import monitored
    from ds2cli.train.network import plan_initial_weights
    from ds2cli.train.resume import LAST
    from ds2cli.train.scan import ManifestRows

    _check_paths(exp, train, dev, *config.mix.manifests)
    stage.select_device(config)
    if (others := [path for path in (dev, *config.mix.manifests) if path]) and not features:
        # raises DataError if they differ
        inherit_features([train, *others])
    manifests = {"TRAIN": train, "--dev": dev, "augment.noise": config.augment.noise, "augment.rir": config.augment.rir}
    manifests |= {f"mix.manifests {n}": path for n, path in enumerate(config.mix.manifests, 1)}
    others_read = {"--cmvn": cmvn, "--features": features, "--init": config.init}
    made = begin_training(config, exp, {**manifests, **others_read}, if_stale=if_stale)
    ledger, is_rank_0 = Ledger(), (torchrun_rank() or (0, 1))[0] == 0
    # the training processes of this machine, which torchrun has started if it is used
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", 1)) if torchrun_rank() else config.nproc
    config = limit_setting(config, "readers", processes=processes, quiet=not is_rank_0)
    dev_rows = manifest.read(dev, REQUIRED_FIELDS) if dev else None
    train_rows = ManifestRows(train, REQUIRED_FIELDS, ledger)
    warn = ui.warn if is_rank_0 else lambda _: None
    mix = [ManifestRows(path, REQUIRED_FIELDS, ledger) for path in config.mix.manifests]
    job = prepare_job(config, train_rows, dev_rows, exp, saved_features(train, features), ledger, cmvn, warn, mix)
    plan = None if job.init is None else plan_initial_weights(job)
    if not is_rank_0:
        # only rank 0 prints, writes files and handles signals
        native.on_missing = None
        with ignoring_signals():
            deque(stage.run(job, exp), 0)
        return
    dropped = _report_drops(config, ledger, exp)
    if plan is not None:
        (ui.log if plan.complete else ui.warn)(f"train: --init {config.init}: takes {plan.describe()}")
    warn_of_unknown_features(len(job.mean), job.features)
    native.warn_if_missing()
    if not config.fresh and not Path(exp, LAST).is_file() and Path(exp, BEST).is_file():
        ui.warn(f"train: {exp} has no {LAST} to resume from: starting over, which replaces {BEST}")
    with handling_signals() as request:
        events = stage.run(job, exp, request, lambda: _save_settings(config, ledger, exp, dropped, made))
        events = recorded(events, exp, len(job.train), partial(read_ids, job.train))
        done = show(monitored(events, exp, tensorboard=config.tensorboard), config)
    if request.stop and not done:
        ui.log("train: interrupted; last.pt was written and the same command resumes from it")
        raise typer.Exit(128 + request.stop)
    if not Path(exp, BEST).is_file():
        raise DataError(f"{exp}/{BEST}: missing, although training is complete (raise --epochs, or give --fresh)")
    if (read_record(exp) or {}).get("finished") is False:
        _save_record(config, ledger, exp, dropped, made, finished=True)
    # a finished training is not repeated, and its network may have been damaged since
    load_model(exp)
    ui.log(f"train: done, the network is {exp}/{BEST}")


def _check_paths(exp: str, *manifests: str | None) -> None:
    """Raises UsageError when EXP is empty, or training would overwrite a manifest."""
    if not exp:
        raise UsageError("train: EXP is empty: expected a folder (. is the current one)")
    refuse_bundle(exp, "train writes into the folder EXP")
    for path in manifests:
        folder = path and os.path.dirname(os.path.realpath(path))
        if path and folder == os.path.realpath(exp) and Path(path).name in OWN_MANIFESTS:
            raise UsageError(f"{path}: training would overwrite this manifest (use another EXP)")


def _report_drops(config: TrainConfig, ledger: Ledger, exp: str) -> str | None:
    """Report kept and dropped utterances; refuse to train when too many are bad.

    Returns the file that will list the dropped ones once training starts; None if it has been written already, because
    --dropped names it or the training is refused. If EXP has an earlier training, a refused one lists them in
    EXP/refused.jsonl and changes nothing else.
    """
    refused = ledger.bad_percent > config.max_bad
    dropped = config.dropped or f"{exp}/{'refused' if refused and _has_training(exp) else 'dropped'}.jsonl"
    written = refused or config.dropped is not None
    if written:
        _write_drops(dropped, ledger)
    ui.log(f"train: {ledger.summary()}{f', see {dropped}' if written and ledger.rows else ''}")
    ledger.enforce_max_bad("train", config.max_bad)
    return None if written else dropped


def _write_drops(path: str, ledger: Ledger) -> None:
    with open_out(path) as f:
        f.writelines(ledger.format_lines())


def _has_training(exp: str) -> bool:
    from ds2cli.runtime.file import BEST
    from ds2cli.train.checkpoint_files import LOG
    from ds2cli.train.resume import LAST

    return any(Path(exp, name).exists() for name in ("config.toml", LAST, LOG, BEST))


def _save_record(
    config: TrainConfig, ledger: Ledger, exp: str, dropped: str | None, made: Provenance, *, finished: bool
) -> None:
    command = {"ds2cli": __version__, "command": shlex.join(["ds2", *sys.argv[1:]])}
    counts = count_facts(ledger, dropped or config.dropped, folder_of(exp)) | {"finished": finished}
    files = (os.path.join(exp, name) for name in NETWORK_FILES)
    network = [file for file in files if Path(file).is_file()] if finished else []
    with open_out(f"{exp}/config.toml") as f:
        # EXP/config.toml may be passed back with --config to resume, which must not start over
        f.write(to_toml(replace(config, fresh=False), {**command, **counts, **made.to_saved(exp, network)}))


def _save_settings(config: TrainConfig, ledger: Ledger, exp: str, dropped: str | None, made: Provenance) -> None:
    """What EXP says of a training that starts: its settings, and the dropped utterances unless they are written."""
    with together():
        _save_record(config, ledger, exp, dropped, made, finished=False)
        if dropped:
            _write_drops(dropped, ledger)
    Path(exp, "refused.jsonl").unlink(missing_ok=True)
    if dropped and ledger.rows:
        ui.log(f"train: the dropped utterances are listed in {dropped}")
