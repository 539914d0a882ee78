"""`ds2 filter --fit`: check the options, print what the classifier keeps, and store it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ds2cli import manifest, ui
from ds2cli.cli.lib.features import warn_of_other_features
from ds2cli.cli.lib.filter import report_drops
from ds2cli.config.filter import FilterConfig
from ds2cli.drops import Ledger
from ds2cli.errors import UsageError
from ds2cli.experiment_files import refuse_bundle
from ds2cli.io import require_writable

if TYPE_CHECKING:
    from ds2cli.stages.fit_filter import Examples, FilterFit

KEPT_SHARES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
"""Shares of the texts at which operating points are printed."""


def fit_filter(config: FilterConfig, exp: str, dev: str, out: str) -> None:
    """Fit the classifier to `dev`, print its operating points, and store it in EXP/filter.toml."""
    from ds2cli.recognizer.experiment import Experiment
    from ds2cli.recognizer.transcript_filter import FILTER_FILE, identify_network, save_filter
    from ds2cli.stages import fit_filter as stage

    stored = f"{exp}/{FILTER_FILE}"
    _check_options(config, stored, out)
    refuse_bundle(exp, f"--fit writes {FILTER_FILE} into EXP")
    experiment = Experiment(exp)
    if not Path(exp).is_dir():
        raise UsageError(f"--fit writes {stored}, but {exp} is not a folder")
    identify_network(exp)
    require_writable(stored)
    warn_of_other_features(dev, experiment)
    rows, ledger = list(manifest.read(dev, ("id", "text"))), Ledger()
    if any(row.get("split") == "train" for row in rows):
        ui.warn(f"{dev} has rows of the training set, whose costs are lower than those of unseen speech (use dev rows)")
    watch = partial(ui.progress, label="filter --fit", total=len(rows))
    try:
        examples = stage.make_examples(config, rows, ledger, experiment, watch)
    finally:
        report_drops("filter --fit", config, "-", ledger)
    ledger.enforce_max_bad("filter --fit", config.max_bad)
    fit = stage.fit(config, examples)
    _print_fit(config, examples, fit, dev)
    used, point = fit.trials[0], fit.chosen
    save_filter(
        exp,
        fit.classifier,
        made_on=dev,
        utterances=ledger.kept,
        seed=config.seed,
        copies=config.copies,
        raw_wer=config.raw_wer,
        keep_wer=config.keep_wer,
        good_rate=round(used.good_rate, 4),
        precision=round(float(used.curve.precision[point]), 4),
        recall=round(float(used.curve.recall[point]), 4),
        wer=round(float(used.curve.wer[point]), 2),
        interval=[round(bound, 2) for bound in fit.interval],
        auc=round(fit.auc, 4),
    )
    ui.log(f"filter: stored in {stored} for ds2 filter")


def _check_options(config: FilterConfig, stored: str, out: str) -> None:
    """Raise UsageError for what only affects rows, or contradicts itself."""
    for name, is_set in {"OUT": out != "-", "--threshold": config.threshold is not None}.items():
        if is_set:
            raise UsageError(f"--fit writes {stored} and no rows: {name} does not apply")
    if config.keep_wer >= config.raw_wer:
        raise UsageError(
            f"--keep-wer {config.keep_wer:g} has to be below --raw-wer {config.raw_wer:g}: otherwise every text is kept"
        )


def _print_fit(config: FilterConfig, examples: Examples, fit: FilterFit, dev: str) -> None:
    used, point = fit.trials[0], fit.chosen
    curve, utterances = used.curve, len(set(examples.utterances.tolist()))
    unfit = f" (and {examples.unfit} that do not fit the speech)" if examples.unfit else ""
    ui.log(f"filter: {utterances} utterances of {dev}, {len(examples.kinds) - utterances} wrong texts of them{unfit}")
    rows = [[k.kind, k.number, f"{k.wer:.1f}", f"{100 * k.kept:.1f}"] for k in fit.kinds]
    ui.table("texts by the planted error", ["", "texts", "%WER", "% kept"], rows, to_stdout=True)
    rows = [[use.name, f"{use.weight:+.2f}", f"{use.alone:.3f}", f"{use.without:.3f}"] for use in fit.uses]
    columns = ["feature", "weight", "AUC alone", "AUC without"]
    ui.table(f"features, AUC of all {fit.auc:.3f}", columns, rows, to_stdout=True)
    rows = [
        [f"{trial.good_rate:.1f}{'*' if trial is used else ''}", "-" if trial.chosen is None else _percent(trial.kept)]
        for trial in fit.trials
    ]
    columns = ["good up to %WER", f"% kept below {config.keep_wer:g} %WER"]
    ui.table("what a good text is", columns, rows, to_stdout=True)
    points = sorted({*map(curve.nearest_to, KEPT_SHARES), point}, reverse=True)
    rows = [
        [
            f"{curve.thresholds[i]:.6f}{'*' if i == point else ''}",
            *(_percent(shares[i]) for shares in (curve.kept, curve.precision, curve.recall)),
            f"{curve.wer[i]:.2f}",
        ]
        for i in points
    ]
    columns = ["threshold", "% kept", "% precision", "% recall", "%WER"]
    ui.table("operating points", columns, rows, to_stdout=True)
    low, high = fit.interval
    ui.echo(
        f"%WER {curve.wer[point]:.2f} of the {_percent(used.kept)} % kept ({low:.2f} to {high:.2f} in 95 % of "
        f"resamplings of the utterances), {examples.texts.wer:.2f} of all texts"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
