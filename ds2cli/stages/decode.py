"""Decode emissions to text."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable

from ds2cli.config.decode import SearchConfig
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, UsageError
from ds2cli.journal import Journal
from ds2cli.manifest import Row
from ds2cli.recognizer.decoder import Search
from ds2cli.recognizer.emissions import (
    Emission,
    FeatureReader,
    load_chunks,
    map_emissions,
    read_features,
)
from ds2cli.recognizer.experiment import Experiment
from ds2cli.recognizer.results import describe, needed_hypotheses
from ds2cli.recognizer.resumed import process_chunks
from ds2cli.search.beam import BeamSearch
from ds2cli.search.hypothesis import Hypothesis


def run(
    config: SearchConfig,
    rows: Iterable[Row],
    ledger: Ledger,
    experiment: Experiment,
    search: Search,
    features: FeatureReader = read_features,
    ark: str | None = None,
    journal: Journal | None = None,
) -> Generator[Row]:
    """Yield each row with `pred_text` and `pred_score`, and if configured with `nbest`, `pred_words` and `partials`.

    With `pred_words` rows get `pred_conf`: the mean confidence of the words, the expected share of right ones among
    them; of an empty text, the confidence that it is right.

    features: reads the features of a row without an emission.
    ark: archive for the emissions that are computed; their rows get `emission`, `num_steps` and `step_s`. It appears
    after the last row, unless too many rows are bad.
    journal: keeps finished chunks; the features of their rows are read again, but for nothing else.
    UsageError if `partials` are configured and `search` is not a beam search.
    """
    work = make_decoder(config, experiment, search)
    needs_step_s = config.timestamps or config.partials is not None

    def look_at(row: Row) -> None:
        # `features` may count what it has read
        with contextlib.suppress(BadUtterance):
            if row.get("emission") is None:
                features(row, experiment)

    return process_chunks(
        rows,
        lambda chunks: load_chunks(chunks, ledger, experiment, needs_step_s, features),
        lambda chunks: map_emissions(work, chunks, ledger, config.nj),
        ledger,
        stage="decode",
        max_bad=config.max_bad,
        ark=ark,
        journal=journal,
        on_replayed=look_at,
    )


def make_decoder(config: SearchConfig, experiment: Experiment, search: Search) -> Callable[[Emission], Row]:
    """The function that decodes one emission: it returns the row with the fields of `run`.

    It raises BadUtterance "impossible". UsageError as of `run`.
    """
    find = _choose_search(config, search)

    def work(item: Emission) -> Row:
        hypotheses, extra = find(item)
        return {**item.row, **extra, **describe(config, item, hypotheses, experiment.vocab)}

    return work


def search_in_pieces(search: BeamSearch, item: Emission, piece_s: float, best: int) -> tuple[list[Hypothesis], Row]:
    """Search an emission in pieces of `piece_s` seconds; the hypotheses are those of a search of all of it at once.

    Also returns `partials`: after each piece that changed the best text, its end (s) and the text.
    """
    stream, partials, last = search.stream(), [], ""
    size = max(1, round(piece_s / item.step_s))
    for begin in range(0, len(item.log_probs), size):
        piece = item.log_probs[begin : begin + size]
        stream.advance(piece)
        text = stream.best()[0].text
        if text != last:
            partials.append({"end": round((begin + len(piece)) * item.step_s, 3), "text": text})
            last = text
    return stream.best(best), {"partials": partials}


def _choose_search(config: SearchConfig, search: Search) -> Callable[[Emission], tuple[list[Hypothesis], Row]]:
    """The search of one emission, whole or in pieces: returns hypotheses and further fields of the row."""
    best, piece_s = needed_hypotheses(config), config.partials
    if piece_s is None:
        return lambda item: (search(item.log_probs, best), {})
    if not isinstance(search, BeamSearch):
        raise UsageError("--partials needs the beam search (leave out --greedy)")
    return lambda item: search_in_pieces(search, item, piece_s, best)
