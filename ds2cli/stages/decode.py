"""Turn emissions into text."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any

import numpy as np

from ds2cli.config.decode import SearchConfig
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance
from ds2cli.manifest import Row
from ds2cli.recognizer.decoder import Search
from ds2cli.recognizer.emission_archive import keep_emissions
from ds2cli.recognizer.emissions import Emission, FeatureSource, load_emissions, map_emissions, read_features
from ds2cli.recognizer.experiment import Experiment
from ds2cli.search.align import align_labels, as_fields
from ds2cli.search.beam import BeamSearch
from ds2cli.search.hypothesis import Hypothesis

LEAST_LOG_PROB = -1e4
"""A finite stand-in for impossible: a text found by way of extra spaces may need it to be aligned."""


def run(
    config: SearchConfig,
    rows: Iterable[Row],
    ledger: Ledger,
    experiment: Experiment,
    search: Search,
    features: FeatureSource = read_features,
    ark: str | None = None,
) -> Generator[Row]:
    """Yield each row with `pred_text` and `pred_score`, and with `nbest`, `pred_words` and `partials` as asked for.

    features: what gives the features of a row without an emission.  ark: an archive for emissions that are computed,
    whose rows get `emission`, `num_steps` and `step_s`; it appears after the last one, unless too many are bad.
    """

    def work(item: Emission) -> Row:
        best = max(1, config.nbest)
        row = dict(item.row)
        if config.partials is None:
            found = search(item.log_probs, best)
        else:
            assert isinstance(search, BeamSearch)
            found, row["partials"] = in_pieces(search, item, config.partials, best)
        if not np.isfinite(found[0].score):
            raise BadUtterance("impossible", "no text has a probability: a step has none, or none may be written")
        row |= {"pred_text": found[0].text, "pred_score": round(found[0].score, 4)}
        if config.nbest:
            row["nbest"] = [
                {"text": h.text, "score": round(h.score, 4), "am": round(h.am, 4), "lm": round(h.lm, 4)} for h in found
            ]
        if config.timestamps:
            log_probs = np.maximum(item.log_probs, np.float32(LEAST_LOG_PROB))
            row["pred_words"] = as_fields(align_labels(log_probs, found[0].labels, experiment.vocab, item.step_s).words)
        return row

    times = config.timestamps or config.partials is not None
    chunks = load_emissions(rows, ledger, experiment, times, features)
    if ark is None:
        return map_emissions(work, chunks, ledger, config.nj)
    return keep_emissions(
        ark, chunks, lambda kept: map_emissions(work, kept, ledger, config.nj), ledger, config.max_bad, stage="decode"
    )


def in_pieces(
    search: BeamSearch, item: Emission, piece_s: float, best: int
) -> tuple[list[Hypothesis], list[dict[str, Any]]]:
    """The texts of an emission that is searched `piece_s` at a time: those of all of it at once.

    And what the best one was after each piece that changed it: its `end` (s) and `text`.
    """
    stream, partials, shown = search.stream(), [], ""
    size = max(1, round(piece_s / item.step_s))
    for begin in range(0, len(item.log_probs), size):
        piece = item.log_probs[begin : begin + size]
        stream.step(piece)
        text = stream.best()[0].text
        if text != shown:
            partials.append({"end": round((begin + len(piece)) * item.step_s, 3), "text": text})
            shown = text
    return stream.best(best), partials
