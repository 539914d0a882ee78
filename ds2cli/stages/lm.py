"""Normalize text, estimate an n-gram model, and evaluate it."""

from __future__ import annotations

import gzip
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import numpy as np

from ds2cli import io, manifest
from ds2cli.config.lm import LmConfig
from ds2cli.drops import Ledger
from ds2cli.encoding import explain_undecodable
from ds2cli.errors import BadUtterance, DataError, UsageError
from ds2cli.json_lines import explain_document, starts_document
from ds2cli.lm import arpa, kneser_ney, lmplz, perplexity
from ds2cli.lm.kneser_ney import Discounts
from ds2cli.lm.lint import Finding, lint
from ds2cli.lm.query import NgramLm
from ds2cli.lm.text import Unit, build_corpus, tokenize, vocabulary_mask
from ds2cli.recognizer.vocabulary import open_vocab
from ds2cli.text.normalize import NOT_SPEECH, TextRules
from ds2cli.text.vocab import Vocab

EXPECTED_REASONS = ("digits", "symbols", "tags", "no-words", NOT_SPEECH, "unspellable")
"""Reasons for which lines of ordinary written text are dropped; they do not count toward --max-bad."""

_MEMORY = re.compile(r"\d+(\.\d+)?[%bKMGT]?")
T = TypeVar("T")


@dataclass(frozen=True)
class Estimation:
    """The result of an estimation.

    words: running words.  oov: those excluded by --vocab-size.  counts: number of n-grams of each order.
    """

    estimator: str
    sentences: int
    words: int
    oov: int
    counts: list[int]
    discounts: list[Discounts]


def check_options(config: LmConfig, out: str) -> tuple[str, list[int]]:
    """The estimator and the pruning threshold of each order; UsageError for invalid options, before any work."""
    try:
        prune = [int(p) for p in config.prune.replace(",", " ").split()] or [0]
    except ValueError:
        raise UsageError(f'--prune {config.prune}: expected whole numbers, one per order, such as "0 0 1"') from None
    if prune[0] != 0:
        raise UsageError(f"--prune {config.prune}: the first threshold must be 0 (--vocab-size limits the words)")
    if any(a > b for a, b in pairwise(prune)):
        raise UsageError(f"--prune {config.prune}: thresholds must not decrease from order to order")
    if len(prune) > config.order:
        raise UsageError(
            f"--prune {config.prune}: expected at most {config.order} thresholds (--order), got {len(prune)}"
        )
    if not _MEMORY.fullmatch(config.memory):
        raise UsageError(f"--memory {config.memory}: expected a size such as 500M, 2G or 50%")
    if config.unit == "token" and config.vocab is None:
        raise UsageError("--unit token: expected the network whose symbols are the tokens (--vocab EXP or tokens.txt)")
    check_output(out, config.order)
    estimator = config.estimator
    if estimator == "auto":
        estimator = "lmplz" if lmplz.find_program("lmplz") else "own"
    if estimator == "lmplz":
        lmplz.require_program("lmplz", "--estimator lmplz")
    return estimator, prune + prune[-1:] * (config.order - len(prune))


def check_output(out: str, order: int) -> None:
    """UsageError when a model of that order cannot be written to a file of that name."""
    if out.endswith(".bin"):
        if order == 1:
            raise UsageError(f"{out}: a KenLM binary needs order 2 or higher, got 1 (--order 2, or write an .arpa)")
    elif out != "-" and not out.startswith("/dev/") and not out.endswith((".arpa", ".arpa.gz")):
        raise UsageError(
            f"{out}: expected an output file ending in .arpa, .arpa.gz or .bin (the last name is the output)"
        )


def load_vocab(source: str | None) -> Vocab | None:
    """The output symbols of the network given as --vocab, if any."""
    return None if source is None else open_vocab(source)


def make_tokenizer(unit: Unit, vocab: Vocab | None) -> Callable[[str], list[str]]:
    """A function from a normalized line to its tokens."""
    return partial(tokenize, unit=unit, vocab=vocab)


def read_sentences(
    convert: Callable[[str], T], sources: Iterable[str], ledger: Ledger, rules: TextRules | None = None
) -> Iterator[T]:
    """Normalize and `convert` the lines of manifests (field `text`) and plain text; blank lines are skipped."""
    rules = rules or TextRules()
    for source in sources:
        is_manifest = None
        for number, line in io.read_lines(source):
            if not line.strip():
                continue
            location = f"{'<stdin>' if source == '-' else source}:{number}"
            if is_manifest is None:
                if starts_document(line):
                    raise DataError(f"{location}: {explain_document(source)}")
                is_manifest = line.startswith("{") or source.endswith((".jsonl", ".jsonl.gz"))
            try:
                if error := explain_undecodable(line, source):
                    raise BadUtterance("not-utf8", error)
                row = manifest.parse(line, ("text",)) if is_manifest else {"text": line}
                clean = rules.normalize(row["text"], row.get("lang"))
                if not clean:
                    raise BadUtterance("no-words", "no words are left after normalization")
                sentence = convert(clean)
            except BadUtterance as e:
                ledger.drop_error(location, e, bad=e.reason not in EXPECTED_REASONS)
                continue
            ledger.kept += 1
            yield sentence


def estimate(
    config: LmConfig, estimator: str, prune: list[int], lines: Iterable[list[str]], arpa_file: Path
) -> Estimation:
    """Estimate a model from tokenized `lines` and write it to `arpa_file`; DataError if there are no words."""
    if estimator == "own":
        corpus = build_corpus(lines)
        mask = vocabulary_mask(corpus, config.vocab_size) if config.vocab_size else None
        model, discounts = kneser_ney.estimate(corpus, config.order, prune, mask, fallback=config.discount_fallback)
        with arpa_file.open("w", encoding="utf-8") as f:
            f.writelines(arpa.lines(model))
        oov = 0 if mask is None else int(np.count_nonzero(~mask[corpus.ids]))
        return Estimation("own", corpus.sentences, corpus.tokens, oov, model.counts, discounts)
    text, counts, sentences = arpa_file.with_suffix(".txt"), Counter[str](), 0
    with text.open("w", encoding="utf-8", newline="\n") as f:
        for line in lines:
            sentences += 1
            f.write(" ".join(line) + "\n")
            counts.update(line)
    if not counts:
        raise DataError(kneser_ney.NO_WORDS)
    kept = dict(counts.most_common(config.vocab_size))
    vocabulary = list(kept) if config.vocab_size else None
    discounts = lmplz.estimate(
        text, arpa_file, config.order, prune, vocabulary, memory=config.memory, fallback=config.discount_fallback
    )
    text.unlink()
    oov = counts.total() - sum(kept.values())
    return Estimation("lmplz", sentences, counts.total(), oov, arpa.read_counts(str(arpa_file)), discounts)


def write_model(arpa_file: Path, out: str) -> None:
    """Copy an ARPA file to `out`: unchanged, compressed (.gz), or converted to a KenLM binary (.bin)."""
    model = arpa_file
    if out.endswith(".bin"):
        model = arpa_file.with_suffix(".bin")
        if not lmplz.find_program("build_binary"):
            NgramLm.from_arpa(arpa.read(str(arpa_file))).model.write(out)
            return
        # the same bytes as our own, in less memory
        lmplz.build_binary(arpa_file, model)
    with io.open_out_bytes(out) as f, model.open("rb") as source:
        if out.endswith(".gz"):
            # no time stamp: the same text gives the same file
            with gzip.GzipFile(filename="", fileobj=f, mode="wb", compresslevel=6, mtime=0) as packed:
                shutil.copyfileobj(source, packed, 1 << 20)
        else:
            shutil.copyfileobj(source, f, 1 << 20)


def evaluate(
    config: LmConfig, arpa_file: Path, tokenizer: Callable[[str], list[str]]
) -> tuple[perplexity.Perplexity | None, list[Finding]]:
    """The perplexity of --dev under a model, and the problems of the model with the network of --vocab."""
    if config.dev is None and config.vocab is None:
        return None, []
    lm, vocab, ledger = NgramLm.load(str(arpa_file)), load_vocab(config.vocab), Ledger()
    findings = lint(vocab, lm.words, lm.unigrams()) if vocab else []
    if config.dev is None:
        return None, findings
    result = perplexity.measure(lm, read_sentences(tokenizer, [config.dev], ledger, TextRules.of(config)))
    if not result.sentences:
        raise DataError(no_usable_lines(config.dev, ledger))
    return result, findings


def no_usable_lines(source: str, ledger: Ledger) -> str:
    """The message for an evaluation text with no usable lines."""
    found = f"all {ledger.dropped} lines were dropped" if ledger.dropped else "the file is empty"
    return f"{source}: no usable lines: expected text to evaluate on, {found}"


def format_counts(counts: list[int]) -> str:
    """N-gram counts as `33780 1-grams, 374586 2-grams`."""
    return ", ".join(f"{count} {n}-grams" for n, count in enumerate(counts, start=1))


def describe_discounts(discounts: list[Discounts]) -> Iterator[str]:
    """A line on the computed discounts, and one on those replaced by the fallback."""
    computed = [(n, d) for n, d in enumerate(discounts, start=1) if not d.fallback_reason]
    replaced = [(n, d) for n, d in enumerate(discounts, start=1) if d.fallback_reason]
    if computed:
        yield "discounts D1 D2 D3+: " + ", ".join(
            f"{n}-grams {' '.join(f'{value:.3f}' for value in d.values)}" for n, d in computed
        )
    if replaced:
        orders = ", ".join(f"{n}-grams" for n, _ in replaced)
        values = " ".join(f"{d:g}" for d in replaced[0][1].values)
        yield f"too little text to compute the discounts of {orders} ({replaced[0][1].fallback_reason}): using {values}"
