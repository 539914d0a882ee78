"""`ds2 lm TEXT… OUT`, `ds2 lm mix MODEL… OUT` and `ds2 lm info MODEL [TEXT…]`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ds2cli import ui
from ds2cli.cli.lib.filter import report_drops, save_config
from ds2cli.cli.lib.options import with_config
from ds2cli.config.lm import InfoConfig, LmConfig, MixConfig
from ds2cli.drops import Ledger
from ds2cli.errors import Ds2Error, UsageError


class EstimateByDefault(TyperGroup):
    """`ds2 lm TEXT… OUT` is `ds2 lm estimate TEXT… OUT`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put in the name of the command that may be left out."""
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
            args = ["estimate", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=EstimateByDefault,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Estimate an n-gram language model (ds2 lm TEXT… OUT), mix several, look at one.",
)


@app.command()
@with_config(LmConfig)
def estimate(
    config: LmConfig,
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="TEXT… OUT", help="Manifests or plain text (.gz, or -), then the .arpa, .arpa.gz or .bin."
        ),
    ],
) -> None:
    """Estimate a model of text: interpolated modified Kneser-Ney, the same with KenLM's lmplz and without it.

    `estimate` may be left out. Text is cleaned as transcripts are; lines with digits or symbols are counted and left
    out. A .bin is KenLM's `probing` format, which is mapped and shared instead of loaded. Work files lie in $TMPDIR.

    Example: ds2 lm data/train.jsonl books.txt.gz exp/3gram.arpa.gz --order 3 --prune "0 0 1" --dev data/dev.jsonl
    """
    from tempfile import TemporaryDirectory

    from ds2cli.stages import lm as stage

    if len(files) < 2:
        raise UsageError("lm: expected at least one TEXT and the OUT, got one name")
    *sources, out = files
    estimator, prune = stage.check(config, out)
    split = stage.make_tokenizer(config.unit, stage.load_vocab(config.vocab))
    ledger = Ledger()
    with TemporaryDirectory(prefix="ds2-lm-") as folder:
        made = Path(folder) / "model.arpa"
        try:
            lines = ui.progress(stage.sentences(split, sources, ledger), "lm", unit="line")
            done = stage.estimate(config, estimator, prune, lines, made)
        finally:
            report_drops("lm", config, out, ledger)
        ledger.enforce_max_bad("lm", config.max_bad)
        dev, found = stage.measure(config, made, split)
        stage.deliver(made, out)
    ui.log(f"lm: {done.words} {config.unit}s in {done.sentences} lines; {estimator}: {stage.listed(done.counts)}")
    if config.vocab_size:
        covered = 100 * (1 - done.outside / done.words)
        ui.log(f"lm: the {config.vocab_size} most frequent {config.unit}s are {covered:.2f} % of the text")
    for line in stage.explained(done.discounts):
        ui.log(f"lm: {line}")
    for finding in found:
        ui.warn(f"{out}: {finding}")
    if dev:
        say = ui.log if out == "-" else ui.echo
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
        discounts=[list(d.values) for d in done.discounts],
        fallback_orders=[n for n, d in enumerate(done.discounts, start=1) if d.fallback_reason],
    )


@app.command()
@with_config(MixConfig)
def mix(
    config: MixConfig,
    files: Annotated[
        list[str],
        typer.Argument(metavar="MODEL… OUT", help="ARPA files (.gz), then the .arpa, .arpa.gz or .bin."),
    ],
) -> None:
    """Interpolate models linearly into one, with the weights that suit --dev best; print what each is worth on it.

    A word that one model lacks and another has gets an equal share of the first one's <unk>, so that perplexities are
    over the same words.

    Example: ds2 lm mix exp/transcripts.arpa exp/books.arpa exp/mixed.arpa --dev data/dev.jsonl
    """
    from tempfile import TemporaryDirectory

    from ds2cli.stages import lm as stage
    from ds2cli.stages import lm_mix

    *sources, out = files
    weights = lm_mix.given_weights(config, sources)
    stage.check_out(out, order=2)
    ledger = Ledger()
    with TemporaryDirectory(prefix="ds2-lm-") as folder:
        made = Path(folder) / "model.arpa"
        done = lm_mix.run(config, sources, weights, ledger, made)
        if config.dev:
            report_drops("lm mix", config, out, ledger)
            ledger.enforce_max_bad("lm mix", config.max_bad)
        stage.check_out(out, len(done.counts))
        stage.deliver(made, out)
    ui.log(f"lm mix: {stage.listed(done.counts)}")
    if config.dev:
        rows = [[f"{s.weight:.4f}", f"{s.perplexity:.2f}", f"{s.oov_percent:.2f}", s.name] for s in done.shares]
        ui.table(f"{config.dev}:", ["weight", "perplexity", "unknown %", "model"], rows, to_stdout=out != "-")
    save_config(config, out, weights={s.name: round(s.weight, 6) for s in done.shares[:-1]}, ngrams=done.counts)


@app.command()
@with_config(InfoConfig)
def info(
    config: InfoConfig,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="ARPA file (.gz) or KenLM binary.")],
    texts: Annotated[list[str] | None, typer.Argument(metavar="TEXT…", help="Texts to measure, as for ds2 lm.")] = None,
) -> None:
    """Say what a model is; with TEXT also its perplexity and unknown words, with --vocab whether it suits a network.

    Exit status 1 when a network could not be decoded with it.

    Example: ds2 lm info exp/lm.arpa data/dev.jsonl --vocab exp/base
    """
    from ds2cli.stages import lm_info as stage

    loaded = stage.load(config, model)
    for name, value in stage.facts(loaded):
        ui.echo(f"{name:>12}  {value}")
    ledger, references, rows, unknown = Ledger(), [], [], []
    for text in texts or []:
        p, lines = stage.measure(loaded, text, ledger)
        references += lines
        cells = (p.including_oov, p.excluding_oov, p.oov_percent, p.oov_types_percent)
        rows.append([str(p.sentences), str(p.words), *(f"{c:.2f}" for c in cells), text])
        most = ", ".join(f"{word} {count}" for word, count in p.oov_counts.most_common(config.most))
        unknown += [f"{text}: {p.oov} unknown {loaded.unit}s: {most}"] if most else []
    if rows:
        columns = ["lines", f"{loaded.unit}s", "perplexity", "without unknown", "unknown %", "of different %", "text"]
        ui.echo()
        ui.table("", columns, rows, to_stdout=True)
        for line in unknown:
            ui.echo(line)
        report_drops("lm info", config, "-", ledger)
        ledger.enforce_max_bad("lm info", config.max_bad)
    findings = stage.findings(loaded, references if texts else None)
    for finding in findings:
        if not finding.fatal:
            ui.warn(f"{model}: {finding}")
    if severe := [str(f) for f in findings if f.fatal]:
        raise Ds2Error(f"{model}: {'; '.join(severe)}")
