"""Interpolate several n-gram models into one."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ds2cli.config.lm import MixConfig
from ds2cli.drops import Ledger
from ds2cli.errors import DataError, UsageError
from ds2cli.lm import arpa, perplexity
from ds2cli.lm.closed import is_closed_arpa
from ds2cli.lm.mix import estimate_weights, mix, perplexities, score_tokens
from ds2cli.lm.probing import UNK_SPELLINGS
from ds2cli.lm.query import NgramLm
from ds2cli.lm.text import UNIT_PLURAL, detect_unit
from ds2cli.stages.lm import load_vocab, make_tokenizer, no_usable_lines, read_sentences
from ds2cli.text.normalize import TextRules

CLOSED_FIX = "ngram-count -unk, or ds2 lm TEXT… OUT, estimates a model with <unk>"
"""What helps against a model without <unk>."""


@dataclass(frozen=True)
class MixtureRow:
    """A source model or the mixture: its weight, and its perplexity and OOV rate (percent) on the dev text."""

    name: str
    weight: float
    perplexity: float
    oov_percent: float


@dataclass(frozen=True)
class Mixture:
    """The result of mixing. rows: one per source, then one for the mixture; nan perplexities without a dev text.

    counts: number of n-grams of each order.  closed: the sources without <unk>.
    """

    counts: list[int]
    rows: list[MixtureRow]
    closed: list[str]


def parse_weights(config: MixConfig, sources: list[str]) -> list[float]:
    """--weights as numbers that sum to 1, empty when --dev tunes them; UsageError for invalid options."""
    if len(sources) < 2:
        raise UsageError("lm mix: expected at least two models, then the output (ds2 lm mix MODEL MODEL OUT)")
    if not config.weights:
        if config.dev is None:
            raise UsageError("lm mix: expected a text to tune the weights on, or the weights (--dev or --weights)")
        return []
    try:
        weights = [float(w) for w in config.weights.replace(",", " ").split()]
    except ValueError:
        weights = []
    if (
        len(weights) != len(sources)
        or not all(w >= 0 for w in weights)
        or not math.isclose(sum(weights), 1, abs_tol=0.01)
    ):
        raise UsageError(f"--weights {config.weights}: expected {len(sources)} numbers, one per model, that sum to 1")
    return [w / sum(weights) for w in weights]


def run(config: MixConfig, sources: list[str], weights: list[float], ledger: Ledger, arpa_file: Path) -> Mixture:
    """Mix the ARPA files `sources` into the ARPA file `arpa_file`; DataError when their units differ."""
    models = [_with_unk(arpa.read(source)) for source in sources]
    closed = [source for source, model in zip(sources, models, strict=True) if is_closed_arpa(model)]
    vocab = load_vocab(config.vocab)
    units = [detect_unit(m.words, vocab.symbols if vocab else ()) for m in models]
    if len(set(units)) > 1:
        listed = ", ".join(f"{source} ({UNIT_PLURAL[unit]})" for source, unit in zip(sources, units, strict=True))
        raise DataError(f"lm mix: the units of the models differ: expected one unit, got {listed}")
    if config.dev is None:
        rows = [
            MixtureRow(s, w, math.nan, math.nan) for s, w in zip([*sources, "mixture"], [*weights, 1.0], strict=True)
        ]
        return Mixture(_write(mix(models, np.array(weights)), arpa_file), rows, closed)
    if units[0] == "token" and vocab is None:
        raise UsageError(
            "lm mix: the models' tokens are a network's symbols: expected that network (--vocab EXP or tokens.txt)"
        )
    lines = list(read_sentences(make_tokenizer(units[0], vocab), [config.dev], ledger, TextRules.of(config)))
    if not lines:
        raise DataError(no_usable_lines(config.dev, ledger))
    lms = [NgramLm.from_arpa(m) for m in models]
    log10 = score_tokens(lms, lines)
    chosen = np.array(weights) if weights else estimate_weights(log10)
    mixed = mix(models, chosen)
    rows = [
        MixtureRow(source, float(w), float(p), perplexity.measure(lm, lines).oov_percent)
        for source, w, p, lm in zip(sources, chosen, perplexities(log10), lms, strict=True)
    ]
    mixture = perplexity.measure(NgramLm.from_arpa(mixed), lines)
    rows.append(MixtureRow("mixture", 1.0, mixture.including_oov, mixture.oov_percent))
    return Mixture(_write(mixed, arpa_file), rows, closed)


def _with_unk(model: arpa.Arpa) -> arpa.Arpa:
    """The model with the spelling of <unk> that `mix` knows."""
    if arpa.UNK in model.words:
        return model
    return replace(model, words=[arpa.UNK if word in UNK_SPELLINGS else word for word in model.words])


def _write(model: arpa.Arpa, arpa_file: Path) -> list[int]:
    with arpa_file.open("w", encoding="utf-8") as f:
        f.writelines(arpa.lines(model))
    return model.counts
