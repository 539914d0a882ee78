"""Text in, an n-gram model out: clean, estimate, measure."""

from __future__ import annotations

import gzip
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, pairwise
from pathlib import Path
from typing import TypeVar

import numpy as np

from ds2cli import io, manifest
from ds2cli.config.lm import LmConfig
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, DataError, UsageError
from ds2cli.lm import arpa, kneser_ney, lmplz, perplexity
from ds2cli.lm.kneser_ney import Discounts
from ds2cli.lm.lint import Finding, lint
from ds2cli.lm.query import NgramLm
from ds2cli.lm.text import Unit, build_corpus, tokenize, vocabulary_mask
from ds2cli.recognizer.experiment import Experiment
from ds2cli.text.normalize import normalize
from ds2cli.text.vocab import Vocab

NOT_SPEECH = ("digits", "symbols", "no-words", "unspellable")
"""Lines that text written to be read is full of; they are left out on purpose and not held against --max-bad."""

_MEMORY = re.compile(r"\d+(\.\d+)?[%bKMGT]?")
T = TypeVar("T")


@dataclass(frozen=True)
class Estimated:
    """What was estimated and how. words: running ones; outside: those that --vocab-size leaves out.

    counts: n-grams of each order.
    """

    estimator: str
    sentences: int
    words: int
    outside: int
    counts: list[int]
    discounts: list[Discounts]


def check(config: LmConfig, out: str) -> tuple[str, list[int]]:
    """The estimator to use and the pruning threshold of each order; UsageError before any work when they cannot be."""
    try:
        prune = [int(p) for p in config.prune.replace(",", " ").split()] or [0]
    except ValueError:
        raise UsageError(f'--prune {config.prune}: expected whole numbers, an order each, as "0 0 1"') from None
    if prune[0] != 0 or any(a > b for a, b in pairwise(prune)):
        raise UsageError(f"--prune {config.prune}: expected 0 first (--vocab-size limits the words), then never less")
    if len(prune) > config.order:
        raise UsageError(f"--prune {config.prune}: {len(prune)} numbers for --order {config.order}")
    if not _MEMORY.fullmatch(config.memory):
        raise UsageError(f"--memory {config.memory}: expected a size, as 500M, 2G or 50%")
    if config.unit == "token" and config.vocab is None:
        raise UsageError("--unit token: expected the network whose symbols they are (--vocab EXP or tokens.txt)")
    check_out(out, config.order)
    estimator = config.estimator
    if estimator == "auto":
        estimator = "lmplz" if lmplz.find_program("lmplz") else "own"
    if estimator == "lmplz":
        lmplz.require_program("lmplz", "--estimator lmplz")
    return estimator, prune + prune[-1:] * (config.order - len(prune))


def check_out(out: str, order: int) -> None:
    """UsageError when no model of that order can be written under that name."""
    if out.endswith(".bin"):
        if order == 1:
            raise UsageError(
                f"{out}: KenLM binaries hold bigrams at the least, expected --order 2 or more, or an .arpa"
            )
    elif out != "-" and not out.startswith("/dev/") and not out.endswith((".arpa", ".arpa.gz")):
        raise UsageError(f"{out}: expected a name that ends in .arpa, .arpa.gz or .bin")


def load_vocab(source: str | None) -> Vocab | None:
    """The symbols of --vocab: those of an experiment or of a tokens.txt."""
    if source is None:
        return None
    return Vocab.load(source) if source.endswith(".txt") else Experiment(source).vocab


def make_tokenizer(unit: Unit, vocab: Vocab | None) -> Callable[[str], list[str]]:
    """From a cleaned line to its tokens."""
    return partial(tokenize, unit=unit, vocab=vocab)


def sentences(split: Callable[[str], T], sources: Iterable[str], ledger: Ledger) -> Iterator[T]:
    """`split` every cleaned line of manifests (field `text`) and of plain text; blank lines are no sentences."""
    for source in sources:
        with io.open_in(source) as f:
            first = f.readline()
            if first.startswith("\x1f\udc8b"):
                raise DataError(f"{source}: gzip data under a name without .gz (fix: zcat FILE | ds2 lm - OUT)")
            rows = source.endswith((".jsonl", ".jsonl.gz")) or first.startswith("{")
            for at, line in enumerate(chain([first], f), start=1):
                if not line.strip():
                    continue
                where = f"{'<stdin>' if source == '-' else source}:{at}"
                try:
                    clean = normalize(manifest.parse(line, ("text",))["text"] if rows else line)
                    if not clean:
                        raise BadUtterance("no-words", "no words are left of the line")
                    made = split(clean)
                except BadUtterance as e:
                    ledger.drop_error(where, e, bad=e.reason not in NOT_SPEECH)
                    continue
                ledger.kept += 1
                yield made


def estimate(config: LmConfig, estimator: str, prune: list[int], lines: Iterable[list[str]], to: Path) -> Estimated:
    """Estimate from tokenised `lines` and write the ARPA file `to`; DataError when there are no words."""
    if estimator == "own":
        corpus = build_corpus(lines)
        inside = vocabulary_mask(corpus, config.vocab_size) if config.vocab_size else None
        model, discounts = kneser_ney.estimate(corpus, config.order, prune, inside, fallback=config.discount_fallback)
        with to.open("w", encoding="utf-8") as f:
            f.writelines(arpa.lines(model))
        outside = 0 if inside is None else int(np.count_nonzero(~inside[corpus.ids]))
        return Estimated("own", corpus.sentences, corpus.tokens, outside, model.counts, discounts)
    text, seen, sentences_seen = to.with_suffix(".txt"), Counter[str](), 0
    with text.open("w", encoding="utf-8", newline="\n") as f:
        for line in lines:
            sentences_seen += 1
            f.write(" ".join(line) + "\n")
            seen.update(line)
    if not seen:
        raise DataError(kneser_ney.NO_WORDS)
    inside_seen = dict(seen.most_common(config.vocab_size))
    vocabulary = list(inside_seen) if config.vocab_size else None
    discounts = lmplz.estimate(
        text, to, config.order, prune, vocabulary, memory=config.memory, fallback=config.discount_fallback
    )
    text.unlink()
    outside = seen.total() - sum(inside_seen.values())
    return Estimated("lmplz", sentences_seen, seen.total(), outside, arpa.read_counts(str(to)), discounts)


def deliver(made: Path, out: str) -> None:
    """Write the ARPA file `made` to `out`: as it is, compressed (.gz), or as a KenLM binary (.bin)."""
    if out.endswith(".bin"):
        binary = made.with_suffix(".bin")
        if lmplz.find_program("build_binary"):
            # the same bytes in less memory
            lmplz.build_binary(made, binary)
        else:
            NgramLm.from_arpa(arpa.read(str(made))).model.write(str(binary))
        made = binary
    with io.open_out_bytes(out) as f, made.open("rb") as source:
        if out.endswith(".gz"):
            # no time stamp: the same text makes the same file
            with gzip.GzipFile(filename="", fileobj=f, mode="wb", compresslevel=6, mtime=0) as packed:
                shutil.copyfileobj(source, packed, 1 << 20)
        else:
            shutil.copyfileobj(source, f, 1 << 20)


def measure(
    config: LmConfig, made: Path, split: Callable[[str], list[str]]
) -> tuple[perplexity.Perplexity | None, list[Finding]]:
    """What the ARPA file `made` is like: perplexity and unknown words of --dev, and what does not fit --vocab."""
    if config.dev is None and config.vocab is None:
        return None, []
    lm, vocab, ledger = NgramLm.load(str(made)), load_vocab(config.vocab), Ledger()
    found = lint(vocab, lm.words, lm.unigrams()) if vocab else []
    if config.dev is None:
        return None, found
    result = perplexity.measure(lm, sentences(split, [config.dev], ledger))
    if not result.sentences:
        raise DataError(f"{config.dev}: no usable line in {ledger.dropped}, nothing to measure")
    return result, found


def listed(counts: list[int]) -> str:
    """`33780 1-grams, 374586 2-grams` of n-gram counts."""
    return ", ".join(f"{count} {n}-grams" for n, count in enumerate(counts, start=1))


def explained(discounts: list[Discounts]) -> Iterator[str]:
    """A line on the discounts that were computed, and one on those that could not be."""
    computed = [(n, d) for n, d in enumerate(discounts, start=1) if not d.fallback_reason]
    replaced = [(n, d) for n, d in enumerate(discounts, start=1) if d.fallback_reason]
    if computed:
        yield "discounts " + ", ".join(f"{n}-grams {' '.join(f'{a:.3f}' for a in d.values)}" for n, d in computed)
    if replaced:
        orders = ", ".join(f"{n}-grams" for n, _ in replaced)
        amounts = " ".join(f"{a:g}" for a in replaced[0][1].values)
        yield f"too little text for the discounts of {orders}, {amounts} used instead ({replaced[0][1].fallback_reason})"
