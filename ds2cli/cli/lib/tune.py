"""`ds2 decode --tune`: the trials, the table, the picture, and what is kept."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ds2cli import manifest, ui
from ds2cli.cli.lib.filter import report_drops
from ds2cli.config.decode import LIMITS, WEIGHTS, DecodeConfig
from ds2cli.drops import Ledger
from ds2cli.errors import UsageError
from ds2cli.io import require_writable

if TYPE_CHECKING:
    from ds2cli.metrics.heatmap import Panel
    from ds2cli.search.tune import Axis, Tried, Weights
    from ds2cli.stages.tune import Trials

NAMES = {"word": "WER", "char": "CER"}


def tune(config: DecodeConfig, exp: str, dev: str, out: str) -> None:
    """Print the error rates around the best weights, and keep these."""
    from ds2cli.kernels.prefix import WORD_LM
    from ds2cli.metrics import bootstrap, heatmap
    from ds2cli.metrics.report import rate_line
    from ds2cli.recognizer.decoder import KEPT, build_search, resolve_settings
    from ds2cli.recognizer.experiment import Experiment
    from ds2cli.search.beam import BeamSearch
    from ds2cli.search.tune import Tried, optimise
    from ds2cli.stages import tune as stage

    _refuse(config, exp, out)
    stage.refuse_test_set(dev)
    if config.plot is not None and not heatmap.can_draw():
        raise UsageError(f"--plot {config.plot}: {heatmap.NEEDS}")
    experiment = Experiment(exp)
    if not Path(exp).is_dir():
        raise UsageError(f"--tune writes {exp}/{KEPT}, and {exp} is no folder")
    for path in (f"{exp}/{KEPT}", config.plot):
        if path is not None:
            require_writable(path)
    rows = [stage.refuse_test_row(row) for row in manifest.read(dev, ("id", "text"))]
    # the limits that an earlier run found are not kept: this one finds its own
    limits: dict[str, Any] = {name: getattr(config, name) for name in LIMITS}
    limits = {name: LIMITS[name] if value is None else value for name, value in limits.items()}
    resolved = resolve_settings(replace(config, **limits), exp)
    search = build_search(resolved, experiment, ui.warn, [row["text"] for row in rows])
    assert isinstance(search, BeamSearch)
    axes = stage.axes_of(config, search)
    unit = "word" if search.lexicon.kind == WORD_LM else "char"
    ledger = Ledger()
    with stage.trials(rows, ledger, experiment, search, unit, config.nj) as trials:
        report_drops("tune", config, "-", ledger)
        ledger.refuse("tune", config.max_bad)
        tried, first, began = Tried(trials.weighed), stage.start_of(axes), time.monotonic()
        for _ in ui.progress(optimise(axes, first, tried), "tune", unit="trial"):
            pass
        panels = list(_panels(axes, tried))
        seconds = time.monotonic() - began
        ui.log(f"tune: {len(tried)} trials in {seconds:.1f} s, {60 * len(tried) / seconds:.0f} a minute")
        best = tried.best()[0]
        found = {axis.name: getattr(best.weights, axis.name) for axis in axes}
        for panel in panels:
            _table(panel, f"%{NAMES[unit]} on {dev}")
        rates = bootstrap.draw_rates(best.each, config.seed)
        low, high = bootstrap.interval(rates)
        ui.say(f"{rate_line(NAMES[unit], best.counts)} {_said(found)} *")
        ui.say(f"%{NAMES[unit]} {low:.2f} to {high:.2f} in 95 % of {len(rates)} resamplings of the utterances")
        others = bootstrap.draw_rates(tried[first].each, config.seed)
        better = 100 * bootstrap.share_better(rates, others)
        ui.say(f"{rate_line(NAMES[unit], tried[first].counts)} untuned, worse in {better:.1f} % of them")
        if config.tune_speed:
            found |= _limits(trials, best.weights, axes, NAMES[unit], resolved)
    stage.save(
        exp,
        found,
        lm=config.lm,
        made_on=dev,
        result=rate_line(NAMES[unit], best.counts),
        interval=[round(low, 2), round(high, 2)],
    )
    ui.log(f"tune: {exp}/{KEPT} keeps them for ds2 decode")
    picture = config.plot or str(Path(exp) / "decode.png")
    if heatmap.can_draw():
        heatmap.draw(picture, f"%{NAMES[unit]} on {dev}", panels)
        ui.log(f"tune: {picture}")
    else:
        ui.log(f"tune: no {picture}: {heatmap.NEEDS}")


def _refuse(config: DecodeConfig, exp: str, out: str) -> None:
    """UsageError for what says how to write rows, or fixes what is to be found."""
    from ds2cli.recognizer.decoder import KEPT

    wrong = {
        "OUT": out != "-",
        "--greedy": config.greedy,
        "--emissions": config.emissions is not None,
        "--nbest": config.nbest > 0,
        "--timestamps": config.timestamps,
        "--partials": config.partials is not None,
    }
    for name, given in wrong.items():
        if given:
            raise UsageError(f"--tune writes {exp}/{KEPT} and no rows: it takes no {name}")
    for name in WEIGHTS:
        if (value := getattr(config, name)) is not None:
            fixed = f"--set '{name}s=[{value:g}]' keeps it at that"
            raise UsageError(f"--tune finds {name}: it takes no --{name.replace('_', '-')} ({fixed})")
    if config.lm is None:
        raise UsageError("--tune finds the weights of a language model, and there is none (--lm FILE)")


def _panels(axes: Sequence[Axis], tried: Tried) -> list[Panel]:
    """The error rates of the points around the best one, two weights at a time."""
    import numpy as np

    from ds2cli.metrics.heatmap import Panel
    from ds2cli.search.tune import plane

    pairs = list(zip(axes[::2], axes[1::2], strict=False))
    while True:
        # a point around the best one may be better still: then they are looked at around that
        best = tried.best()[0].weights
        planes = [plane(best, down, across) for down, across in pairs]
        for _ in tried.of(point for rows in planes for row in rows for point in row):
            pass
        if tried.best()[0].weights == best:
            break
    panels = []
    for (down, across), rows in zip(pairs, planes, strict=True):
        values = [getattr(row[0], down.name) for row in rows], [getattr(point, across.name) for point in rows[0]]
        place = next((i, j) for i, row in enumerate(rows) for j, point in enumerate(row) if point == best)
        rates = np.array([[tried[point].counts.rate for point in row] for row in rows])
        panels.append(Panel(down.name, across.name, *values, rates, place))
    return panels


def _table(panel: Panel, title: str) -> None:
    rows = [
        [f"{value:g}", *(f"{rate:.2f}{'*' if (i, j) == panel.best else ''}" for j, rate in enumerate(rates))]
        for i, (value, rates) in enumerate(zip(panel.rows, panel.rates, strict=True))
    ]
    ui.table(title, [f"{panel.down} \\ {panel.across}", *(f"{v:g}" for v in panel.columns)], rows, to_stdout=True)


def _limits(
    trials: Trials, weights: Weights, axes: Sequence[Axis], name: str, config: DecodeConfig
) -> dict[str, float]:
    """The cheapest of each limit that loses nothing against those the weights were found with."""
    from ds2cli.stages.tune import LADDERS

    options = {axis.name: getattr(weights, axis.name) for axis in axes}
    found: dict[str, float] = {limit: getattr(config, limit) for limit in LADDERS}
    ((allowed, cost),) = trials.limited(options, [found])
    table = [["as given", _said(found), f"{allowed.rate:.2f}", f"{cost:.1f}"]]
    for limit, ladder in LADDERS.items():
        for value in [v for v in ladder if v < found[limit]]:
            ((counts, cost),) = trials.limited(options, [found | {limit: value}])
            kept = counts.errors <= allowed.errors
            table.append([limit, f"{value:g}{'*' if kept else ''}", f"{counts.rate:.2f}", f"{cost:.1f}"])
            if kept:
                found[limit] = value
                break
    ui.table(
        "limits of the search, the cheapest that lose nothing", ["", "", f"%{name}", "us/step"], table, to_stdout=True
    )
    return {limit: type(LIMITS[limit])(value) for limit, value in found.items()}


def _said(values: dict[str, float]) -> str:
    return " ".join(f"{name} {value:g}" for name, value in values.items())
