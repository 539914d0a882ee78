"""`ds2 lm TEXT… OUT`, `ds2 lm mix MODEL… OUT` and `ds2 lm info MODEL [TEXT…]`."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ds2cli import ui
from ds2cli.atomic import temporary_folder
from ds2cli.cli.lib.filter import report_drops, writing
from ds2cli.cli.lib.options import IfStale, with_config
from ds2cli.cli.lib.provenance import begin, existing
from ds2cli.config.lm import InfoConfig, LmConfig, MixConfig
from ds2cli.drops import Ledger
from ds2cli.errors import Ds2Error, UsageError


class EstimateByDefault(TyperGroup):
    """`ds2 lm TEXT… OUT` is `ds2 lm estimate TEXT… OUT`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Insert the default command, `estimate`, where no command is named."""
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
            args = ["estimate", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=EstimateByDefault,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Estimate an n-gram language model (ds2 lm TEXT… OUT), interpolate models, or inspect one.",
)


@app.command()
@with_config(LmConfig)
def estimate(
    config: LmConfig,
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="TEXT… OUT",
            help="Manifests or plain text (.gz, or - for stdin), then the output: .arpa, .arpa.gz or .bin.",
        ),
    ],
    if_stale: IfStale = False,
) -> None:
    """Estimate a language model from text: interpolated modified Kneser-Ney.

    The word `estimate` is optional. Text is normalized like transcripts; lines with digits, tags or symbols are
    dropped and counted. A .bin is in KenLM's `probing` format: memory-mapped, so it opens at once and processes share
    it. Temporary files go to $TMPDIR.

    Example: ds2 lm data/train.jsonl books.txt.gz exp/3gram.arpa.gz --order 3 --prune "0 0 1" --dev data/dev.jsonl
    """
    from ds2cli.checks.text_rules import explain_other_rules
    from ds2cli.lm.text import UNIT_PLURAL
    from ds2cli.stages import lm as stage
    from ds2cli.text.normalize import TextRules

    if len(files) < 2:
        raise UsageError(f"lm: expected at least one TEXT, then OUT, got only {files[0]} (ds2 lm TEXT… OUT)")
    *sources, out = files
    texts = {f"TEXT {number}": path for number, path in enumerate(sources, start=1)}
    inputs = {**texts, "--dev": config.dev, "--vocab": existing(config.vocab)}
    made = begin("lm", config, out, inputs, if_stale=if_stale)
    estimator, prune = stage.check_options(config, out)
    rules = TextRules.of(config)
    for path in (*sources, config.dev or ""):
        if warning := explain_other_rules(path, config.text_rules):
            ui.warn(warning)
    tokenizer = stage.make_tokenizer(config.unit, stage.load_vocab(config.vocab))
    ledger, facts = Ledger(), dict[str, Any]()
    with temporary_folder("ds2-lm-") as folder, writing("lm", config, out, ledger, facts, made):
        arpa_file = folder / "model.arpa"
        lines = ui.progress(stage.read_sentences(tokenizer, sources, ledger, rules), "lm", unit="line")
        result = stage.estimate(config, estimator, prune, lines, arpa_file)
        ledger.enforce_max_bad("lm", config.max_bad)
        dev, findings = stage.evaluate(config, arpa_file, tokenizer)
        stage.write_model(arpa_file, out)
        facts.update(
            estimator=estimator,
            ngrams=result.counts,
            discounts=[list(d.values) for d in result.discounts],
            fallback_orders=[n for n, d in enumerate(result.discounts, start=1) if d.fallback_reason],
        )
    units = UNIT_PLURAL[config.unit]
    ngrams = stage.format_counts(result.counts)
    ui.log(f"lm: {ngrams}, estimated from {result.words} {units} in {result.sentences} lines (estimator {estimator})")
    if config.vocab_size:
        covered = 100 * (1 - result.oov / result.words)
        ui.log(f"lm: the {config.vocab_size} most frequent {units} cover {covered:.2f} % of the text")
    for line in stage.describe_discounts(result.discounts):
        ui.log(f"lm: {line}")
    for finding in findings:
        ui.warn(f"{out}: {finding}")
    if dev:
        report = ui.log if out == "-" else ui.echo
        report(
            f"{config.dev}: perplexity {dev.including_oov:.2f} including OOV {units}, "
            f"{dev.excluding_oov:.2f} excluding them"
        )
        report(
            f"{config.dev}: OOV {units} {dev.oov_percent:.2f} % of the running {units} ({dev.oov} of {dev.words}), "
            f"{dev.oov_types_percent:.2f} % of the distinct ones ({dev.oov_types} of {dev.types})"
        )


@app.command()
@with_config(MixConfig)
def mix(
    config: MixConfig,
    files: Annotated[
        list[str],
        typer.Argument(metavar="MODEL… OUT", help="ARPA files (.gz), then the output: .arpa, .arpa.gz or .bin."),
    ],
) -> None:
    """Interpolate models linearly, with weights tuned on --dev, and print the perplexity of each.

    The <unk> probability of each model is divided among the words found only in other models, so that all
    perplexities refer to the same vocabulary.

    Example: ds2 lm mix exp/transcripts.arpa exp/books.arpa exp/mixed.arpa --dev data/dev.jsonl
    """
    from ds2cli.stages import lm as stage
    from ds2cli.stages import lm_mix

    *sources, out = files
    weights = lm_mix.parse_weights(config, sources)
    stage.check_output(out, order=2)
    models = {f"MODEL {number}": path for number, path in enumerate(sources, start=1)}
    made = begin("lm mix", config, out, {**models, "--dev": config.dev, "--vocab": existing(config.vocab)})
    ledger, facts = Ledger(), dict[str, Any]()
    counted = ledger if config.dev else None
    with temporary_folder("ds2-lm-") as folder, writing("lm mix", config, out, counted, facts, made):
        arpa_file = folder / "model.arpa"
        result = lm_mix.run(config, sources, weights, ledger, arpa_file)
        ledger.enforce_max_bad("lm mix", config.max_bad)
        stage.check_output(out, len(result.counts))
        stage.write_model(arpa_file, out)
        facts.update(weights={s.name: round(s.weight, 6) for s in result.rows[:-1]}, ngrams=result.counts)
    for source in result.closed:
        ui.warn(
            f"lm mix: {source} has no <unk>: words that only the other models have are impossible in it "
            f"({lm_mix.CLOSED_FIX})"
        )
    ui.log(f"lm mix: {stage.format_counts(result.counts)}")
    if config.dev:
        rows = [[f"{s.weight:.4f}", f"{s.perplexity:.2f}", f"{s.oov_percent:.2f}", s.name] for s in result.rows]
        ui.table(f"{config.dev}:", ["weight", "perplexity", "OOV %", "model"], rows, to_stdout=out != "-")


@app.command()
@with_config(InfoConfig)
def info(
    config: InfoConfig,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="ARPA file (.gz) or KenLM binary.")],
    texts: Annotated[
        list[str] | None, typer.Argument(metavar="TEXT…", help="Texts to evaluate: manifests or plain text.")
    ] = None,
) -> None:
    """Describe a model; with TEXT, report perplexity and OOV words; with --vocab, check that it fits a network.

    Exit status 1 if the model cannot be used to decode with that network.

    Example: ds2 lm info exp/lm.arpa data/dev.jsonl --vocab exp/base
    """
    from ds2cli.lm.text import UNIT_PLURAL
    from ds2cli.stages import lm_info as stage

    for name in () if texts else ("lang", "text_rules", "numbers", "remove_tags", "most"):
        if getattr(config, name) != getattr(InfoConfig(), name):
            raise UsageError(f"lm info: --{name.replace('_', '-')} only applies with TEXT (ds2 lm info MODEL TEXT…)")
    loaded = stage.load(config, model)
    for name, value in stage.describe(loaded):
        ui.echo(f"{name:>12}  {value}")
    ledger, references, rows, oov_lines = Ledger(), [], [], []
    units = UNIT_PLURAL[loaded.unit]
    for text in texts or []:
        p, lines = stage.evaluate(loaded, text, ledger)
        references += lines
        cells = (p.including_oov, p.excluding_oov, p.oov_percent, p.oov_types_percent)
        rows.append([str(p.sentences), str(p.words), *(f"{c:.2f}" for c in cells), text])
        listed = ", ".join(f"{word} ({count})" for word, count in p.oov_counts.most_common(config.most))
        oov_lines += [f"{text}: most frequent OOV {units} ({p.oov} in total): {listed}"] if listed else []
    if rows:
        columns = ["lines", units, "perplexity", "excluding OOV", "OOV %", "distinct OOV %", "text"]
        ui.echo()
        ui.table("", columns, rows, to_stdout=True)
        for line in oov_lines:
            ui.echo(line)
        report_drops("lm info", config, "-", ledger)
        ledger.enforce_max_bad("lm info", config.max_bad)
    findings = stage.check_fit(loaded, references if texts else None)
    for finding in findings:
        if not finding.fatal:
            ui.warn(f"{model}: {finding}")
    if fatal := [str(f) for f in findings if f.fatal]:
        raise Ds2Error(f"{model}: {'; '.join(fatal)}")
