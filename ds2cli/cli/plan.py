"""`ds2 plan TRAIN`."""

from __future__ import annotations

from typing import Annotated

import typer

from ds2cli import manifest, ui
from ds2cli.cli.lib.options import with_config
from ds2cli.cli.train import NEEDS, features_of
from ds2cli.config.train import TrainConfig
from ds2cli.drops import Ledger


@with_config(TrainConfig)
def plan(
    config: TrainConfig,
    train: Annotated[str, typer.Argument(metavar="TRAIN", help="Manifest to learn from.")],
    dev: Annotated[str | None, typer.Option(help="Manifest to test on after each epoch.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print a JSON object.")] = False,
) -> None:
    """Say what a training will take on this machine: steps, time, memory, disk. Some steps are taken, nothing is kept.

    Options and settings are those of ds2 train; the times are those of one process.

    Example: ds2 plan data/train.feats.jsonl --config conf/train.toml
    """
    from json import dumps

    from ds2cli.stages.plan import estimate
    from ds2cli.stages.train import device_of
    from ds2cli.train.data import prepare

    ledger = Ledger()
    held_out = manifest.read(dev, NEEDS) if dev else None
    job = prepare(config, manifest.read(train, NEEDS, ledger), held_out, "", features_of(train), ledger)
    found = estimate(job, device_of(config))
    if json:
        ui.say(dumps({**found, "dropped": len(ledger.rows)}))
        return
    utterances, frames = found["longest"]
    rows = [
        ("data", f"{found['utterances']:,} utterances, {found['hours']:g} h, {len(ledger.rows)} dropped"),
        ("network", f"{found['parameters']:,} parameters, {found['symbols']} symbols"),
        ("steps", f"{found['steps']:,}, {found['steps_a_pass']:,} a pass, {found['padding']:g} % padding"),
        ("longest batch", f"{utterances} utterances, {frames:,} frames"),
        (
            "time",
            f"{_time(found['minutes'])}, {_time(found['minutes_a_pass'])} a pass, {found['hours_per_hour']:g} h/h",
        ),
        ("memory", f"{found['memory_mb']:,} MB"),
        ("disk", f"{found['disk_mb']:,} MB"),
    ]
    for name, said in rows:
        ui.say(f"{name:14}{said}")


def _time(minutes: float) -> str:
    """`0.6 s`, `34.5 min` or `7.8 h`."""
    if minutes < 1.5:
        return f"{60 * minutes:.2g} s"
    return f"{minutes:.1f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
