"""Turn emissions into text."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ds2cli.config.base import build, read_toml
from ds2cli.config.decode import WEIGHTS, DecodeConfig, SearchConfig
from ds2cli.drops import Ledger
from ds2cli.errors import DataError, UsageError
from ds2cli.manifest import Row
from ds2cli.search.align import align, as_fields
from ds2cli.search.hypothesis import Hypothesis
from ds2cli.stages.emitted import Emitted, FeaturesOf, Network, emitted, in_threads, stored_features

TUNED = "decode.toml"
"""The file of an experiment that keeps the weights `--tune` found."""

LEAST_LOG_PROB = -1e4
"""A finite stand-in for impossible: a text found by way of extra spaces may need it to be aligned."""

Search = Callable[[Any, int], list[Hypothesis]]
S = TypeVar("S", bound=SearchConfig)


def run(
    config: SearchConfig,
    rows: Iterable[Row],
    ledger: Ledger,
    network: Network,
    search: Search,
    features: FeaturesOf = stored_features,
) -> Iterator[Row]:
    """Yield each row with `pred_text` and `pred_score`, and with `nbest` and `pred_words` where they are asked for.

    features: what gives the features of a row without an emission.
    """

    def work(item: Emitted) -> Row:
        found = search(item.log_probs, max(1, config.nbest))
        row = {**item.row, "pred_text": found[0].text, "pred_score": round(found[0].score, 4)}
        if config.nbest:
            row["nbest"] = [
                {"text": h.text, "score": round(h.score, 4), "am": round(h.am, 4), "lm": round(h.lm, 4)} for h in found
            ]
        if config.timestamps:
            log_probs = np.maximum(item.log_probs, np.float32(LEAST_LOG_PROB))
            row["pred_words"] = as_fields(align(log_probs, found[0].text, network.vocab, item.step_s).words)
        return row

    for some in emitted(rows, ledger, network, times=config.timestamps, features=features):
        yield from in_threads(work, some, ledger, config.nj)


def resolve(config: S, exp: str) -> S:
    """The settings with the weights filled in: option and --config, else EXP/decode.toml, else the default.

    UsageError when settings of a language model are given without one.
    """
    if config.greedy and config.lm is not None:
        raise UsageError("--greedy takes no --lm: the best path asks no model")
    if config.greedy and config.nbest > 1:
        raise UsageError("--greedy finds one text, --nbest needs the beam search")
    if config.lm is None:
        for name in WEIGHTS:
            if getattr(config, name) is not None:
                raise UsageError(f"--{name} weighs a language model, and there is none (--lm FILE)")
        return config
    tuned = Path(exp) / TUNED
    found = build(DecodeConfig, (str(tuned), read_toml(str(tuned)))) if tuned.is_file() else DecodeConfig()
    filled: dict[str, Any] = {}
    for name, default in WEIGHTS.items():
        asked, kept = getattr(config, name), getattr(found, name)
        filled[name] = asked if asked is not None else kept if kept is not None else default
    return replace(config, **filled)


def search_for(config: SearchConfig, network: Network) -> Search:
    """The search the settings describe; DataError when the model and the alphabet do not go together."""
    if config.greedy:
        from ds2cli.search.greedy import greedy

        return lambda log_probs, best: [greedy(log_probs, network.vocab)]
    from ds2cli.lm.query import NgramLm
    from ds2cli.search.beam import BeamSearch

    vocab = network.vocab
    lm = None if config.lm is None else NgramLm.load(config.lm)
    try:
        return BeamSearch.make(
            vocab,
            lm,
            alpha=config.alpha or 0.0,
            beta=config.beta or 0.0,
            unknown=config.unknown or 0.0,
            end=config.sentence_end,
            width=config.beam,
            gap=config.beam_gap,
            mass=config.prune_mass,
            top=config.prune_top,
            floor=-math.inf if config.prune_logp is None else config.prune_logp,
        )
    except DataError as e:
        raise DataError(f"{config.lm}: {e}") from e
