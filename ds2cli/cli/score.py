"""`ds2 score IN [OUT]`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from ds2cli import manifest, ui
from ds2cli.cli.lib.filter import count_lines, filter_rows, report_drops, source_name
from ds2cli.cli.lib.options import In, with_config
from ds2cli.config.score import SEARCH_SETTINGS, ScoreConfig
from ds2cli.drops import Ledger
from ds2cli.errors import Ds2Error, UsageError
from ds2cli.manifest import Row

if TYPE_CHECKING:
    from ds2cli.metrics.text_form import FormErrors
    from ds2cli.stages.explain_errors import Explainer

OptionalOut = Annotated[
    str | None,
    typer.Argument(metavar="OUT", help="Manifest to write, with `hits`, `subs`, `ins`, `dels` [default: none]."),
]

MAX_MISMATCHED = 0.25
"""Share of the utterances whose `pred_score` may differ from the computed score without a warning."""


@with_config(ScoreConfig)
def score(config: ScoreConfig, in_: In = "-", out: OptionalOut = None) -> None:
    """Count the word and character errors of `pred_text` against `text`, and print Kaldi's %WER line.

    The report goes to standard output, or to standard error if OUT is -. For an utterance without `pred_text`, all
    words count as deleted. Rows with `nbest` add the oracle error rate: that of the best of the N hypotheses.

    --why EXP finds the cause of each error by comparing the scores of reference and hypothesis. The causes: `search`
    (the reference scores higher, but the beam search pruned it), `oov` (the word is not in the language model),
    `lm` (the acoustics favored the reference, but the language model overruled them), `acoustic` (the network favored
    the wrong words), `unspellable` (the network cannot write the word), `unexplained` (no emission or no hypothesis).

    Example: ds2 decode exp/base data/test.feats.jsonl | ds2 score - --worst 5

    Example: ds2 score exp/base/test.jsonl --why exp/base
    """
    from ds2cli.stages import score as stage
    from ds2cli.text.normalize import TextRules

    report, form, unreadable = stage.create_report(config), stage.create_form_errors(config), list[str]()
    TextRules.of(config)
    limits = {"word": config.max_wer, "char": config.max_cer}
    for unit, limit in limits.items():
        if limit is not None and unit not in report.units:
            raise UsageError(f"--max-{unit[0]}er: --unit {config.unit} does not count {unit}s (--unit both)")
    config, explainer = _open_explainer(config, in_)
    needs = ("id",) if config.ref is not None else ("id", "text")

    def run(rows: Iterable[Row], ledger: Ledger) -> Iterator[Row]:
        if config.ref is not None:
            rows = stage.join_references(rows, manifest.read(config.ref, ("id", "text")))
        if config.normalize:
            rows = stage.normalize_texts(rows, config.lang, unreadable)
        return stage.run(config, rows if explainer is None else explainer.run(rows), report, form)

    if out is None:
        ledger = Ledger(source=source_name(in_), needs_rows=True)
        rows = run(manifest.read(in_, needs, ledger), ledger)
        for _ in ledger.count_kept(ui.progress(rows, "score", count_lines(in_))):
            pass
        report_drops("score", config, "-", ledger)
    else:
        ledger = filter_rows("score", config, in_, out, needs=needs, run=run, is_choice=True)
    if report.sentences:
        for line in report.lines():
            (ui.log if out == "-" else ui.echo)(line)
    ledger.enforce_max_bad("score", config.max_bad)
    if report.missing:
        ui.warn(
            f"{report.missing} of {report.sentences} utterances have no pred_text: all their words count as deleted"
        )
    if config.by is not None and set(report.groups) == {stage.group_name(config.by, None)}:
        raise Ds2Error(f"score: --by {config.by}: no utterance has this field")
    _warn_of_texts(form, unreadable)
    if explainer is not None:
        _warn_explainer(explainer)
    for unit, limit in limits.items():
        rate = report.counts(unit).rate
        if limit is not None and rate > limit:
            raise Ds2Error(f"score: refused: the {unit} error rate is {rate:.2f} %, above the limit of {limit:g} %")


def _open_explainer(config: ScoreConfig, in_: str) -> tuple[ScoreConfig, Explainer | None]:
    """The explainer of --why, and the config with the search settings that it found; None without --why."""
    if config.why is None:
        return config, None
    from ds2cli.stages.explain_errors import open_explainer

    explainer, settings, source = open_explainer(config, in_)
    found = {name: getattr(settings, name) for name in SEARCH_SETTINGS}
    weights = ", ".join(f"{name} {value:g}" for name, value in found.items() if name != "lm" and value is not None)
    model = f"{settings.lm}, {weights}" if settings.lm is not None else "no language model"
    ui.log(f"score: why: {model} ({source or 'as ds2 decode would use them: IN has no .config.toml'})")
    return replace(config, **found), explainer


def _warn_of_texts(form: FormErrors, unreadable: list[str]) -> None:
    """Warn about errors that are differences of writing, and texts that no rule can read."""
    if difference := form.describe():
        ui.warn(f"{difference} (--normalize writes both in one way)")
    if form.broken:
        ui.warn(
            f"{form.broken} of {form.texts} texts have line breaks or control characters: line breaks count as spaces, "
            "other control characters as letters (--normalize)"
        )
    if unreadable:
        ui.warn(
            f"--normalize: {len(unreadable)} utterances have digits, tags or signs that can be read in several ways, "
            f"such as {unreadable[0]}: compared as they are written (write them as spoken)"
        )


def _warn_explainer(explainer: Explainer) -> None:
    """Warn about errors that were not explained, and scores that do not match the decoded ones."""
    if explainer.unexplained.rows:
        reasons = ", ".join(f"{n} {reason}" for reason, n in sorted(explainer.unexplained.reasons.items()))
        first = explainer.unexplained.rows[0]
        ui.warn(
            f"why: the errors of {len(explainer.unexplained.rows)} utterances are unexplained ({reasons}), "
            f"such as {first['id']}: {first['detail']}"
        )
    if explainer.mismatched > MAX_MISMATCHED * explainer.scored:
        ui.warn(
            f"why: {explainer.mismatched} of {explainer.scored} utterances have a pred_score that these settings do "
            "not reproduce: the causes are valid only with the EXP, language model, weights and word lists "
            "used in decoding"
        )
