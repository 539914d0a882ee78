"""`ds2 lm TEXT… OUT`."""

from __future__ import annotations

from typing import Annotated

import typer

from ds2cli import ui
from ds2cli.cli._options import with_config
from ds2cli.cli._run import report_drops, save_config
from ds2cli.config.lm import LmConfig
from ds2cli.drops import Ledger
from ds2cli.errors import UsageError


@with_config(LmConfig)
def lm(
    config: LmConfig,
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="TEXT… OUT", help="Manifests or plain text (.gz, or -), then the .arpa, .arpa.gz or .bin."
        ),
    ],
) -> None:
    """Estimate an n-gram language model: interpolated modified Kneser-Ney, the same with KenLM's lmplz and without it.

    Text is cleaned as transcripts are; lines with digits or symbols are counted and left out. `ds2 decode` reads the
    .arpa, a .bin is for other programs. Work files lie in $TMPDIR.
    Example: ds2 lm data/train.jsonl books.txt.gz exp/3gram.arpa.gz --order 3 --prune "0 0 1" --dev data/dev.jsonl
    """
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from ds2cli.stages import lm as stage

    if len(files) < 2:
        raise UsageError("lm: expected at least one TEXT and the OUT, got one name")
    *sources, out = files
    estimator, prune = stage.check(config, out)
    ledger = Ledger()
    with TemporaryDirectory(prefix="ds2-lm-") as folder:
        made = Path(folder) / "model.arpa"
        try:
            lines = ui.progress(stage.sentences(config, sources, ledger), "lm", unit="line")
            done = stage.estimate(config, estimator, prune, lines, made)
        finally:
            report_drops("lm", config, out, ledger)
        ledger.refuse("lm", config.max_bad)
        dev = stage.measure(config, made) if config.dev else None
        stage.deliver(made, out)
    ui.log(f"lm: {done.words} {config.unit}s in {done.sentences} lines; {estimator}: {stage.listed(done.counts)}")
    for line in stage.explained(done.discounts):
        ui.log(f"lm: {line}")
    if dev:
        say = ui.log if out == "-" else ui.say
        say(
            f"{config.dev}: perplexity {dev.excluding_oov:.2f} without unknown words, {dev.including_oov:.2f} with them"
        )
        say(
            f"{config.dev}: unknown {dev.oov_percent:.2f} % of {dev.words} running {config.unit}s ({dev.oov}), "
            f"{dev.oov_types_percent:.2f} % of {dev.types} different ones ({dev.oov_types})"
        )
    save_config(
        config,
        out,
        kept=ledger.kept,
        dropped=ledger.dropped,
        estimator=estimator,
        ngrams=done.counts,
        fallback_orders=[n for n, d in enumerate(done.discounts, start=1) if d.why],
    )
