"""Checks of texts: characters, Unicode form, normal form, letters that a network has, and the speaking rate."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from ds2cli.checks.faults import NOTHING, Finding
from ds2cli.encoding import code_point
from ds2cli.errors import BadUtterance
from ds2cli.text.characters import find_invisible
from ds2cli.text.normalize import TextRules
from ds2cli.text.rule_sets import LETTERS
from ds2cli.text.vocab import Vocab

CLEAN = "(ds2 data fix)"


@dataclass(frozen=True)
class TextChecks:
    """What is checked of the texts.

    rules: of the normal form; None if texts need not have it.  vocab: the symbols that must spell them, if given.
    max_rate: most characters per second.
    """

    rules: TextRules | None
    vocab: Vocab | None
    max_rate: float

    @cached_property
    def _letters(self) -> frozenset[str]:
        # a text of these can be spelled whatever the longer symbols are
        return frozenset(symbol for symbol in (self.vocab.symbols[1:] if self.vocab else ()) if len(symbol) == 1)

    def __call__(self, text: str, lang: str | None, duration_s: float | None) -> Sequence[Finding]:
        """All that is wrong with the text of a row. duration_s: None if the row states none."""
        if not text.strip():
            return [("empty-text", "the text is empty: expected words (training drops such rows)")]
        found = [] if text.isascii() and text.isprintable() else find_odd_characters(text)
        if self.rules is not None and not found:
            found = self._check_form(self.rules, text, lang)
        if self.vocab is not None and not self._letters.issuperset(text):
            found += self._check_spelling(self.vocab, text)
        if duration_s and len(text) > self.max_rate * duration_s:
            rate = len(text) / duration_s
            detail = f"{len(text)} characters in {duration_s:g} s: {rate:.0f}/s, expected at most {self.max_rate:g}"
            found.append(("speaking-rate", f"{detail} (does the text belong to this recording?)"))
        return found or NOTHING

    def _check_form(self, rules: TextRules, text: str, lang: str | None) -> list[Finding]:
        try:
            clean = rules.normalize(text, lang)
        except BadUtterance as e:
            return [(e.reason, e.detail)]
        if clean == text:
            return []
        if not clean:
            return [("empty-text", f"the text {text[:40]!r} has no letters")]
        where = next((i for i, (a, b) in enumerate(zip(text, clean, strict=False)) if a != b), len(clean))
        start = max(0, where - 20)
        shown, expected = (f"{'…' * (start > 0)}{s[start : start + 40]}" for s in (text, clean))
        name = rules.rule_set.name
        fix = CLEAN if name == LETTERS.name else f"(ds2 data fix --text-rules {name})"
        return [("text-form", f"the text {shown!r} is not normalized, expected {expected!r} {fix}")]

    def _check_spelling(self, vocab: Vocab, text: str) -> list[Finding]:
        try:
            vocab.encode(" ".join(text.split()))
        except BadUtterance as e:
            return [(e.reason, e.detail)]
        return []


def find_odd_characters(text: str) -> list[Finding]:
    """Characters that no one can say or see, and another Unicode form than NFC; one finding of each kind."""
    found: list[Finding] = []
    controls = [c for c in text if unicodedata.category(c) in ("Cc", "Zl", "Zp")]
    if controls:
        found.append(("control-character", f"{_list(controls)} in {text[:40]!r}: delete it {CLEAN}"))
    if "\ufffd" in text:
        found.append(("not-utf8", f"U+FFFD in {text[:40]!r}: a letter was lost when the text was read or written"))
    if invisible := find_invisible(text):
        found.append(("invisible-character", f"{_list(invisible)} in {text[:40]!r}: delete it {CLEAN}"))
    if not unicodedata.is_normalized("NFC", text):
        form = "NFD" if unicodedata.is_normalized("NFD", text) else "no Unicode form"
        found.append(("unicode-form", f"the text {text[:40]!r} is in {form}, expected NFC {CLEAN}"))
    return found


def _list(characters: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(map(code_point, characters)))
