"""Several n-gram models in, their mixture out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ds2cli.config.lm import MixConfig
from ds2cli.drops import Ledger
from ds2cli.errors import DataError, UsageError
from ds2cli.lm import arpa, perplexity
from ds2cli.lm.mix import estimate_weights, mix, perplexities, score_tokens
from ds2cli.lm.query import NgramLm
from ds2cli.lm.text import detect_unit
from ds2cli.stages.lm import load_vocab, make_tokenizer, sentences


@dataclass(frozen=True)
class Shard:
    """A source, or the mixture: its weight, and of the dev text its perplexity and unknown running words (percent)."""

    name: str
    weight: float
    perplexity: float
    oov_percent: float


@dataclass(frozen=True)
class Mixed:
    """What was mixed. shares: a row a source and one for the mixture; perplexities are nan without a dev text."""

    counts: list[int]
    shares: list[Shard]


def given_weights(config: MixConfig, sources: list[str]) -> list[float]:
    """--weights as numbers that sum to 1, none when --dev is to find them; UsageError before any work."""
    if len(sources) < 2:
        raise UsageError("lm mix: expected at least two models and the OUT")
    if not config.weights:
        if config.dev is None:
            raise UsageError("lm mix: expected a text that finds the weights, or the weights (--dev or --weights)")
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
        raise UsageError(f"--weights {config.weights}: expected {len(sources)} numbers, one a model, that sum to 1")
    return [w / sum(weights) for w in weights]


def run(config: MixConfig, sources: list[str], weights: list[float], ledger: Ledger, to: Path) -> Mixed:
    """Mix the ARPA files `sources` into the ARPA file `to`; DataError when they are not about the same units."""
    models = [arpa.read(source) for source in sources]
    vocab = load_vocab(config.vocab)
    units = [detect_unit(m.words, vocab.symbols if vocab else ()) for m in models]
    if len(set(units)) > 1:
        each = ", ".join(f"{source} of {unit}s" for source, unit in zip(sources, units, strict=True))
        raise DataError(f"lm mix: the models are of different units: {each}")
    if config.dev is None:
        nothing = [Shard(s, w, math.nan, math.nan) for s, w in zip([*sources, "mixture"], [*weights, 1.0], strict=True)]
        return Mixed(_write(mix(models, np.array(weights)), to), nothing)
    if units[0] == "token" and vocab is None:
        raise UsageError("lm mix: the models are of a network's symbols, expected it (--vocab EXP or tokens.txt)")
    lines = list(sentences(make_tokenizer(units[0], vocab), [config.dev], ledger))
    if not lines:
        raise DataError(f"{config.dev}: no usable line in {ledger.dropped}, nothing to measure")
    lms = [NgramLm.from_arpa(m) for m in models]
    log10 = score_tokens(lms, lines)
    found = np.array(weights) if weights else estimate_weights(log10)
    mixed = mix(models, found)
    shares = [
        Shard(source, float(w), float(p), perplexity.measure(lm, lines).oov_percent)
        for source, w, p, lm in zip(sources, found, perplexities(log10), lms, strict=True)
    ]
    together = perplexity.measure(NgramLm.from_arpa(mixed), lines)
    shares.append(Shard("mixture", 1.0, together.including_oov, together.oov_percent))
    return Mixed(_write(mixed, to), shares)


def _write(model: arpa.Arpa, to: Path) -> list[int]:
    with to.open("w", encoding="utf-8") as f:
        f.writelines(arpa.lines(model))
    return model.counts
