"""`ds2 plan [TRAIN]`."""

from __future__ import annotations

from dataclasses import fields, replace
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
        float | None, number_option("--hours", float, "Estimate without TRAIN: its amount of speech (h).", min=0.001)
    ] = None,
    utterances: Annotated[
        int | None, number_option("--utterances", int, "With --hours: number of utterances.", min=1)
    ] = None,
    longest: Annotated[
        float | None,
        number_option(
            "--longest", float, "With --hours: longest utterance (s) [default: twice the mean length].", min=0.01
        ),
    ] = None,
    symbols: Annotated[
        int | None,
        number_option(
            "--symbols", int, "With --hours: output symbols, blank included [default: 29 for characters].", min=2
        ),
    ] = None,
    extrapolate: Annotated[
        str | None,
        typer.Option(
            metavar="CURVE", help="Predict the WER at --hours from runs at other sizes: rows with hours, wer and seed."
        ),
    ] = None,
    target_wer: Annotated[
        float | None,
        number_option("--target-wer", float, "With --extrapolate: find the hours that this WER needs (%).", min=0.01),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of the table.")] = False,
) -> None:
    """Estimate the steps, time, memory and disk space of a training run on this machine, or on a GPU.

    A few steps are timed with one process; no file of the experiment is written.
    Options and settings are those of ds2 train.

    With --gpu nothing is measured: the time and memory follow from the layers of the network and the data sheet of the
    GPU, so TRAIN may be missing (--hours, --utterances). Reading the data is not part of the time.

    --extrapolate fits wer = a h^-b + c to runs with different amounts of data. c, which the error rate never falls
    below, is 0 unless there are four sizes or more and it fits significantly better. Intervals are from a bootstrap
    over seeds.

    Example: ds2 plan data/train.feats.jsonl --config conf/train.toml

    Example: ds2 plan --hours 960 --utterances 281241 --config conf/ds2.toml --gpu a100-80 --nproc 8
    """
    from json import dumps

    facts = {"--hours": hours, "--utterances": utterances, "--longest": longest, "--symbols": symbols}
    given = [name for name, value in facts.items() if value is not None]
    if extrapolate is not None:
        others = {"TRAIN": train, "--dev": dev, "--features": features, "--gpu": gpu, **facts, "--hours": None}
        _refuse_with_extrapolate([name for name, value in others.items() if value is not None], config)
        if hours is None:
            raise UsageError(
                "plan: --hours is missing: --extrapolate needs the size of the training set to predict for"
            )
        from ds2cli.stages.plan_scaling import extrapolate as fit

        result = fit(extrapolate, hours, target_wer)
        lines = _curve_lines(result)
    else:
        if target_wer is not None:
            raise UsageError("--target-wer only applies with --extrapolate")
        if gpu is None and train is None:
            raise UsageError("plan: TRAIN is missing (or give --gpu NAME --hours H --utterances N)")
        if train is not None and given:
            raise UsageError(f"plan: {given[0]} describes data that are not there, but TRAIN is given (leave one out)")
        if train is not None and gpu is None:
            result = _measure(config, train, dev, features)
        else:
            result = _estimate(config, train, dev, features, gpu or "", facts)
        lines = _lines(config, result)
    if json:
        ui.echo_data(dumps(result))
        return
    for name, text in lines:
        ui.echo(f"{name:14}{text}")


def _refuse_with_extrapolate(names: list[str], config: TrainConfig) -> None:
    """UsageError for what describes a training run: a prediction is not of one."""
    if names:
        raise UsageError(f"plan: {names[0]} has no effect with --extrapolate (leave it out)")
    if changed := [f.name for f in fields(config) if getattr(config, f.name) != getattr(TrainConfig(), f.name)]:
        raise UsageError(f"plan: the setting {changed[0]} has no effect with --extrapolate (leave it out)")


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
    if config.device == "cpu":
        raise UsageError(f"plan: --device cpu: expected auto or cuda with --gpu {name}")
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
    if dev is not None or config.mix.manifests:
        name = "mix.manifests" if dev is None else "--dev"
        raise UsageError(f"plan: {name} needs TRAIN (without it, leave {name} out)")
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


def _curve_lines(result: dict[str, Any]) -> list[tuple[str, str]]:
    """The curve, what it predicts, and cautions, as names and texts."""
    hours, largest = result["hours"], result["largest"]
    floor = f" + {result['c']:.4g}" if result["floor"] else ""
    low, high = result["wer_interval"]
    drawn = "over seeds" if result["over"] == "seeds" else "over the residuals, as no size has several runs"
    most, least = result["reduction_interval"][::-1]
    lines = [
        (
            "curve",
            f"wer = {result['a']:.4g} h^-{result['b']:.4g}{floor}, from {result['runs']} runs with {result['sizes']} "
            f"sizes, {result['smallest']:,g} to {largest:,g} h",
        ),
        ("prediction", f"{result['wer']:.2f} % at {hours:,g} h (95 % interval {low:.2f} to {high:.2f}, {drawn})"),
        (
            "tenfold data",
            f"{result['reduction']:.1f} % lower ({least:.1f} to {most:.1f}) from {hours / 10:,g} to {hours:,g} h; "
            f"the paper states about {result['paper_reduction']:g} %",
        ),
    ]
    if "target_wer" in result:
        lines.append(("target", _target(result)))
    if result["far"]:
        lines.append(("caution", f"{hours:,g} h is {hours / largest:.3g} times the largest size: no run supports this"))
    if result.get("target_far") and result["hours_needed"] is not None:
        lines.append(("caution", "the hours for the target are beyond 10 times the largest size: no run supports them"))
    if result["b"] <= 0:
        lines.append(("caution", "the error rate does not fall with more data in these runs"))
    return lines


def _target(result: dict[str, Any]) -> str:
    """The hours that the target needs, or why none are enough."""
    if result["hours_needed"] is None:
        floor = f": the curve levels off at {result['c']:.2f} %" if result["floor"] else ""
        return f"{result['target_wer']:g} % is not reached with any amount of data{floor}"
    ends = ["no limit" if end is None else f"{end:,g} h" for end in result["hours_needed_interval"]]
    return f"{result['target_wer']:g} % needs {result['hours_needed']:,g} h ({ends[0]} to {ends[1]})"


def _add_gpu(lines: list[tuple[str, str]], result: dict[str, Any]) -> list[tuple[str, str]]:
    """The lines with what an estimate for a GPU has besides."""
    from ds2cli.config.plan import find_gpu

    count, texts = result["gpus"], dict(lines)
    largest = f"largest batch_s that fits: {result['largest_batch_s']:,}"
    has = f"of {result['gpu_memory_mb']:,} MB"
    texts["memory"] += f" per GPU {has}, {largest}" if result["fits"] else f" per GPU: does not fit ({has}; {largest})"
    stored, compressed = (f"{result[key] / 1024:,.1f} GB" for key in ("features_mb", "compressed_mb"))
    texts["disk"] += f"; stored features {compressed} compressed, {stored} otherwise"
    low, high = result["off_by"]
    texts["estimate"] = (
        f"nothing was measured: published times were {low:g} to {high:g} times such estimates; "
        "reading the data is not included"
    )
    gpu = ("GPU", f"{count} x {find_gpu(result['gpu']).title}")
    return [next(iter(texts.items())), gpu, *list(texts.items())[1:]]


def _format_time(minutes: float) -> str:
    """`0.6 s`, `34.5 min` or `7.8 h`."""
    if minutes < 1.5:
        return f"{60 * minutes:.2g} s"
    return f"{minutes:.1f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
