"""Lint before decoding: what keeps a language model, a network and transcripts from being about the same text.

Shares are of running words: those of a model by its unigram probabilities, those of references by counting.
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
from ds2cli.lm.text import MARKS, Unit, detect_unit, symbol_model_options, symbol_to_token, tokenize
from ds2cli.text.normalize import APOSTROPHES
from ds2cli.text.vocab import SPACE, Vocab

FATAL_SHARE, FATAL_SHARE_OTHER = 0.1, 0.5
"""Share of running words from which decoding is refused: lost to a spelling that can be repaired, and for good."""

WARN_SHARE, WARN_SHARE_OTHER = 0.001, 0.05
"""Share from which the same is worth a warning."""

CLEAN = "ds2 lm TEXT… OUT makes a model of text cleaned like the transcripts"
MORE_TEXT = "ds2 lm TEXT… OUT with more text of that kind, or ds2 lm mix with a model of it"
CLEAN_ROWS = "ds2 data fix cleans the texts of rows"


def _with_apostrophe(text: str, apostrophe: str) -> str:
    return text.translate(dict.fromkeys(map(ord, APOSTROPHES), apostrophe))


_NORMALIZERS: dict[str, Sequence[Callable[[str], str]]] = {
    "case": (str.lower, str.upper),
    "Unicode form": (partial(unicodedata.normalize, "NFC"), partial(unicodedata.normalize, "NFD")),
    "apostrophe": tuple(partial(_with_apostrophe, apostrophe=a) for a in "'’ʼ"),
}
_OTHER = "other"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong. severe: decoding is pointless before it is put right."""

    kind: str
    fatal: bool
    message: str
    fix: str

    def __str__(self) -> str:
        return f"{self.message} (fix: {self.fix})"


@dataclass(frozen=True)
class Mismatch:
    """Words that do not fit for one reason. words: each as it is and as it would fit, the most frequent ones first."""

    kind: str
    share: float
    words: dict[str, str]


def lint(
    vocab: Vocab, words: Sequence[str], logp: NDArray[np.floating], references: Iterable[str] | None = None
) -> list[Finding]:
    """What is wrong between a network and a model, the severe first; none when they go together.

    words: (V,) of the model.  logp: (V,) their log-probabilities without context.  references: transcripts.
    """
    logps = {w: p for w, p in zip(words, logp.tolist(), strict=True) if w.lower() not in MARKS}
    if not logps:
        return [Finding("empty", True, "the model has no words", "ds2 lm TEXT… OUT")]
    likeliest = max(logps.values())
    weights = {w: math.exp(p - likeliest) for w, p in logps.items()}
    unit = detect_unit(weights, vocab.symbols)
    if unit == "word" and " " not in vocab.symbols:
        says = "the alphabet has no space, so no word ends: expected a model of its symbols"
        return [Finding("space", True, says, f"ds2 lm TEXT… OUT {symbol_model_options(vocab)}")]
    spells = _speller(vocab, unit)
    found = [f for s in group_mismatches(weights, spells) if (f := _unspellable_finding(s, weights, vocab, spells))]
    if unit != "word" and not any(f.fatal for f in found):
        found += _missing_symbols(vocab, weights)
    if references is not None:
        # what a model is refused for, transcripts would only be told again
        severe = {f.kind for f in found if f.fatal}
        found += [f for f in _check_references(vocab, unit, weights, spells, references) if f.kind not in severe]
    return sorted(found, key=lambda f: not f.fatal)


def group_mismatches(weights: Mapping[str, float], fits: Callable[[str], bool]) -> list[Mismatch]:
    """Why words do not fit: the case, the Unicode form, the apostrophe, both of them, or something else."""
    total = sum(weights.values()) or 1.0
    left = {w: w for w in sorted(weights, key=lambda w: -weights[w]) if not fits(w)}
    ways = [(kind, way) for kind, some in _NORMALIZERS.items() for way in some]
    found: list[Mismatch] = []

    def share(some: Iterable[str]) -> float:
        return sum(weights[w] for w in some) / total

    while left and ways:
        corrected = [(k, way, {w: way(form) for w, form in left.items() if fits(way(form))}) for k, way in ways]
        kind, way, words = max(corrected, key=lambda m: share(m[2]))
        if not words:
            break
        found.append(Mismatch(kind, share(words), words))
        left = {w: way(form) for w, form in left.items() if w not in words}
        ways = [w for w in ways if w[0] != kind]
    return [*found, Mismatch(_OTHER, share(left), {w: w for w in left})] if left else found


def _speller(vocab: Vocab, unit: Unit) -> Callable[[str], bool]:
    """Whether the network can write a word, or has a unit of the model among its symbols."""
    if unit != "word":
        return frozenset(map(symbol_to_token, vocab.symbols[1:])).__contains__
    # a unit of several characters is spelled with them where it is no symbol
    single = frozenset(s for s in vocab.symbols[1:] if len(s) == 1)
    if vocab.by_character:
        return single.issuperset

    def encodes(word: str) -> bool:
        try:
            return single.issuperset(word) or bool(vocab.encode(word))
        except BadUtterance:
            return False

    return encodes


def _unspellable_finding(s: Mismatch, weights: Container[str], vocab: Vocab, spells: Callable[[str], bool]) -> Finding | None:
    says = f"{_percent(s.share)} of its running words cannot be spelled, as {_examples(s.words)}"
    if s.kind != _OTHER:
        corrected = next(iter(s.words.values()))
        fix = _in_place_fix(s, weights) or CLEAN
        return _finding(s, f"the {s.kind} differs: {says} ({corrected!r} can)", fix)
    missing = Counter(c for word in s.words for c in dict.fromkeys(word) if not spells(c))
    letters = ", ".join(repr(c) for c, _ in missing.most_common(5))
    return _finding(s, f"the alphabets differ: {says}{f'; the network has no {letters}' if letters else ''}", CLEAN)


def _missing_symbols(vocab: Vocab, known: Container[str]) -> list[Finding]:
    """The symbols a model of characters or tokens does not know."""
    missing = [t for t in map(symbol_to_token, vocab.symbols[1:]) if t not in known]
    share = len(missing) / max(1, len(vocab) - 1)
    # of letters that stand for bigrams never seen, and of steps on the way to longer pieces, many are in no text
    worth_saying = WARN_SHARE_OTHER if vocab.by_character else FATAL_SHARE_OTHER
    if not missing or (share < worth_saying and SPACE not in missing):
        return []
    some = ", ".join(map(repr, sorted(missing, key=lambda t: t != SPACE)[:3]))
    says = f"the alphabets differ: it knows {len(vocab) - 1 - len(missing)} of the network's {len(vocab) - 1} symbols"
    fix = CLEAN if vocab.by_character else f"ds2 lm TEXT… OUT {symbol_model_options(vocab)} makes a model of its symbols"
    return [Finding("symbols", share >= FATAL_SHARE_OTHER, f"{says}, not {some}", fix)]


def _check_references(
    vocab: Vocab, unit: Unit, known: Container[str], spells: Callable[[str], bool], references: Iterable[str]
) -> list[Finding]:
    """Words of the references that the model does not know, and those that the network cannot write."""
    running: Counter[str] = Counter()
    lines = unspelled = 0
    for text in references:
        lines += 1
        try:
            running.update(tokenize(text, unit, vocab))
        except BadUtterance:
            unspelled += 1
    found = []
    if unspelled:
        says = f"{unspelled} of {lines} references cannot be spelled with the network's symbols"
        found.append(Finding("references", unspelled >= FATAL_SHARE_OTHER * lines, says, CLEAN_ROWS))
    unwritten = group_mismatches(running, spells)
    of_all = f"of the references' {running.total()} running {unit}s"
    for s in group_mismatches(running, known.__contains__):
        most = ", ".join(f"{w!r} ({running[w]})" for w in list(s.words)[:5])
        says = f"{_percent(s.share)} {of_all} are unknown to it, as {most}"
        corrected = next(iter(s.words.values()))
        if s.kind == _OTHER:
            f = _finding(s, says, MORE_TEXT, kind="unknown")
        else:
            what = f"the {s.kind} differs: {says} ({corrected!r} is known)"
            f = _finding(s, what, CLEAN_ROWS if unwritten else CLEAN)
        found += [f] if f else []
    for s in unwritten:
        if s.share >= WARN_SHARE:
            says = f"{_percent(s.share)} {of_all} cannot be spelled by the network, as {_examples(s.words)}"
            found.append(Finding("references", s.share >= FATAL_SHARE_OTHER, says, CLEAN_ROWS))
    return found


def _finding(s: Mismatch, says: str, fix: str, kind: str = "") -> Finding | None:
    lost_for_good = s.kind == _OTHER
    if s.share < (WARN_SHARE_OTHER if lost_for_good else WARN_SHARE):
        return None
    return Finding(kind or s.kind, s.share >= (FATAL_SHARE_OTHER if lost_for_good else FATAL_SHARE), says, fix)


def _in_place_fix(s: Mismatch, known: Container[str]) -> str:
    """The command that mends an ARPA file where no two words become one."""
    corrected = list(s.words.values())
    if len(set(corrected)) < len(corrected) or any(w in known for w in corrected):
        return ""
    if s.kind == "case" and corrected[0] == corrected[0].lower():
        return r"sed 's/.*/\L&/' MODEL.arpa > lower.arpa"
    if s.kind == "apostrophe":
        word, wanted = next(iter(s.words.items()))
        (old, new) = next((a, b) for a, b in zip(word, wanted, strict=True) if a != b)
        return f'sed "s/{old}/{new}/g" MODEL.arpa > mended.arpa'
    return ""


def _examples(words: Iterable[str]) -> str:
    return ", ".join(repr(w) for w in list(words)[:3])


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
