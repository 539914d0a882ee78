"""Text normalization, the same for transcripts, language models, references and hypotheses.

Unicode form NFC, lower case; letters and apostrophes are kept, other punctuation becomes a space, words are separated
by one space. A digit, a tag or a sign that is read as a word is an error of that utterance and never removed: a
transcript with a word missing teaches the network to skip words. ds2cli/cli/README.md lists the rules.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import unicodedata
from collections.abc import Container
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from ds2cli.encoding import code_point, explain_undecodable
from ds2cli.errors import BadUtterance, UsageError
from ds2cli.text.characters import ZWJ, ZWNJ, is_letter, unify
from ds2cli.text.numbers import spell_numbers
from ds2cli.text.profiles import Profile, find_profile, is_language_tag
from ds2cli.text.quotes import APOSTROPHES, settle_apostrophes
from ds2cli.text.tags import TagError, parse_names, resolve_tags

__all__ = ["APOSTROPHES", "PLAIN", "READ_AS_WORDS", "TextRules", "normalize"]

READ_AS_WORDS = "#%&@§‰‱*⁎٭\\٪؉؊ªº"
"""Signs that are read as words, though Unicode classes them as punctuation or letters."""

_LETTER = r"[^\W\d_ʻʼ]"
PLAIN = re.compile(r"[a-z' ]*")
"""Texts that no rule but that of the apostrophes changes."""
_APOSTROPHE_AT_EDGE = re.compile(r"(?<![a-z])'|'(?![a-z])")


def normalize(
    text: str, lang: str = "en", *, numbers: Literal["refuse", "spell"] = "refuse", remove_tags: Container[str] = ()
) -> str:
    """Normalize a transcript or a line of text in a language.

    lang: its code, such as tr or pt-BR.  numbers: spell those that can be read in only one way.  remove_tags: names of
    tags that are removed, in lower case.
    BadUtterance "digits", "symbols", "tags", "not-utf8" or "language" for a text that cannot be written in letters.

    >>> normalize("Hello, World!  It’s")
    "hello world it's"
    """
    if not is_language_tag(lang):
        raise BadUtterance("language", f"{lang!r}: expected the code of a language, such as en, tr or pt-BR")
    profile = find_profile(lang)
    lowered = profile.lower(text)
    if PLAIN.fullmatch(lowered):
        if _APOSTROPHE_AT_EDGE.search(lowered):
            lowered = settle_apostrophes(lowered, profile)
        return " ".join(lowered.split())
    unified = resolve_tags(unify(text, profile), remove_tags)
    if numbers == "spell":
        unified = spell_numbers(unified, lang)
    lowered = unicodedata.normalize("NFC", profile.lower(_keep_inner_marks(unified, profile)))
    settled = settle_apostrophes(lowered, profile)
    try:
        words = settled.translate(_characters(profile)).split()
    except _RefusedError as e:
        raise _refuse(e.args[0], text) from None
    # punctuation inside a word, such as that of l'«ami», leaves marks at new edges
    clean = settle_apostrophes(" ".join(words), profile)
    return " ".join(clean.split())


@dataclass(frozen=True)
class TextRules:
    """The rules that the settings of a command choose (config/text.py), for texts of several languages.

    has_options: whether these settings are options that an error may name.
    """

    lang: str = "en"
    numbers: Literal["refuse", "spell"] = "refuse"
    remove_tags: frozenset[str] = frozenset()
    has_options: bool = False

    @classmethod
    def of(cls, config: Any) -> TextRules:
        """The rules of a config with any of the settings `lang`, `numbers` and `remove_tags`; UsageError if wrong."""
        lang = getattr(config, "lang", None) or cls.lang
        if not is_language_tag(lang):
            raise UsageError(f"--lang {lang}: expected the code of a language, such as en, tr or pt-BR")
        names = parse_names(getattr(config, "remove_tags", ""))
        return cls(lang, getattr(config, "numbers", "refuse"), names, hasattr(config, "numbers"))

    def normalize(self, text: str, lang: str | None = None) -> str:
        """`normalize` a text, in the language of its row if it has one; the same errors, with the option that helps."""
        try:
            return normalize(text, lang or self.lang, numbers=self.numbers, remove_tags=self.remove_tags)
        except BadUtterance as e:
            option = self._helpful_option(e, text, lang)
            if not option:
                raise
            raise BadUtterance(e.reason, f"{e.detail}, or try {option}") from None

    def _helpful_option(self, error: BadUtterance, text: str, lang: str | None) -> str:
        """The option with which a text that was refused is read, if there is one."""
        if isinstance(error, TagError) and self.has_options:
            return f"--remove-tags {shlex.quote(error.name)}"
        if error.reason == "digits" and self.numbers == "refuse" and self.has_options:
            with contextlib.suppress(BadUtterance):
                normalize(text, lang or self.lang, numbers="spell", remove_tags=self.remove_tags)
                return "--numbers spell"
        return ""


class _RefusedError(Exception):
    """A character that no rule writes in letters."""


class _Characters(dict[int, str]):
    """A table for str.translate: letters, joiners and apostrophes stay, punctuation and white space become a space."""

    def __init__(self, kept: str) -> None:
        self.kept = frozenset("'" + ZWNJ + ZWJ + kept)

    def __missing__(self, code: int) -> str:
        c = chr(code)
        if c in READ_AS_WORDS:
            raise _RefusedError(c)
        if c in self.kept or is_letter(c):
            self[code] = c
        elif unicodedata.category(c)[0] in "PZ" or c.isspace():
            self[code] = " "
        else:
            raise _RefusedError(c)
        return self[code]


@lru_cache(maxsize=64)
def _characters(profile: Profile) -> _Characters:
    return _Characters("".join(profile.inner.values()))


def _keep_inner_marks(text: str, profile: Profile) -> str:
    """The text with the punctuation that is part of words, and a space for the same marks elsewhere."""
    for mark, kept in profile.inner.items():
        text = re.sub(rf"(?<={_LETTER}){mark}(?={_LETTER})", kept, text)
    for kept in profile.inner.values():
        text = re.sub(rf"(?<!{_LETTER}){kept}|{kept}(?!{_LETTER})", " ", text)
    return text


def _refuse(c: str, text: str) -> BadUtterance:
    category, start = unicodedata.category(c), text.strip()[:40]
    if category[0] == "N":
        return BadUtterance("digits", f"{c!r} in {start!r}: write numbers as spoken")
    if category == "Cs" or c == "\ufffd":
        return BadUtterance("not-utf8", explain_undecodable(text) or f"undecodable bytes in {start!r}")
    return BadUtterance("symbols", f"{c!r} ({code_point(c)}) in {start!r}: write the spoken word instead")
