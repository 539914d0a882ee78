"""Texts with punctuation, in one form: for networks that write it, and the capitals and digits that go with it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container

from ds2cli.text.characters import ZWJ, ZWNJ, is_letter, unify
from ds2cli.text.numbers import spell_numbers
from ds2cli.text.profiles import Profile
from ds2cli.text.quotes import settle_apostrophes
from ds2cli.text.rule_sets import Numbers
from ds2cli.text.signs import RefusedError, join_inner_marks, refuse
from ds2cli.text.spacing import remove_spaces
from ds2cli.text.tags import resolve_tags
from ds2cli.text.units import UNSPACED

SIGNS = "+=°×÷©®™№℃"
"""Symbols that stay, besides those of currencies."""

_CLEAN = re.compile(r"(?:[A-Za-z]+(?:'[A-Za-z]+)*[,.?!]?(?: |$))*")
"""Texts that no rule changes, but for a space at the end."""

_REFUSED = "*⁎٭\\[]{}<>"
_POINTS = ",.?!;:،؛؟।॥…"

_QUOTES = re.compile("[“”„‟«»‹›〝〞〟]")
_INSIDE_GUILLEMETS = re.compile(r"(?<=[«‹])\s+|\s+(?=[»›])")
_HYPHENS = re.compile("[‐‑−]")
_RANGE = re.compile(r"(?<=\d)[‒–—](?=\d)")
_DASH = re.compile(r"\s*(?:[‒–—―]+|--+)(?:\s*(?:[‒–—―]+|--+))*\s*|\s+-(?:\s+-)*(?:\s+|$)|^-\s+")
_ELLIPSIS = re.compile(r"\.(?:\s*\.)+")
_REPEATED = re.compile(r"([?!,;])(?:\s*\1)+")
_SPACE_BEFORE = re.compile(rf"\s+(?=[{_POINTS}]+(?:\s|[\"')]|$))|(?<=\()\s+|\s+(?=\))")

_BESIDE_POINTS = re.compile(" +(?=[，？！；：（）。、])|(?<=[，？！；：（）。、]) +")
_WIDE = str.maketrans(",?!;:()", "，？！；：（）")
_BESIDE_WIDE = re.compile(rf"(?<=[{UNSPACED}，？！；：（）。、—…”\"])(?:\.\.\.| - |[,.?!;:()])|\((?=[{UNSPACED}])")


def write_punctuated(text: str, lang: str, profile: Profile, numbers: Numbers, remove_tags: Container[str]) -> str:
    """A text with capitals and punctuation: one apostrophe, one double quotation mark, one dash, three dots.

    The errors of `normalize`; symbols are refused but for currencies, % & # @ § and `SIGNS`.
    "" if it has neither letters nor digits.
    """
    if _CLEAN.fullmatch(text):
        return text.rstrip()
    unified = resolve_tags(unify(text, profile).replace("_", " "), remove_tags, keep_brackets=True)
    if numbers == "spell":
        unified = spell_numbers(unified, lang)
    written = _settle_points(unified, profile)
    # a rule may make room for another: the result must not change when it is written again
    while (again := _settle_points(written, profile)) != written:
        written = again
    try:
        written = " ".join(written.translate(_characters(numbers)).split())
    except RefusedError as e:
        raise refuse(e.args[0], text) from None
    return written if any(c.isalnum() for c in written) else ""


def _settle_points(text: str, profile: Profile) -> str:
    if profile.guillemet_spaces:
        text = _INSIDE_GUILLEMETS.sub("", text)
    text = join_inner_marks(_HYPHENS.sub("-", _QUOTES.sub('"', text)), profile)
    text = settle_apostrophes(text, profile, '"')
    text = _DASH.sub(" - ", _RANGE.sub("-", text))
    text = _REPEATED.sub(r"\1", _ELLIPSIS.sub("...", text.replace("…", "...")))
    text = " ".join(_SPACE_BEFORE.sub("", text).split())
    if profile.wide:
        while (wider := _BESIDE_WIDE.sub(lambda m: _widen(m[0]), text)) != text:
            text = wider
    if profile.unspaced:
        text = _BESIDE_POINTS.sub("", remove_spaces(text))
    return unicodedata.normalize("NFC", text)


def _widen(points: str) -> str:
    """The full-width form of punctuation."""
    match points:
        case "...":
            return "……"
        case " - ":
            return "——"
        case ".":
            return "。"
    return points.translate(_WIDE)


class _Characters(dict[int, str]):
    """A table for str.translate: letters, numbers, punctuation and some signs stay, white space becomes a space."""

    def __init__(self, numbers: Numbers) -> None:
        self.keeps_numbers = numbers == "keep"

    def __missing__(self, code: int) -> str:
        c = chr(code)
        category = unicodedata.category(c)
        if c.isspace() or category[0] == "Z":
            self[code] = " "
        elif c in _REFUSED or not (self._is_written(c, category) or is_letter(c) or c in ZWNJ + ZWJ):
            raise RefusedError(c)
        else:
            # digits of full width as the others
            self[code] = unicodedata.normalize("NFKC", c) if category == "Nd" else c
        return self[code]

    def _is_written(self, c: str, category: str) -> bool:
        if category[0] == "N":
            return self.keeps_numbers
        return category[0] == "P" or category == "Sc" or c in SIGNS


_TABLES: dict[Numbers, _Characters] = {}


def _characters(numbers: Numbers) -> _Characters:
    return _TABLES.setdefault(numbers, _Characters(numbers))
