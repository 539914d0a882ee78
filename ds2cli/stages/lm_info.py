"""Describe a language model, evaluate it on texts, and check that it fits a network."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ds2cli import inputs
from ds2cli.config.base import read_toml
from ds2cli.config.lm import InfoConfig
from ds2cli.drops import Ledger
from ds2cli.errors import DataError, UsageError
from ds2cli.experiment_files import is_bundle
from ds2cli.lm import perplexity
from ds2cli.lm.closed import check_unknown_words, is_closed
from ds2cli.lm.lint import Finding, lint
from ds2cli.lm.query import NgramLm
from ds2cli.lm.text import SPECIAL_TOKENS, UNIT_PLURAL, Unit, detect_unit, tokenize
from ds2cli.stages.lm import format_counts, load_vocab, no_usable_lines, read_sentences
from ds2cli.text.normalize import TextRules
from ds2cli.text.vocab import Vocab

LIKELY_WORDS = 10
"""Most likely words shown."""


@dataclass(frozen=True)
class LoadedModel:
    """A loaded model. settings: those saved next to it, empty if there are none.

    rules: of the texts to evaluate.
    """

    path: str
    lm: NgramLm
    unit: Unit
    vocab: Vocab | None
    settings: dict[str, Any]
    rules: TextRules = field(default_factory=TextRules)


def load(config: InfoConfig, path: str) -> LoadedModel:
    """Load an ARPA file or a KenLM binary; DataError when it is neither."""
    lm, vocab = NgramLm.load(path), load_vocab(config.vocab)
    saved = f"{path}.config.toml"
    settings = read_toml(saved) if os.path.isfile(saved) else {}
    unit = settings.get("unit") or detect_unit(lm.words, vocab.symbols if vocab else ())
    return LoadedModel(path, lm, unit, vocab, settings, TextRules.of(config))


def describe(model: LoadedModel) -> Iterator[tuple[str, str]]:
    """Names and values to print."""
    lm, made_by = model.lm, model.settings.get("made_by", {})
    yield "file", f"{model.path}, {_describe_file(model.path)}"
    yield "order", str(lm.order)
    yield "n-grams", format_counts(lm.counts)
    logp = lm.unigrams()
    likely = [lm.words[i] for i in np.argsort(-logp, kind="stable").tolist()]
    examples = [w for w in likely if w not in SPECIAL_TOKENS][:LIKELY_WORDS]
    yield UNIT_PLURAL[model.unit], f"{len(set(lm.words) - SPECIAL_TOKENS)}, most likely: {' '.join(examples)}"
    missing = "missing, so that words which are not listed are as good as impossible: " if is_closed(lm) else ""
    yield "<unk>", f"{missing}probability {np.exp(logp[lm.tables.unk]):.2g}"
    if "estimator" in made_by:
        size = model.settings.get("vocab_size")
        limit = f", vocabulary of the {size} most frequent {UNIT_PLURAL[model.unit]}" if size else ""
        yield "estimator", f"{made_by['estimator']}, pruning {model.settings.get('prune', '0')}{limit}"
    for n, values in enumerate(made_by.get("discounts", []), start=1):
        replaced = " (fallback, too little text to compute them)" if n in made_by.get("fallback_orders", []) else ""
        yield f"discounts {n}", f"{' '.join(f'{value:.3f}' for value in values)}{replaced}"
    for source, weight in made_by.get("weights", {}).items():
        yield "mixed from", f"{weight:.4f} {source}"
    if "command" in made_by:
        yield "created by", f"{made_by['command']} (ds2cli {made_by.get('ds2cli', '?')})"


def evaluate(model: LoadedModel, source: str, ledger: Ledger) -> tuple[perplexity.Perplexity, list[str]]:
    """Perplexity and OOV words of a text, and its normalized lines; DataError if it has none."""
    if model.unit == "token" and model.vocab is None:
        raise UsageError(
            f"{model.path}: its tokens are a network's symbols: expected that network (--vocab EXP or tokens.txt)"
        )

    def with_tokens(line: str) -> tuple[str, list[str]]:
        return line, tokenize(line, model.unit, model.vocab)

    lines = list(read_sentences(with_tokens, [source], ledger, model.rules))
    if not lines:
        raise DataError(no_usable_lines(source, ledger))
    return perplexity.measure(model.lm, (sentence for _, sentence in lines)), [line for line, _ in lines]


def check_fit(model: LoadedModel, references: list[str] | None) -> list[Finding]:
    """Problems between the model, the network of --vocab and the texts."""
    if model.vocab is None:
        return []
    findings = lint(model.vocab, model.lm.words, model.lm.unigrams(), references)
    return [*findings, *check_unknown_words(model.lm, model.vocab.symbols)]


def _describe_file(path: str) -> str:
    # a pipe has been read to its end, and binary models are files
    if path == "-" or inputs.is_stream(path):
        return "ARPA"
    return f"{_kind(path)}, {Path(path).stat().st_size / 1e6:.1f} MB"


def _kind(path: str) -> str:
    if is_bundle(path):
        return "KenLM binary (probing) in a bundle"
    with Path(path).open("rb") as f:
        magic = f.read(4)
    if magic[:2] == b"\x1f\x8b":
        return "ARPA, compressed"
    return "KenLM binary (probing)" if magic == b"mmap" else "ARPA"
