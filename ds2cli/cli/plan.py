"""`ds2 plan TRAIN`."""

from __future__ import annotations

from typing import Annotated

import typer

from ds2cli import manifest, ui
from ds2cli.cli.lib.features import saved_features
from ds2cli.cli.lib.options import with_config
from ds2cli.cli.lib.train_display import MEASURING
from ds2cli.cli.train import REQUIRED_FIELDS, FeaturesFile
from ds2cli.config.train import TrainConfig
from ds2cli.drops import Ledger


@with_config(TrainConfig)
def plan(
    config: TrainConfig,
    train: Annotated[str, typer.Argument(metavar="TRAIN", help="Manifest of the training set, as for ds2 train.")],
    dev: Annotated[
        str | None, typer.Option(help="Manifest of the dev set, evaluated after each epoch [default: none].")
    ] = None,
    features: FeaturesFile = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of the table.")] = False,
) -> None:
    """Estimate the steps, time, memory and disk space of a training run on this machine.

    A few steps are timed with one process; no file of the experiment is written.
    Options and settings are those of ds2 train.

    Example: ds2 plan data/train.feats.jsonl --config conf/train.toml
    """
    from json import dumps

    from ds2cli.nn.distributed.process_group import ProcessGroup
    from ds2cli.stages.plan import estimate
    from ds2cli.stages.train import select_device
    from ds2cli.train.data import prepare_job
    from ds2cli.train.precision import must_measure
    from ds2cli.train.scan import ManifestRows

    device = select_device(config)
    ledger = Ledger()
    dev_rows = manifest.read(dev, REQUIRED_FIELDS) if dev else None
    train_rows = ManifestRows(train, REQUIRED_FIELDS, ledger)
    mix = [ManifestRows(path, REQUIRED_FIELDS, ledger) for path in config.mix.manifests]
    job = prepare_job(config, train_rows, dev_rows, "", saved_features(train, features), ledger, warn=ui.warn, mix=mix)
    if must_measure(job, ProcessGroup(device=device)):
        ui.log(f"plan: {MEASURING}")
    result = estimate(job, device)
    if json:
        ui.echo_data(dumps({**result, "dropped": len(ledger.rows)}))
        return
    utterances, frames = result["longest"]
    total, per_epoch = _format_time(result["minutes"]), _format_time(result["minutes_per_epoch"])
    reason = result["precision_reason"] and f" ({result['precision_reason']})"
    epochs, limit = result["epochs"], ""
    if epochs < config.epochs:
        limit = f"; --minutes {config.minutes:g} ends it after {epochs:.1f} of {config.epochs} epochs"
    lines = [
        ("data", f"{result['utterances']:,} utterances, {result['hours']:g} h, {len(ledger.rows)} dropped"),
        ("network", f"{result['parameters']:,} parameters, {result['symbols']} symbols"),
        ("precision", f"{result['precision']}{reason}"),
        ("steps", f"{result['steps']:,}, {result['steps_per_epoch']:,} per epoch, {result['padding']:g} % padding"),
        ("longest batch", f"{utterances} utterances, {frames:,} frames"),
        ("time", f"{total}, {per_epoch} per epoch ({result['hours_per_hour']:g} h of audio per hour){limit}"),
        ("memory", f"{result['memory_mb']:,} MB"),
        ("disk", f"{result['disk_mb']:,} MB"),
    ]
    for name, text in lines:
        ui.echo(f"{name:14}{text}")


def _format_time(minutes: float) -> str:
    """`0.6 s`, `34.5 min` or `7.8 h`."""
    if minutes < 1.5:
        return f"{60 * minutes:.2g} s"
    return f"{minutes:.1f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
