"""`ds2 plan [TRAIN]`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ds2cli import manifest, ui
from ds2cli.cli.lib.features import saved_features
from ds2cli.cli.lib.options import number_option, with_config
from ds2cli.cli.lib.train_display import MEASURING
from ds2cli.cli.train import REQUIRED_FIELDS, FeaturesFile
from ds2cli.config.train import TrainConfig
from ds2cli.drops import Ledger
from ds2cli.errors import UsageError

if TYPE_CHECKING:
    from ds2cli.train.job import TrainJob


@with_config(TrainConfig)
def plan(
    config: TrainConfig,
    train: Annotated[
        str | None,
        typer.Argument(metavar="[TRAIN]", help="Manifest of the training set, as for ds2 train; not with --hours."),
    ] = None,
    dev: Annotated[
        str | None, typer.Option(help="Manifest of the dev set, evaluated after each epoch [default: none].")
    ] = None,
    features: FeaturesFile = None,
    gpu: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Estimate for --nproc GPUs of this kind, such as a100-80, without measuring anything."
        ),
    ] = None,
    hours: Annotated[
        float | None, number_option("--hours", float, "Size of a training set that is not there (h).", min=0.001)
    ] = None,
    utterances: Annotated[int | None, number_option("--utterances", int, "Number of its utterances.", min=1)] = None,
    longest: Annotated[
        float | None,
        number_option("--longest", float, "Its longest utterance (s) [default: twice the mean length].", min=0.01),
    ] = None,
    symbols: Annotated[
        int | None,
        number_option("--symbols", int, "Its output symbols, blank included [default: 29 for characters].", min=2),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of the table.")] = False,
) -> None:
    """Estimate the steps, time, memory and disk space of a training run on this machine, or on a GPU.

    A few steps are timed with one process; no file of the experiment is written.
    Options and settings are those of ds2 train.

    With --gpu nothing is measured: the time and memory follow from the layers of the network and the data sheet of the
    GPU, so TRAIN may be missing (--hours, --utterances). Reading the data is not part of the time.

    Example: ds2 plan data/train.feats.jsonl --config conf/train.toml
    """
    from json import dumps

    if gpu is None and train is None:
        raise UsageError("plan: TRAIN is missing (or give --gpu NAME --hours H --utterances N)")
    facts = {"--hours": hours, "--utterances": utterances, "--longest": longest, "--symbols": symbols}
    given = [name for name, value in facts.items() if value is not None]
    if train is not None and given:
        raise UsageError(f"plan: {given[0]} describes data that are not there, but TRAIN is given (leave one out)")
    if gpu is None:
        assert train is not None
        result = _measure(config, train, dev, features)
    else:
        result = _estimate(config, train, dev, features, gpu, facts)
    if json:
        ui.echo_data(dumps(result))
        return
    for name, text in _lines(config, result):
        ui.echo(f"{name:14}{text}")


def _measure(config: TrainConfig, train: str, dev: str | None, features: str | None) -> dict[str, Any]:
    """Time some steps on this machine."""
    from ds2cli.nn.distributed.process_group import ProcessGroup
    from ds2cli.stages.plan import estimate
    from ds2cli.stages.train import select_device
    from ds2cli.train.precision import must_measure

    device = select_device(config)
    ledger = Ledger()
    job = _prepare(config, train, dev, features, ledger)
    if must_measure(job, ProcessGroup(device=device)):
        ui.log(f"plan: {MEASURING}")
    return {**estimate(job, device), "dropped": len(ledger.rows)}


def _prepare(config: TrainConfig, train: str, dev: str | None, features: str | None, ledger: Ledger) -> TrainJob:
    from ds2cli.train.data import prepare_job
    from ds2cli.train.scan import ManifestRows

    dev_rows = manifest.read(dev, REQUIRED_FIELDS) if dev else None
    train_rows = ManifestRows(train, REQUIRED_FIELDS, ledger)
    mix = [ManifestRows(path, REQUIRED_FIELDS, ledger) for path in config.mix.manifests]
    return prepare_job(config, train_rows, dev_rows, "", saved_features(train, features), ledger, warn=ui.warn, mix=mix)


def _estimate(
    config: TrainConfig, train: str | None, dev: str | None, features: str | None, name: str, facts: dict[str, Any]
) -> dict[str, Any]:
    """Estimate a run on GPUs, of the data in TRAIN or of data of a known size."""
    from ds2cli.config.features import FeatureConfig
    from ds2cli.config.plan import find_gpu
    from ds2cli.feats import kinds
    from ds2cli.stages.model import NetworkSpec
    from ds2cli.stages.plan_estimate import choose_precision, count_symbols, describe_data, estimate_on_gpu, read_data

    gpu = find_gpu(name)
    choose_precision(config.precision, gpu, name)
    if train is not None:
        ledger = Ledger()
        # the precision is that of the GPU, and nothing is computed here
        job = _prepare(replace(config, device="cpu"), train, dev, features, ledger)
        settings = FeatureConfig.from_saved(job.features, "features")
        spec = NetworkSpec(config.model, len(job.vocab), len(job.mean), settings.hop_ms)
        return {**estimate_on_gpu(config, spec, settings, read_data(job), gpu, name), "dropped": len(ledger.rows)}
    for option in ("--hours", "--utterances"):
        if facts[option] is None:
            raise UsageError(f"plan: {option} is missing: without TRAIN, the size of the data is needed")
    if dev is not None:
        raise UsageError("plan: --dev needs TRAIN (leave it out: the evaluation takes little time)")
    settings = FeatureConfig.from_saved(saved_features("-", features), "features")
    spec = NetworkSpec(
        config.model, count_symbols(config, facts["--symbols"]), kinds.num_bins(settings), settings.hop_ms
    )
    data = describe_data(config, settings, facts["--hours"], facts["--utterances"], facts["--longest"])
    return {**estimate_on_gpu(config, spec, settings, data, gpu, name), "dropped": 0}


def _lines(config: TrainConfig, result: dict[str, Any]) -> list[tuple[str, str]]:
    """The result as names and texts."""
    utterances, frames = result["longest"]
    total, per_epoch = _format_time(result["minutes"]), _format_time(result["minutes_per_epoch"])
    reason = result.get("precision_reason") and f" ({result['precision_reason']})"
    epochs, limit = result["epochs"], ""
    if epochs < config.epochs:
        limit = f"; --minutes {config.minutes:g} ends it after {epochs:.1f} of {config.epochs} epochs"
    lines = [
        ("data", f"{result['utterances']:,} utterances, {result['hours']:g} h, {result['dropped']} dropped"),
        ("network", f"{result['parameters']:,} parameters, {result['symbols']} symbols"),
        ("precision", f"{result['precision']}{reason or ''}"),
        ("steps", f"{result['steps']:,}, {result['steps_per_epoch']:,} per epoch, {result['padding']:g} % padding"),
        ("longest batch", f"{utterances} utterances, {frames:,} frames"),
        ("time", f"{total}, {per_epoch} per epoch ({result['hours_per_hour']:g} h of audio per hour){limit}"),
        ("memory", f"{result['memory_mb']:,} MB"),
        ("disk", f"{result['disk_mb']:,} MB"),
    ]
    return _add_gpu(lines, result) if "gpu" in result else lines


def _add_gpu(lines: list[tuple[str, str]], result: dict[str, Any]) -> list[tuple[str, str]]:
    """The lines with what an estimate for a GPU has besides."""
    from ds2cli.config.plan import find_gpu

    count, texts = result["gpus"], dict(lines)
    largest = f"largest batch_s that fits: {result['largest_batch_s']:,}"
    has = f"of {result['gpu_memory_mb']:,} MB"
    texts["memory"] += f" per GPU {has}, {largest}" if result["fits"] else f" per GPU: does not fit ({has}; {largest})"
    stored, compressed = (f"{result[key] / 1024:,.1f} GB" for key in ("features_mb", "compressed_mb"))
    texts["disk"] += f"; stored features {compressed} compressed, {stored} otherwise"
    texts["estimate"] = (
        "nothing was measured: published times were {0:g} to {1:g} times such estimates; reading the data is not included"
    ).format(*result["off_by"])
    gpu = ("GPU", f"{count} x {find_gpu(result['gpu']).title}")
    return [next(iter(texts.items())), gpu, *list(texts.items())[1:]]


def _format_time(minutes: float) -> str:
    """`0.6 s`, `34.5 min` or `7.8 h`."""
    if minutes < 1.5:
        return f"{60 * minutes:.2g} s"
    return f"{minutes:.1f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
