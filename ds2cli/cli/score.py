"""`ds2 score IN [OUT]`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Annotated

import typer

from ds2cli import manifest, ui
from ds2cli.cli._options import In, with_config
from ds2cli.cli._run import count_lines, filter_rows, report_drops
from ds2cli.config.score import ScoreConfig
from ds2cli.drops import Ledger
from ds2cli.errors import DataError, Ds2Error, UsageError
from ds2cli.manifest import Row

Rows = Annotated[
    str | None, typer.Argument(metavar="[OUT]", help="Rows with `hits`, `subs`, `ins` and `dels`; none by default.")
]


@with_config(ScoreConfig)
def score(config: ScoreConfig, in_: In = "-", out: Rows = None) -> None:
    """Count the word and character errors of `pred_text` against `text`, and print Kaldi's %WER line.

    The report is the result: it goes to standard output, unless OUT is - and the rows go there. An utterance without
    `pred_text` counts as wholly deleted.

    Example: ds2 decode exp/base data/test.jsonl | ds2 score - --worst 5
    """
    from ds2cli.stages import score as stage

    report = stage.report_for(config)
    limits = {"word": config.max_wer, "char": config.max_cer}
    for unit, limit in limits.items():
        if limit is not None and unit not in report.units:
            raise UsageError(f"--max-{unit[0]}er: --unit {config.unit} does not count {unit}s")
    needs = ("id",) if config.ref is not None else ("id", "text")

    def run(rows: Iterable[Row], ledger: Ledger) -> Iterator[Row]:
        if config.ref is not None:
            rows = stage.with_references(rows, manifest.read(config.ref, ("id", "text")))
        return stage.run(config, rows, report)

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
    for unit, limit in limits.items():
        rate = report.counts(unit).rate
        if limit is not None and rate > limit:
            raise Ds2Error(f"score: refused, the {unit} error rate is {rate:.2f} %, allowed {limit:g} %")


def _show(lines: Iterable[str], say: Callable[[str], None]) -> None:
    for line in lines:
        say(line)
