"""Turn emissions into text."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable
from typing import Any

import numpy as np

from ds2cli.archive import ArkWriter
from ds2cli.config.decode import SearchConfig
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance
from ds2cli.manifest import Row
from ds2cli.search.align import align_labels, as_fields
from ds2cli.search.beam import BeamSearch
from ds2cli.search.hypothesis import Hypothesis
from ds2cli.stages.emitted import Emitted, FeaturesOf, Network, emitted, in_threads, stored_features
from ds2cli.stages.search import Search

LEAST_LOG_PROB = -1e4
"""A finite stand-in for impossible: a text found by way of extra spaces may need it to be aligned."""


def run(
    config: SearchConfig,
    rows: Iterable[Row],
    ledger: Ledger,
    network: Network,
    search: Search,
    features: FeaturesOf = stored_features,
    ark: str | None = None,
) -> Generator[Row]:
    """Yield each row with `pred_text` and `pred_score`, and with `nbest`, `pred_words` and `partials` as asked for.

    features: what gives the features of a row without an emission.  ark: an archive for emissions that are computed,
    whose rows get `emission`, `num_steps` and `step_s`; it appears after the last one, unless too many are bad.
    """

    def work(item: Emitted) -> Row:
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
            row["pred_words"] = as_fields(align_labels(log_probs, found[0].labels, network.vocab, item.step_s).words)
        return row

    times = config.timestamps or config.partials is not None
    chunks = emitted(rows, ledger, network, times, features)
    if ark is None:
        return in_threads(work, chunks, ledger, config.nj)
    return _keeping(ark, lambda kept: in_threads(work, kept, ledger, config.nj), chunks, config, ledger)


def _keeping(
    ark: str,
    found: Callable[[Generator[list[Emitted]]], Generator[Row]],
    chunks: Generator[list[Emitted]],
    config: SearchConfig,
    ledger: Ledger,
) -> Generator[Row]:
    """What is found, while the emissions that were computed for it go to an archive."""
    made = 0
    with ArkWriter(ark) as writer, contextlib.closing(found(_written(chunks, writer))) as rows:
        for row in rows:
            made += 1
            yield row
        ledger.refuse("decode", config.max_bad, made)


def _written(chunks: Generator[list[Emitted]], writer: ArkWriter) -> Generator[list[Emitted]]:
    with contextlib.closing(chunks):
        for items in chunks:
            yield [item if item.row.get("emission") is not None else _stored(item, writer) for item in items]


def _stored(item: Emitted, writer: ArkWriter) -> Emitted:
    place = writer.write(item.row["id"], item.log_probs)
    fields = {"emission": place, "num_steps": len(item.log_probs), "step_s": item.step_s}
    return item._replace(row={**item.row, **fields})


def in_pieces(
    search: BeamSearch, item: Emitted, piece_s: float, best: int
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
