"""Text normalization, the same for transcripts, language models, references and hypotheses.

`normalize` has the rules that write a text in letters: Unicode form NFC, lower case; letters and apostrophes are kept,
other punctuation becomes a space, words are separated by one space. A digit, a tag or a sign that is read as a word is
an error of that utterance and never removed: a transcript with a word missing teaches the network to skip words.
`TextRules` are those of any of the named sets (rule_sets.py). ds2cli/cli/README.md lists the rules.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import unicodedata
from collections.abc import Container
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

from ds2cli.errors import BadUtterance, UsageError
from ds2cli.text.characters import ZWJ, ZWNJ, is_letter, tidy, unify
from ds2cli.text.conversation import read_marks, remove_hesitations
from ds2cli.text.numbers import spell_numbers
from ds2cli.text.profiles import Profile, find_profile, is_language_tag
from ds2cli.text.quotes import APOSTROPHES, settle_apostrophes
from ds2cli.text.rule_sets import LETTERS, RULE_SETS, Numbers, RuleSet
from ds2cli.text.signs import READ_AS_WORDS, RefusedError, keep_inner_marks, refuse, refuse_undecoded
from ds2cli.text.spacing import remove_spaces
from ds2cli.text.tags import SoundNames, TagError, parse_names, remove_tags, resolve_tags
from ds2cli.text.written import write_punctuated

__all__ = ["APOSTROPHES", "NOT_SPEECH", "PLAIN", "READ_AS_WORDS", "TextRules", "normalize"]

NOT_SPEECH = "not-speech"
"""Reason of a text of hesitations and tags alone, which is no fault of it."""

PLAIN = re.compile(r"[a-z' ]*")
"""Texts that no rule but that of the apostrophes changes."""
_PLAIN_CASED = re.compile(r"[A-Za-z' ]*")
_APOSTROPHE_AT_EDGE = re.compile(r"(?<![A-Za-z])'|'(?![A-Za-z])")
_SPACE_BEFORE_POINT = re.compile(r" (?=[.,;:!?…]+(?: |$))")
_NO_INTEGER = re.compile(r"\d[^\w\s]+\d|(?<!\w)[-–−+±]\d")
"""Numbers that are others without their punctuation."""


def normalize(
    text: str,
    lang: str = "en",
    *,
    numbers: Numbers = "refuse",
    remove_tags: Container[str] = (),
    case: Literal["lower", "keep"] = "lower",
) -> str:
    """Normalize a transcript or a line of text in a language.

    lang: its code, such as tr or pt-BR.  numbers: spell those that can be read in only one way, or keep integers.
    remove_tags: names of tags that are removed, in lower case.  case: lower, or as it is.
    BadUtterance "digits", "symbols", "tags", "not-utf8" or "language" for a text that cannot be written in letters.

    >>> normalize("Hello, World!  It’s")
    "hello world it's"
    """
    profile, is_lower = _require_profile(lang), case == "lower"
    lowered = profile.lower(text) if is_lower else text
    if (PLAIN if is_lower else _PLAIN_CASED).fullmatch(lowered):
        if _APOSTROPHE_AT_EDGE.search(lowered):
            lowered = settle_apostrophes(lowered, profile)
        return " ".join(lowered.split())
    unified = resolve_tags(unify(text, profile), remove_tags)
    if numbers == "spell":
        unified = spell_numbers(unified, lang)
    elif numbers == "keep" and (number := _NO_INTEGER.search(unified)):
        detail = f"{number[0]!r} in {text.strip()[:40]!r} is another number without its punctuation: write it as spoken"
        raise BadUtterance("digits", detail)
    inner = keep_inner_marks(unified, profile)
    lowered = unicodedata.normalize("NFC", profile.lower(inner) if is_lower else inner)
    settled = settle_apostrophes(lowered, profile)
    try:
        words = settled.translate(_characters(profile, numbers == "keep")).split()
    except RefusedError as e:
        raise refuse(e.args[0], text) from None
    # punctuation inside a word, such as that of l'«ami», leaves marks at new edges
    clean = settle_apostrophes(" ".join(words), profile)
    return " ".join(remove_spaces(clean).split() if profile.unspaced else clean.split())


@dataclass(frozen=True)
class TextRules:
    """The rules that the settings of a command choose (config/text.py), for texts of several languages.

    has_options: whether `numbers` and `remove_tags` are options that an error may name.  rule_set: the named rules.
    """

    lang: str = "en"
    numbers: Numbers = "refuse"
    remove_tags: frozenset[str] = frozenset()
    has_options: bool = False
    rule_set: RuleSet = LETTERS

    @classmethod
    def of(cls, config: Any) -> TextRules:
        """The rules of a config with any of the settings `text_rules`, `lang`, `numbers` and `remove_tags`.

        UsageError for a wrong language.
        """
        lang = getattr(config, "lang", None) or cls.lang
        if not is_language_tag(lang):
            raise UsageError(f"--lang {lang}: expected the code of a language, such as en, tr or pt-BR")
        names = parse_names(getattr(config, "remove_tags", ""))
        rules = RULE_SETS[getattr(config, "text_rules", LETTERS.name)]
        numbers = getattr(config, "numbers", None) or rules.numbers
        return cls(lang, numbers, names, hasattr(config, "numbers"), rules)

    def normalize(self, text: str, lang: str | None = None) -> str:
        """The text by these rules, in the language of its row if it has one; "" if no word is left.

        The errors of `normalize`, with the option that helps, and "not-speech" if only hesitations and tags are left
        out; bytes that could not be decoded are the only error of the rules that keep everything.
        """
        try:
            if self.rule_set is LETTERS:
                return normalize(text, lang or self.lang, numbers=self.numbers, remove_tags=self.remove_tags)
            return self._write(text, lang or self.lang)
        except BadUtterance as e:
            option = self._helpful_option(e, text, lang)
            if not option:
                raise
            raise BadUtterance(e.reason, f"{e.detail}, or try {option}") from None

    def _write(self, text: str, lang: str) -> str:
        rules = self.rule_set
        if rules.punctuation == "keep":
            return self._tidy(text, lang)
        if rules.punctuation == "unify":
            return write_punctuated(text, lang, _require_profile(lang), self.numbers, self.remove_tags)
        if rules.hesitations == "keep":
            return normalize(text, lang, numbers=self.numbers, remove_tags=self.remove_tags, case=rules.case)
        names = SoundNames(self.remove_tags)
        words = normalize(read_marks(text, lang), lang, numbers=self.numbers, remove_tags=names, case=rules.case)
        # a hesitation between characters may leave an apostrophe at an edge
        while (fluent := remove_hesitations(words, lang)) != words:
            words = normalize(fluent, lang, numbers=self.numbers, case=rules.case)
        if not words and any(map(is_letter, text)):
            raise BadUtterance(NOT_SPEECH, f"{text.strip()[:40]!r} has no words besides hesitations and tags")
        return words

    def _tidy(self, text: str, lang: str) -> str:
        """The text as it is, but for its Unicode form, white space, and what --numbers and --remove-tags ask for."""
        profile = _require_profile(lang)
        refuse_undecoded(text)
        text = tidy(remove_tags(tidy(text, profile), self.remove_tags), profile)
        if self.numbers == "spell":
            # spelled numbers have a space after them
            spelled = spell_numbers(text, lang)
            text = text if spelled == text else tidy(_SPACE_BEFORE_POINT.sub("", spelled), profile)
        elif self.numbers == "refuse" and (digit := next((c for c in text if c.isnumeric() and not is_letter(c)), "")):
            raise refuse(digit, text)
        return text

    def _helpful_option(self, error: BadUtterance, text: str, lang: str | None) -> str:
        """The option with which a text that was refused is read, if there is one."""
        if isinstance(error, TagError) and self.has_options:
            return f"--remove-tags {shlex.quote(error.name)}"
        if error.reason == "digits" and self.numbers == "refuse" and self.has_options:
            with contextlib.suppress(BadUtterance):
                replace(self, numbers="spell")._write(text, lang or self.lang)
                return "--numbers spell"
        return ""


class _Characters(dict[int, str]):
    """A table for str.translate: letters, joiners and apostrophes stay, punctuation and white space become a space.

    digits: whether decimal digits stay, those of full width as the others.
    """

    def __init__(self, kept: str, digits: bool) -> None:
        self.kept = frozenset("'" + ZWNJ + ZWJ + kept)
        self.digits = digits

    def __missing__(self, code: int) -> str:
        c = chr(code)
        if c in READ_AS_WORDS:
            raise RefusedError(c)
        if c in self.kept or is_letter(c):
            self[code] = c
        elif unicodedata.category(c)[0] in "PZ" or c.isspace():
            self[code] = " "
        elif self.digits and unicodedata.category(c) == "Nd":
            self[code] = unicodedata.normalize("NFKC", c)
        else:
            raise RefusedError(c)
        return self[code]


@lru_cache(maxsize=128)
def _characters(profile: Profile, digits: bool) -> _Characters:
    return _Characters("".join(profile.inner.values()), digits)


@lru_cache(maxsize=256)
def _require_profile(lang: str) -> Profile:
    if not is_language_tag(lang):
        raise BadUtterance("language", f"{lang!r}: expected the code of a language, such as en, tr or pt-BR")
    return find_profile(lang)
