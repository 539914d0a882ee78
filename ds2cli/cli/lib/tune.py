"""`ds2 decode --tune`: check the options, show progress, print the error rates, and store the settings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ds2cli import manifest, ui
from ds2cli.atomic import together
from ds2cli.cli.lib.filter import report_drops, save_config
from ds2cli.cli.lib.provenance import begin, existing
from ds2cli.config.decode import WEIGHTS, DecodeConfig
from ds2cli.drops import Ledger
from ds2cli.errors import UsageError
from ds2cli.experiment_files import refuse_bundle
from ds2cli.io import require_writable
from ds2cli.kernels.compilation import working_clock

if TYPE_CHECKING:
    from ds2cli.metrics.heatmap import Panel
    from ds2cli.stages.calibrate import ConfidenceFit
    from ds2cli.stages.tune import LimitTrial, Summary


def tune(config: DecodeConfig, exp: str, dev: str, out: str, *, if_stale: bool = False) -> None:
    """Tune the search on `dev`, print the error rates near the best weights, and store these in EXP/decode.toml."""
    from ds2cli.kernels.prefix import WORD_LM
    from ds2cli.metrics import heatmap
    from ds2cli.metrics.aligner import RATE_NAMES
    from ds2cli.metrics.report import rate_line
    from ds2cli.recognizer.decoder import (
        CONFIDENCE_SCALE,
        TUNED_FILE,
        build_beam_search,
        pruning_limits,
        resolve_settings,
    )
    from ds2cli.recognizer.experiment import Experiment
    from ds2cli.search.tune import TrialHistory, tune_weights
    from ds2cli.stages import tune as stage
    from ds2cli.stages import tune_guard
    from ds2cli.stages.calibrate import fit_confidences

    stored = f"{exp}/{TUNED_FILE}"
    _check_options(config, stored, out)
    stage.refuse_test_set(dev)
    if config.plot is not None and not heatmap.can_draw():
        raise UsageError(f"--plot {config.plot}: {heatmap.INSTALL_HINT}")
    refuse_bundle(exp, f"--tune writes {TUNED_FILE} into EXP")
    inputs = {"EXP": exp, "DEV": dev, "--lm": config.lm, "--lexicon": existing(config.lexicon)}
    made = begin("tune", config, stored, {**inputs, "--hotwords": config.hotwords}, if_stale=if_stale)
    experiment = Experiment(exp, device=config.device, precision=config.precision)
    if not Path(exp).is_dir():
        raise UsageError(f"--tune writes {stored}, but {exp} is not a folder")
    for path in (stored, config.plot):
        if path is not None:
            require_writable(path)
    rows = [stage.refuse_test_row(row) for row in manifest.read(dev, ("id", "text"))]
    # this run starts from the pruning limits given as options, not from those of an earlier --tune
    limits = pruning_limits(config)
    resolved = resolve_settings(replace(config, **limits), exp)
    search = build_beam_search(resolved, experiment, ui.warn, [row["text"] for row in rows])
    axes = stage.choose_axes(config, search)
    unit = "word" if search.lexicon.kind == WORD_LM else "char"
    rate_name = RATE_NAMES[unit]
    ledger = Ledger()
    with stage.open_trial_runner(rows, ledger, experiment, search, unit, config.nj) as runner:
        report_drops("tune", config, "-", ledger)
        ledger.enforce_max_bad("tune", config.max_bad)
        history, start, started = TrialHistory(runner.try_weights), stage.start_weights(axes), working_clock()
        errors = tune_guard.greedy_errors(runner.items, experiment.vocab)
        is_useless = errors.rate >= config.max_cer
        points = history.run([start]) if is_useless else tune_weights(axes, start, history)
        for _ in ui.progress(points, "tune", unit="trial"):
            pass
        summary = stage.summarize(axes, start, history, config.seed, with_panels=not is_useless)
        seconds = working_clock() - started
        ui.log(f"tune: {len(history)} trials in {seconds:.1f} s, {60 * len(history) / seconds:.0f} per minute")
        if is_useless:
            verdict = tune_guard.Verdict(summary.untuned, tune_guard.describe_useless(errors, config.max_cer))
        else:
            _print_summary(summary, rate_name, dev)
            verdict = tune_guard.check(axes, summary)
        settings: dict[str, float] = {axis.name: getattr(verdict.trial.weights, axis.name) for axis in axes}
        if verdict.warning:
            ui.warn(f"tune: {verdict.warning}")
        if config.tune_speed and not is_useless:
            tightened, trials = stage.tighten_limits(runner, dict(settings), limits)
            _print_limits(trials, rate_name)
            settings |= tightened
        if not is_useless:
            fit = fit_confidences(runner, settings)
            _print_fit(fit)
            if fit.scale is not None:
                settings[CONFIDENCE_SCALE] = round(fit.scale, 4)
    with together():
        stage.save_settings(
            exp,
            settings,
            lm=config.lm,
            made_on=dev,
            result=rate_line(rate_name, verdict.trial.counts),
            interval=[round(bound, 2) for bound in stage.rate_interval(verdict.trial, config.seed)],
        )
        if made is not None:
            save_config(config, stored, **made.to_saved(stored))
    ui.log(f"tune: stored in {stored} for ds2 decode")
    plot = config.plot or str(Path(exp) / "decode.png")
    if is_useless:
        return
    if heatmap.can_draw():
        heatmap.draw(plot, f"%{rate_name} on {dev}", summary.panels)
        ui.log(f"tune: plotted in {plot}")
    else:
        ui.log(f"tune: {plot} was not plotted: {heatmap.INSTALL_HINT}")


def _check_options(config: DecodeConfig, stored: str, out: str) -> None:
    """Raise UsageError for options that only affect rows, or that fix a weight to be tuned."""
    row_options = {
        "OUT": out != "-",
        "--greedy": config.greedy,
        "--emissions": config.emissions is not None,
        "--nbest": config.nbest > 0,
        "--timestamps": config.timestamps,
        "--confidence-scale": config.confidence_scale is not None,
        "--partials": config.partials is not None,
    }
    for name, is_set in row_options.items():
        if is_set:
            raise UsageError(f"--tune writes {stored} and no rows: {name} does not apply")
    for name in WEIGHTS:
        if (value := getattr(config, name)) is not None:
            option = name.replace("_", "-")
            raise UsageError(f"--tune tunes {name}: --{option} does not apply (--set '{name}s=[{value:g}]' fixes it)")
    if config.lm is None:
        raise UsageError("--tune tunes the weights of a language model: expected one (--lm FILE)")


def _print_summary(summary: Summary, rate_name: str, dev: str) -> None:
    from ds2cli.metrics.report import rate_line

    for panel in summary.panels:
        _print_panel(panel, f"%{rate_name} on {dev}")
    low, high = summary.interval
    ui.echo(f"{rate_line(rate_name, summary.best.counts)} {_format_values(summary.weights)} *")
    ui.echo(f"%{rate_name} {low:.2f} to {high:.2f} in 95 % of {summary.draws} resamplings of the utterances")
    untuned = rate_line(rate_name, summary.untuned.counts)
    ui.echo(f"{untuned} untuned, worse in {summary.better:.1f} % of them")


def _print_fit(fit: ConfidenceFit) -> None:
    if fit.scale is None:
        ui.log("tune: the words found are all right, or all wrong: no confidence_scale was fitted")
        return
    ui.echo(f"{fit.tuned.summary()} confidence_scale {fit.scale:.4g} *")
    ui.echo(f"{fit.untuned.summary()} untuned")


def _print_panel(panel: Panel, title: str) -> None:
    rows = [
        [f"{value:g}", *(f"{rate:.2f}{'*' if (i, j) == panel.best else ''}" for j, rate in enumerate(rates))]
        for i, (value, rates) in enumerate(zip(panel.rows, panel.rates, strict=True))
    ]
    columns = [f"{panel.row_name} \\ {panel.column_name}", *(f"{value:g}" for value in panel.columns)]
    ui.table(title, columns, rows, to_stdout=True)


def _print_limits(trials: Iterable[LimitTrial], rate_name: str) -> None:
    rows = []
    for limit, values, counts, us_per_step, accepted in trials:
        value = _format_values(values) if limit is None else f"{values[limit]:g}{'*' if accepted else ''}"
        rows.append([limit or "as given", value, f"{counts.rate:.2f}", f"{us_per_step:.1f}"])
    title = "pruning limits: the fastest without additional errors"
    ui.table(title, ["", "", f"%{rate_name}", "us/step"], rows, to_stdout=True)


def _format_values(values: dict[str, float]) -> str:
    return " ".join(f"{name} {value:g}" for name, value in values.items())
