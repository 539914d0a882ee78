"""`ds2 score IN [OUT]`."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ds2cli import __version__, ui
from ds2cli.atomic import together
from ds2cli.cli.lib.filter import count_lines, first_row, report_drops, source_name, write_rows
from ds2cli.cli.lib.options import In, with_config
from ds2cli.cli.lib.provenance import begin
from ds2cli.config.score import SEARCH_SETTINGS, ScoreConfig
from ds2cli.drops import Ledger
from ds2cli.errors import Ds2Error, UsageError
from ds2cli.manifest import Row

if TYPE_CHECKING:
    from ds2cli.metrics.text_form import FormErrors
    from ds2cli.stages.explain_errors import Explainer

OptionalOut = Annotated[
    str | None,
    typer.Argument(
        metavar="OUT",
        help="Manifest to write, with `hits`, `subs`, `ins`, `dels` [default: none]; with --compare, a result to read.",
    ),
]
More = Annotated[list[str] | None, typer.Argument(metavar="…", help="With --compare: results of further systems.")]

MAX_MISMATCHED = 0.25
"""Share of the utterances whose `pred_score` may differ from the computed score without a warning."""


@with_config(ScoreConfig)
def score(config: ScoreConfig, in_: In = "-", out: OptionalOut = None, more: More = None) -> None:
    """Count the word and character errors of `pred_text` against `text`, and print Kaldi's %WER line.

    The report goes to standard output, or to standard error if OUT is -. For an utterance without `pred_text`, all
    words count as deleted. Rows with `nbest` add the oracle error rate: that of the best of the N hypotheses.

    --why EXP finds the cause of each error by comparing the scores of reference and hypothesis. The causes: `search`
    (the reference scores higher, but the beam search pruned it), `oov` (the word is not in the language model),
    `lm` (the acoustics favored the reference, but the language model overruled them), `acoustic` (the network favored
    the wrong words), `unspellable` (the network cannot write the word), `unexplained` (no emission or no hypothesis).

    --compare A B … tests whether the differences between systems are real, or due to the choice of test utterances. All
    arguments are results to read; nothing is written to them.

    --normalizer: `basic` (case, punctuation, Unicode form), `prepare` (the rules of ds2 prepare in the language of each
    row, numbers spelled out), `english` and `chinese` (these rules in one language, whatever the row says),
    `conversation` (as ds2 prepare --text-rules conversation: without hesitations), `whisper` (Whisper's own
    normalizers; pip install 'ds2cli[whisper]').

    Example: ds2 decode exp/base data/test.feats.jsonl | ds2 score - --worst 5

    Example: ds2 score --compare exp/base/greedy.jsonl exp/base/lm.jsonl

    Example: ds2 score exp/base/test.jsonl --why exp/base
    """
    if config.compare:
        from ds2cli.cli.lib.compare import compare

        compare(config, [path for path in (in_, out, *(more or [])) if path is not None])
        return
    if more:
        raise UsageError(f"score: expected IN and OUT, got also {more[0]} (--compare compares several results)")
    _check_paths(config, in_, out)
    existing = None if out is None else first_row(out)
    # probably no output, but a result to compare
    if existing is not None and "pred_text" in existing and "hits" not in existing:
        raise UsageError(
            f"score: OUT {out} has decoded rows without a score, and would be replaced: --compare {in_} {out} compares "
            "two results (remove it if it is to be written)"
        )
    from ds2cli.metrics.normalizers import create_normalizer
    from ds2cli.stages import score as stage
    from ds2cli.stages.score_files import ScoreFiles

    report, unreadable = stage.create_report(config), list[str]()
    form = stage.create_form_errors(report)
    normalizer = create_normalizer(config.normalizer, config.lang)
    report.counted = f"normalizer {normalizer.description}"
    certificate = stage.create_certificate(config, normalizer, __version__, shlex.join(["ds2", *sys.argv[1:]]))
    limits = {"word": config.max_wer, "char": config.max_cer}
    for unit, limit in limits.items():
        if limit is not None and unit not in report.units:
            raise UsageError(f"--max-{unit[0]}er: --unit {config.unit} does not count {unit}s (--unit both)")
    config, explainer = _open_explainer(config, in_)
    facts: dict[str, Any] = {}
    files = ScoreFiles(config, source_name(in_), report, certificate)

    def run(rows: Iterable[Row], ledger: Ledger) -> Iterator[Row]:
        rows = stage.select_present(rows, config, ledger, report)
        if config.normalizer != "none":
            rows = stage.normalize_texts(rows, normalizer, config.lang, unreadable)
        if explainer is not None:
            rows = explainer.run(rows)
        yield from stage.run(config, rows, report, form, files.sinks, certificate)
        if config.by is not None and set(report.groups) == {f"{config.by}=None"}:
            raise Ds2Error(f"score: --by {config.by}: no utterance has this field")
        facts["certificate"] = certificate.as_fields()

    made = None if out is None else begin("score", config, out, {"IN": in_, "--ref": config.ref})
    ledger, complete = Ledger(source=source_name(in_), needs_rows=True), False
    rows = ui.progress(run(stage.open_rows(config, in_, ledger), ledger), "score", count_lines(in_))
    try:
        with together(), files:
            if out is None:
                for _ in ledger.count_kept(rows):
                    pass
                report_drops("score", config, "-", ledger)
            else:
                write_rows("score", config, out, rows, ledger, facts, made)
            complete = True
            ledger.enforce_max_bad("score", config.max_bad)
        files.run_sclite()
    finally:
        # also what is refused for too many bad rows has been counted
        if complete and report.sentences:
            for line in (*report.lines(), *files.messages):
                (ui.log if "-" in (out, config.json, config.ctm) else ui.echo)(line)
    for warning in files.warnings:
        ui.warn(warning)
    if report.missing:
        meaning = "left out (--mode present)" if config.mode == "present" else "all their words count as deleted"
        of = report.sentences + (report.missing if config.mode == "present" else 0)
        ui.warn(f"utterances without pred_text: {report.missing} of {of}: {meaning}")
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
    if config.alignment != "kaldi" or config.unit in ("mixed", "token"):
        chosen = f"--unit {config.unit}" if config.alignment == "kaldi" else f"--alignment {config.alignment}"
        raise UsageError(f"--why: errors are explained by words or characters in Kaldi's alignment, not with {chosen}")
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
        ui.warn(f"{difference} (--normalizer prepare writes both in one way)")
    if form.broken:
        ui.warn(
            f"{form.broken} of {form.texts} texts have line breaks or control characters: line breaks count as spaces, "
            "other control characters as letters (--normalizer prepare)"
        )
    if unreadable:
        ui.warn(
            f"--normalizer: utterances with digits, tags or signs that can be read in several ways: {len(unreadable)}, "
            f"such as {unreadable[0]}: compared as they are written (write them as spoken)"
        )


def _warn_explainer(explainer: Explainer) -> None:
    """Warn about errors that were not explained, and scores that do not match the decoded ones."""
    if explainer.unexplained.rows:
        reasons = ", ".join(f"{n} {reason}" for reason, n in sorted(explainer.unexplained.reasons.items()))
        first = explainer.unexplained.rows[0]
        ui.warn(
            f"why: utterances with unexplained errors: {len(explainer.unexplained.rows)} ({reasons}), "
            f"such as {first['id']}: {first['detail']}"
        )
    if explainer.mismatched > MAX_MISMATCHED * explainer.scored:
        ui.warn(
            f"why: {explainer.mismatched} of {explainer.scored} utterances have a pred_score that these settings do "
            "not reproduce: the causes are valid only with the EXP, language model, weights and word lists "
            "used in decoding"
        )


def _check_paths(config: ScoreConfig, in_: str, out: str | None) -> None:
    """UsageError for a file that would be written twice, or read and written by --json or --ctm."""
    read = {os.path.realpath(path) for path in (in_, config.ref) if path not in (None, "-")}
    written: set[str] = set()
    if [out, config.json, config.ctm].count("-") > 1:
        raise UsageError("score: only one of OUT, --json and --ctm can be written to standard output")
    for option, path in (("--trn", config.trn), ("--kaldi", config.kaldi), ("--sclite", config.sclite)):
        if path == "-":
            raise UsageError(f"score: {option} writes several files, expected a name instead of -")
    if config.trn is not None and (config.trn.endswith("/") or os.path.isdir(config.trn)):  # noqa: PTH112
        raise UsageError(f"score: --trn {config.trn} is a folder, expected the begin of file names (FOLDER/test)")
    for path in (out, config.json, config.ctm, config.dropped):
        if path is None or path == "-" or path.startswith("/dev/"):
            continue
        real = os.path.realpath(path)
        if real in written:
            raise UsageError(f"score: {path} is to be written twice (give each output a name of its own)")
        if real in read and path is not out:
            raise UsageError(f"score: {path} is read, and cannot be written at the same time (give another name)")
        written.add(real)
