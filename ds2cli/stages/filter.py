"""Throw out utterances whose transcript is wrong (Deep Speech 2, section 5.1)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import NamedTuple

from ds2cli.config.filter import FilterConfig
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance
from ds2cli.manifest import Row
from ds2cli.recognizer.emissions import Emission, load_emissions, map_emissions
from ds2cli.recognizer.experiment import Experiment
from ds2cli.recognizer.transcript_filter import TranscriptFilter
from ds2cli.search.ctc_cost import text_cost
from ds2cli.search.transcript_features import transcript_features
from ds2cli.search.trellis import spell

SCORE = "filter_score"
"""The field with the probability that the transcript is good."""


class Costed(NamedTuple):
    """A row with `ctc_cost` and `num_steps`; unfit: why the cost is infinite, and the row lacks both."""

    row: Row
    unfit: BadUtterance | None = None


def run(
    config: FilterConfig, rows: Iterable[Row], ledger: Ledger, experiment: Experiment, classifier: TranscriptFilter
) -> Iterator[Row]:
    """Yield the rows whose score is at least the threshold, each with `filter_score`; drop the others as "filtered".

    Rows without `ctc_cost` and `num_steps` get both, from their emission or features. A text that no path spells has
    the score 0, and is dropped by the name of its fault. A text that cannot be spelled is a bad utterance.
    config.threshold: if None, that of the classifier counts.
    """
    threshold = classifier.threshold if config.threshold is None else config.threshold
    for row, unfit in _with_costs(rows, ledger, experiment, config.nj):
        score = 0.0
        if unfit is None:
            score = classifier.score(transcript_features(row["ctc_cost"], row["num_steps"], row["text"]))
        if config.keep_all or (unfit is None and score >= threshold):
            yield {**row, SCORE: score}
        elif unfit is not None:
            ledger.drop_error(row["id"], unfit, bad=False)
        else:
            ledger.drop(row["id"], "filtered", f"score {score:g}, kept from {threshold:g}", bad=False)


def _with_costs(rows: Iterable[Row], ledger: Ledger, experiment: Experiment, nj: int) -> Iterator[Costed]:
    """The rows in their order."""

    def work(item: Emission) -> Costed:
        labels = spell(item.row["text"], experiment.vocab).labels
        try:
            cost = text_cost(item.log_probs, labels)
        except BadUtterance as e:
            return Costed(item.row, e)
        return Costed({**item.row, "ctc_cost": round(cost, 4), "num_steps": len(item.log_probs)})

    for has_cost, group in groupby(rows, lambda row: "ctc_cost" in row and "num_steps" in row):
        if has_cost:
            yield from map(Costed, group)
        else:
            chunks = load_emissions(group, ledger, experiment, needs_step_s=False)
            yield from map_emissions(work, chunks, ledger, nj, "the CTC cost")
