"""What a language model is, what it makes of a text, and whether it goes with a network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ds2cli.config.base import read_toml
from ds2cli.config.lm import InfoConfig
from ds2cli.drops import Ledger
from ds2cli.errors import UsageError
from ds2cli.lm import perplexity
from ds2cli.lm.lint import Finding, lint
from ds2cli.lm.query import NgramLm
from ds2cli.lm.text import MARKS, Unit, detect_unit, tokenize
from ds2cli.stages.lm import listed, load_vocab, sentences
from ds2cli.text.vocab import Vocab

LIKELY_WORDS = 10


@dataclass(frozen=True)
class Model:
    """A loaded model. made: the settings saved beside it, empty when there are none."""

    path: str
    lm: NgramLm
    unit: Unit
    vocab: Vocab | None
    made: dict[str, Any]


def load(config: InfoConfig, path: str) -> Model:
    """Load a model of any kind; DataError when it is none."""
    lm, vocab = NgramLm.load(path), load_vocab(config.vocab)
    saved = f"{path}.config.toml"
    made = read_toml(saved) if Path(saved).is_file() else {}
    unit = made.get("unit") or detect_unit(lm.words, vocab.symbols if vocab else ())
    return Model(path, lm, unit, vocab, made)


def facts(model: Model) -> Iterator[tuple[str, str]]:
    """Names and values, to be printed."""
    lm, made_by = model.lm, model.made.get("made_by", {})
    yield "file", f"{model.path}, {_kind(model.path)}, {Path(model.path).stat().st_size / 1e6:.1f} MB"
    yield "order", str(lm.order)
    yield "n-grams", listed(lm.counts)
    logp = lm.unigrams()
    likely = [lm.words[i] for i in np.argsort(-logp, kind="stable").tolist()]
    examples = [w for w in likely if w not in MARKS][:LIKELY_WORDS]
    yield f"{model.unit}s", f"{len(set(lm.words) - MARKS)}, the likeliest: {' '.join(examples)}"
    yield "<unk>", f"p {np.exp(logp[lm.tables.unk]):.2g}"
    if "estimator" in made_by:
        limit = f", the {model.made['vocab_size']} most frequent {model.unit}s" if "vocab_size" in model.made else ""
        yield "estimator", f"{made_by['estimator']}, pruned {model.made.get('prune', '0')}{limit}"
    for n, amounts in enumerate(made_by.get("discounts", []), start=1):
        replaced = " (too little text to compute them)" if n in made_by.get("fallback_orders", []) else ""
        yield f"discounts {n}", f"{' '.join(f'{a:.3f}' for a in amounts)}{replaced}"
    for source, weight in made_by.get("weights", {}).items():
        yield "mixed from", f"{weight:.4f} {source}"
    if "command" in made_by:
        yield "made by", f"{made_by['command']} (ds2cli {made_by.get('ds2cli', '?')})"


def measure(model: Model, source: str, ledger: Ledger) -> tuple[perplexity.Perplexity, list[str]]:
    """Perplexity and unknown words of a text, and its cleaned lines."""
    if model.unit == "token" and model.vocab is None:
        raise UsageError(f"{model.path} is of a network's symbols, expected it (--vocab EXP or tokens.txt)")

    def split(clean: str) -> tuple[str, list[str]]:
        return clean, tokenize(clean, model.unit, model.vocab)

    lines = list(sentences(split, [source], ledger))
    return perplexity.measure(model.lm, (line for _, line in lines)), [clean for clean, _ in lines]


def findings(model: Model, references: list[str] | None) -> list[Finding]:
    """What does not fit between the model, the network of --vocab and the texts."""
    return lint(model.vocab, model.lm.words, model.lm.unigrams(), references) if model.vocab else []


def _kind(path: str) -> str:
    with Path(path).open("rb") as f:
        magic = f.read(4)
    if magic[:2] == b"\x1f\x8b":
        return "ARPA, compressed"
    return "KenLM binary (probing)" if magic == b"mmap" else "ARPA"
