"""Checks before decoding that a language model, a network and reference transcripts spell words in the same way.

Shares are of running words: in a model by unigram probability, in references by count.
"""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ds2cli.errors import BadUtterance
from ds2cli.lm.text import (
    SPECIAL_TOKENS,
    UNIT_PLURAL,
    Unit,
    detect_unit,
    symbol_model_options,
    symbol_to_token,
    tokenize,
)
from ds2cli.text.characters import unify
from ds2cli.text.normalize import APOSTROPHES
from ds2cli.text.profiles import find_profile
from ds2cli.text.vocab import SPACE, Vocab

FATAL_SHARE, FATAL_SHARE_OTHER = 0.1, 0.5
"""Decoding is refused from this share of mismatched running words: if the spelling can be corrected, and if not."""

WARN_SHARE, WARN_SHARE_OTHER = 0.001, 0.05
"""A warning is given from this share of mismatched running words; likewise."""

CLEAN = "ds2 lm TEXT… OUT, which cleans text as ds2 prepare cleans transcripts with the same --text-rules"
MORE_TEXT = "ds2 lm TEXT… OUT with more text like the references, or ds2 lm mix with a model of such text"
CLEAN_ROWS = "ds2 data fix, which cleans the texts of a manifest"


def _with_apostrophe(text: str, apostrophe: str) -> str:
    return text.translate(dict.fromkeys(map(ord, APOSTROPHES), apostrophe))


_NORMALIZERS: dict[str, Sequence[Callable[[str], str]]] = {
    "case": (str.lower, str.upper, find_profile("tr").lower),
    "Unicode form": (partial(unicodedata.normalize, "NFC"), partial(unicodedata.normalize, "NFD")),
    "use of special characters": (unify,),
    "apostrophe": tuple(partial(_with_apostrophe, apostrophe=a) for a in "'’ʼ"),
}
_OTHER = "other"


@dataclass(frozen=True)
class Finding:
    """One problem. fatal: decoding makes no sense until it is fixed.  fix: the command, with an explanation."""

    kind: str
    fatal: bool
    message: str
    fix: str

    def __str__(self) -> str:
        return f"{self.message} ({self.fix})"


@dataclass(frozen=True)
class Mismatch:
    """Words that do not fit for the same reason.

    kind: the reason.  share: of all running words.  words: each as written and as it would fit, most frequent first.
    """

    kind: str
    share: float
    words: dict[str, str]


def lint(
    vocab: Vocab, words: Sequence[str], logp: NDArray[np.floating], references: Iterable[str] | None = None
) -> list[Finding]:
    """Problems between a network and a language model, fatal ones first; empty when they fit.

    words: (V,) of the model.  logp: (V,) their log-probabilities without context.  references: transcripts.
    """
    logps = {w: p for w, p in zip(words, logp.tolist(), strict=True) if w.lower() not in SPECIAL_TOKENS}
    if not logps:
        return [Finding("empty", True, "the model has no words", "ds2 lm TEXT… OUT")]
    likeliest = max(logps.values())
    weights = {w: math.exp(p - likeliest) for w, p in logps.items()}
    unit = detect_unit(weights, vocab.symbols)
    if unit == "word" and " " not in vocab.symbols and not vocab.single_words:
        expected = "character model" if vocab.by_character else "model of its symbols"
        message = f"this network writes no spaces, so it cannot tell the words of the model apart: use a {expected}"
        return [Finding("space", True, message, f"ds2 lm TEXT… OUT {symbol_model_options(vocab)}")]
    can_write = writable(vocab, unit)
    findings = []
    for mismatch in group_mismatches(weights, can_write):
        findings += _check_words(mismatch, unit, weights, can_write)
    if unit != "word" and not any(f.fatal for f in findings):
        findings += _check_symbols(vocab, weights)
    if references is not None:
        # what is fatal in the model would only be reported again for the references
        fatal = {f.kind for f in findings if f.fatal}
        findings += [f for f in _check_references(vocab, unit, weights, can_write, references) if f.kind not in fatal]
    return sorted(findings, key=lambda f: not f.fatal)


def group_mismatches(weights: Mapping[str, float], fits: Callable[[str], bool]) -> list[Mismatch]:
    """Group the words that do not fit by what would make them fit: another case, Unicode form, apostrophe, no
    invisible or compatibility characters, or none.

    weights: the frequency of each word. Corrections add up: a word may need another case and another apostrophe.
    """
    total = sum(weights.values()) or 1.0
    remaining = {w: w for w in sorted(weights, key=lambda w: -weights[w]) if not fits(w)}
    normalizers = [(kind, function) for kind, functions in _NORMALIZERS.items() for function in functions]
    mismatches: list[Mismatch] = []

    def share(words: Iterable[str]) -> float:
        return sum(weights[w] for w in words) / total

    while remaining and normalizers:
        corrected = [
            (kind, function, {w: function(form) for w, form in remaining.items() if fits(function(form))})
            for kind, function in normalizers
        ]
        kind, function, words = max(corrected, key=lambda c: share(c[2]))
        if not words:
            break
        mismatches.append(Mismatch(kind, share(words), words))
        remaining = {w: function(form) for w, form in remaining.items() if w not in words}
        normalizers = [n for n in normalizers if n[0] != kind]
    return [*mismatches, Mismatch(_OTHER, share(remaining), {w: w for w in remaining})] if remaining else mismatches


def writable(vocab: Vocab, unit: Unit = "word") -> Callable[[str], bool]:
    """A test whether the network can write a word; for a model of characters or tokens, whether it has that symbol."""
    if unit != "word":
        return frozenset(map(symbol_to_token, vocab.symbols[1:])).__contains__
    # a unit that is not a symbol is encoded by its characters
    single = frozenset(s for s in vocab.symbols[1:] if len(s) == 1)
    if vocab.by_character:
        return single.issuperset

    def encodes(word: str) -> bool:
        try:
            return single.issuperset(word) or bool(vocab.encode(word))
        except BadUtterance:
            return False

    return encodes


def _check_words(
    mismatch: Mismatch, unit: Unit, known: Container[str], can_write: Callable[[str], bool]
) -> list[Finding]:
    """Words of the model that the network cannot write."""
    words = f"{_percent(mismatch.share)} of the model's running {UNIT_PLURAL[unit]}"
    message = f"the network cannot write {words}, such as {_examples(mismatch.words)}"
    if mismatch.kind != _OTHER:
        corrected = next(iter(mismatch.words.values()))
        fix = _in_place_fix(mismatch, known) or CLEAN
        return _findings(mismatch, f"the {mismatch.kind} differs: {message} (it can write {corrected!r})", fix)
    missing = Counter(c for word in mismatch.words for c in dict.fromkeys(word) if not can_write(c))
    letters = ", ".join(repr(c) for c, _ in missing.most_common(5))
    return _findings(
        mismatch, f"the alphabets differ: {message}{f'; the network has no {letters}' if letters else ''}", CLEAN
    )


def _check_symbols(vocab: Vocab, known: Container[str]) -> list[Finding]:
    """Symbols of the network that a model of characters or tokens does not have."""
    missing = [t for t in map(symbol_to_token, vocab.symbols[1:]) if t not in known]
    share = len(missing) / max(1, len(vocab) - 1)
    # single letters are needed only where a bigram is not a symbol, and intermediate pieces of BPE rarely: many of
    # either occur in no text
    warn_share = WARN_SHARE_OTHER if vocab.by_character else FATAL_SHARE_OTHER
    if not missing or (share < warn_share and SPACE not in missing):
        return []
    message = (
        f"the alphabets differ: the model lacks {len(missing)} of the network's {len(vocab) - 1} symbols, "
        f"such as {_examples(sorted(missing, key=lambda t: t != SPACE))}"
    )
    fix = CLEAN if vocab.by_character else f"ds2 lm TEXT… OUT {symbol_model_options(vocab)} for a model of its symbols"
    return [Finding("symbols", share >= FATAL_SHARE_OTHER, message, fix)]


def _check_references(
    vocab: Vocab, unit: Unit, known: Container[str], can_write: Callable[[str], bool], references: Iterable[str]
) -> list[Finding]:
    """Words of the references that are not in the model's vocabulary, and those that the network cannot write."""
    counts: Counter[str] = Counter()
    lines = unwritable = 0
    for text in references:
        lines += 1
        try:
            counts.update(tokenize(text, unit, vocab))
            unwritable += unit == "word" and vocab.single_words and len(text.split()) > 1
        except BadUtterance:
            unwritable += 1
    findings = []
    if unwritable:
        message = f"the network cannot write {unwritable} of {lines} references"
        findings.append(Finding("references", unwritable >= FATAL_SHARE_OTHER * lines, message, CLEAN_ROWS))
    unwritable_words = group_mismatches(counts, can_write)
    all_words = f"of the references' {counts.total()} running {UNIT_PLURAL[unit]}"
    for oov in group_mismatches(counts, known.__contains__):
        examples = ", ".join(f"{w!r} ({counts[w]})" for w in list(oov.words)[:5])
        message = f"{_percent(oov.share)} {all_words} are out of vocabulary, such as {examples}"
        if oov.kind == _OTHER:
            findings += _findings(oov, message, MORE_TEXT, kind="unknown")
        else:
            corrected = next(iter(oov.words.values()))
            message = f"the {oov.kind} differs: {message} ({corrected!r} is in the vocabulary)"
            findings += _findings(oov, message, CLEAN_ROWS if unwritable_words else CLEAN)
    for group in unwritable_words:
        if group.share >= WARN_SHARE:
            message = f"the network cannot write {_percent(group.share)} {all_words}, such as {_examples(group.words)}"
            findings.append(Finding("references", group.share >= FATAL_SHARE_OTHER, message, CLEAN_ROWS))
    return findings


def _findings(mismatch: Mismatch, message: str, fix: str, kind: str = "") -> list[Finding]:
    """A finding if enough running words are affected, else none."""
    other = mismatch.kind == _OTHER
    if mismatch.share < (WARN_SHARE_OTHER if other else WARN_SHARE):
        return []
    fatal = mismatch.share >= (FATAL_SHARE_OTHER if other else FATAL_SHARE)
    return [Finding(kind or mismatch.kind, fatal, message, fix)]


def _in_place_fix(mismatch: Mismatch, known: Container[str]) -> str:
    """The command that corrects the ARPA file in place; empty where two words would become the same."""
    corrected = list(mismatch.words.values())
    if len(set(corrected)) < len(corrected) or any(w in known for w in corrected):
        return ""
    if mismatch.kind == "case" and corrected == [w.lower() for w in mismatch.words]:
        return r"sed 's/.*/\L&/' MODEL.arpa > lower.arpa"
    if mismatch.kind == "apostrophe":
        word, correction = next(iter(mismatch.words.items()))
        (old, new) = next((a, b) for a, b in zip(word, correction, strict=True) if a in APOSTROPHES and a != b)
        return f'sed "s/{old}/{new}/g" MODEL.arpa > fixed.arpa'
    return ""


def _examples(words: Iterable[str]) -> str:
    return ", ".join(repr(w) for w in list(words)[:3])


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
