"""Put times to the words of known texts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ds2cli.config.align import AlignConfig
from ds2cli.drops import Ledger
from ds2cli.manifest import Row
from ds2cli.recognizer.emissions import Emission, load_emissions, map_emissions
from ds2cli.recognizer.experiment import Experiment
from ds2cli.search.align import align, as_fields


def run(config: AlignConfig, rows: Iterable[Row], ledger: Ledger, experiment: Experiment) -> Iterator[Row]:
    """Yield each row with `words`, `align_logprob` and `ctc_cost`.

    A text with a symbol that the network lacks, or longer than its emission can spell, is dropped.
    """

    def work(item: Emission) -> Row:
        found = align(item.log_probs, item.row["text"], experiment.vocab, item.step_s)
        return {
            **item.row,
            "words": as_fields(found.words),
            "align_logprob": round(found.log_prob, 4),
            "ctc_cost": round(found.cost, 4),
        }

    yield from map_emissions(work, load_emissions(rows, ledger, experiment), ledger, config.nj)
