"""Forced alignment: find the times of the words of known texts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ds2cli.config.align import AlignConfig
from ds2cli.drops import Ledger
from ds2cli.manifest import Row
from ds2cli.recognizer.emissions import Emission, load_emissions, map_emissions
from ds2cli.recognizer.experiment import Experiment
from ds2cli.search.align import align, words_as_fields


def run(config: AlignConfig, rows: Iterable[Row], ledger: Ledger, experiment: Experiment) -> Iterator[Row]:
    """Yield each row with `words`, `align_logprob` and `ctc_cost`.

    Rows whose text has a character outside the vocabulary, or is too long for the emission or for the memory, are
    dropped.
    """

    def work(item: Emission) -> Row:
        alignment = align(item.log_probs, item.row["text"], experiment.vocab, item.step_s)
        return {
            **item.row,
            "words": words_as_fields(alignment.words),
            "align_logprob": round(alignment.log_prob, 4),
            "ctc_cost": round(alignment.cost, 4),
        }

    yield from map_emissions(work, load_emissions(rows, ledger, experiment), ledger, config.nj, "the alignment")
