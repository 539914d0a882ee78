"""`ds2 filter EXP IN OUT`, and `ds2 filter --fit EXP DEV`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from ds2cli.cli.lib.features import inherit_features, warn_of_other_features
from ds2cli.cli.lib.filter import filter_rows
from ds2cli.cli.lib.options import Exp, IfStale, In, Out, with_config
from ds2cli.cli.lib.provenance import begin
from ds2cli.config.filter import FilterConfig
from ds2cli.drops import Ledger
from ds2cli.manifest import Row


@with_config(FilterConfig)
def filter(config: FilterConfig, exp: Exp, in_: In = "-", out: Out = "-", if_stale: IfStale = False) -> None:
    """Drop utterances whose text is not what was said; the others get `filter_score`, from 0 to 1.

    A linear classifier decides by the six features of Deep Speech 2 (section 5.1): CTC cost, CTC cost per step and per
    character, steps per character, number of words and of characters. Rows with `ctc_cost` (of this network, ds2 align)
    and `num_steps` need nothing else; the others need an emission or features, and get both fields.

    --fit fits it, once per network, as the costs of each differ. IN is then a dev set, whose texts are right. Wrong
    texts are made of them: words are deleted, inserted and exchanged, first and last words cut off, words of the
    neighbors attached. They are weighted so that the word error rate of all texts is --raw-wer. A text counts as good
    if it has no errors, or if its error rate is below the one with which all good texts together stay below --keep-wer
    (the paper's rule), whichever keeps more. The threshold keeps the most texts with an error rate below --keep-wer.
    All that is printed comes from a cross-validation by utterance.

    Example: ds2 filter --fit exp/base data/dev.feats.jsonl

    Example: ds2 filter exp/base data/long.feats.jsonl data/long.good.jsonl
    """
    from ds2cli.recognizer.experiment import Experiment
    from ds2cli.recognizer.transcript_filter import FILTER_FILE, load_filter
    from ds2cli.stages import filter as stage

    if config.fit:
        from ds2cli.cli.lib.fit_filter import fit_filter

        fit_filter(config, exp, in_, out)
        return
    experiment, classifier = Experiment(exp), load_filter(exp)
    if config.threshold is None and not config.keep_all:
        config = replace(config, threshold=classifier.threshold)
    made = begin("filter", config, out, {"EXP": exp, "IN": in_}, if_stale=if_stale, tuned=[f"{exp}/{FILTER_FILE}"])
    warn_of_other_features(in_, experiment)

    def run(rows: Iterable[Row], ledger: Ledger) -> Iterator[Row]:
        return stage.run(config, rows, ledger, experiment, classifier)

    facts = inherit_features([in_])
    filter_rows("filter", config, in_, out, needs=("id", "text"), run=run, is_choice=True, facts=facts, made=made)
