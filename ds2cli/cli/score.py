"""`ds2 score IN [OUT]`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from ds2cli import manifest, ui
from ds2cli.cli.lib.filter import count_lines, filter_rows, report_drops
from ds2cli.cli.lib.options import In, with_config
from ds2cli.config.score import ScoreConfig
from ds2cli.drops import Ledger
from ds2cli.errors import DataError, Ds2Error, UsageError
from ds2cli.manifest import Row

if TYPE_CHECKING:
    from ds2cli.stages.explain_errors import Explainer

Rows = Annotated[
    str | None, typer.Argument(metavar="[OUT]", help="Rows with `hits`, `subs`, `ins` and `dels`; none by default.")
]
WITH_WHY = ("lm", "alpha", "beta", "unknown", "unknown_letter")
MANY_FAR = 0.25
"""Share of utterances whose scores may differ from their own before it is said."""


@with_config(ScoreConfig)
def score(config: ScoreConfig, in_: In = "-", out: Rows = None) -> None:
    """Count the word and character errors of `pred_text` against `text`, and print Kaldi's %WER line.

    The report is the result: it goes to standard output, unless OUT is - and the rows go there. An utterance without
    `pred_text` counts as wholly deleted. Rows with `nbest` have a line more: the rate if the best of N were chosen.

    --why EXP compares the scores of what was said and of what was found, and tells for each error whether the search
    pruned the right words (search), the language model does not know them (oov) or overruled the acoustics (lm), the
    network heard others (acoustic), or its alphabet cannot write them (unspellable).

    Example: ds2 decode exp/base data/test.jsonl | ds2 score - --worst 5

    Example: ds2 score exp/base/test.jsonl --why exp/base
    """
    from ds2cli.stages import score as stage

    report = stage.report_for(config)
    limits = {"word": config.max_wer, "char": config.max_cer}
    for unit, limit in limits.items():
        if limit is not None and unit not in report.units:
            raise UsageError(f"--max-{unit[0]}er: --unit {config.unit} does not count {unit}s")
    config, explainer = _explainer(config, in_)
    needs = ("id",) if config.ref is not None else ("id", "text")

    def run(rows: Iterable[Row], ledger: Ledger) -> Iterator[Row]:
        if config.ref is not None:
            rows = stage.with_references(rows, manifest.read(config.ref, ("id", "text")))
        return stage.run(config, rows if explainer is None else explainer.run(rows), report)

    if out is None:
        ledger = Ledger()
        rows = run(manifest.read(in_, needs, ledger), ledger)
        for _ in ledger.keep(ui.progress(rows, "score", count_lines(in_))):
            pass
        report_drops("score", config, "-", ledger)
    else:
        ledger = filter_rows("score", config, in_, out, needs=needs, run=run)
    if report.sentences:
        _show(report.lines(), ui.log if out == "-" else ui.say)
    ledger.refuse("score", config.max_bad)
    if not report.sentences:
        raise DataError(f"{'<stdin>' if in_ == '-' else in_}: no utterance to score (did the stage before fail?)")
    if report.missing:
        ui.warn(
            f"{report.missing} of {report.sentences} utterances have no pred_text: all their words count as deleted"
        )
    if explainer is not None:
        _warn(explainer)
    for unit, limit in limits.items():
        rate = report.counts(unit).rate
        if limit is not None and rate > limit:
            raise Ds2Error(f"score: refused, the {unit} error rate is {rate:.2f} %, allowed {limit:g} %")


def _explainer(config: ScoreConfig, in_: str) -> tuple[ScoreConfig, Explainer | None]:
    """What finds the causes, where they are asked for, and the settings with what it took from elsewhere."""
    if config.why is None:
        for name in WITH_WHY:
            if getattr(config, name) is not None:
                raise UsageError(
                    f"--{name.replace('_', '-')} is of the search that --why EXP asks: say why, or leave it out"
                )
        return config, None
    from ds2cli.stages import explain_errors

    explainer, settings, source = explain_errors.explainer(config, in_)
    taken = {name: getattr(settings, name) for name in WITH_WHY}
    weights = ", ".join(f"{name} {taken[name]:g}" for name in WITH_WHY[1:] if taken[name] is not None)
    model = f"{settings.lm}, {weights}" if settings.lm is not None else "no language model"
    ui.log(f"score: why: {model} ({source or 'as ds2 decode would: IN has no settings of it beside it'})")
    return replace(config, **taken), explainer


def _warn(explainer: Explainer) -> None:
    """Say what was not explained, and what cannot be trusted."""
    if explainer.unexplained.rows:
        reasons = ", ".join(f"{n} {reason}" for reason, n in sorted(explainer.unexplained.reasons.items()))
        first = explainer.unexplained.rows[0]
        ui.warn(
            f"why: {len(explainer.unexplained.rows)} utterances with errors are unexplained ({reasons}), "
            f"as {first['id']}: {first['detail']}"
        )
    if explainer.far > MANY_FAR * explainer.judged:
        ui.warn(
            f"why: {explainer.far} of {explainer.judged} utterances have another pred_score than these settings give: "
            "causes are right only with the EXP, model, weights and word lists that they were decoded with"
        )


def _show(lines: Iterable[str], say: Callable[[str], None]) -> None:
    for line in lines:
        say(line)
