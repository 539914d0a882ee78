"""Apostrophes and single quotation marks, which are written with the same characters.

A mark between two letters is an apostrophe. At the edge of a word, marks that pair are quotation marks, around one
word or several; what is left is an apostrophe where the language has one ('tis, the boys', l'), and a quotation mark
elsewhere.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Literal, NamedTuple

from ds2cli.text.characters import is_letter
from ds2cli.text.profiles import DEFAULT, Apostrophes, Profile

APOSTROPHES = "'’ʼ‘`´＇‛′ʻ"
"""Characters that are written for an apostrophe."""

_MARK = re.compile("['’ʼ‘`´＇‛′ʻ‚]")
_DOUBLE = re.compile("(['’‘`´‚])\\1+")
_EDGE = re.compile(r"(?<!\w)'|'(?!\w)")
_OPENS = "‘‚‛`"
"""Marks that open a quotation at the start of a word; ’ and ´ never do."""


class _Edge(NamedTuple):
    """A mark at the edge of a word. sure: only a quotation mark.  opens, closes: it may be this half of a pair."""

    position: int
    word: str
    side: Literal["start", "end"]
    opens: bool = False
    closes: bool = False
    sure: bool = False


def settle_apostrophes(text: str, profile: Profile = DEFAULT, quote: str = " ") -> str:
    """The text with every apostrophe as ' and `quote` for every single quotation mark.

    text: with its punctuation.  quote: if it is not a space, marks beside digits stay, as in 5'10.

    >>> settle_apostrophes("‘it’s muted,’ said o’neill").split()
    ["it's", 'muted,', 'said', "o'neill"]
    """
    if not _MARK.search(text):
        return text
    text = _settle(text, profile.apostrophes, quote)
    # a mark that is read as an apostrophe may now pair with another: the result must not change when it is read again
    while _EDGE.search(text) and (again := _settle(text, profile.apostrophes, quote)) != text:
        text = again
    return text


def _settle(text: str, rules: Apostrophes, quote: str) -> str:
    text = _DOUBLE.sub(quote, text)
    characters, edges = list(text), []
    for match in _MARK.finditer(text):
        i = match.start()
        before, after = i > 0 and is_letter(text[i - 1]), is_letter(text[i + 1 : i + 2] or " ")
        characters[i] = "'"
        if (before and after) or match[0] in "ʼʻ" or (rules.letter and (before or after) and match[0] != "‚"):
            continue
        if quote != " " and (text[i - 1 : i].isdigit() or text[i + 1 : i + 2].isdigit()):
            continue
        characters[i] = quote
        if after:
            edges.append(_start(text, i, rules))
        elif before or (i > 0 and text[i - 1] in ".,!?;:…"):
            edges.append(_end(text, i, rules))
    quotes = _paired(edges)
    for edge in edges:
        if edge.position not in quotes and _is_apostrophe(edge, rules):
            characters[edge.position] = "'"
    return "".join(characters)


def _start(text: str, i: int, rules: Apostrophes) -> _Edge:
    word = _word(text[i + 1 : i + 32])
    end = i + 1 + len(word)
    enclosed = text[end : end + 1] != "" and _MARK.match(text[end]) is not None
    word = word.lower()
    opens = text[i] not in "’´" and word not in rules.initial
    return _Edge(i, word, "start", opens=opens or enclosed, sure=text[i] in _OPENS and word not in rules.maybe_initial)


def _end(text: str, i: int, rules: Apostrophes) -> _Edge:
    word = _word(text[max(0, i - 32) : i][::-1])[::-1]
    opening = i - len(word) - 1
    enclosed = opening >= 0 and word != "" and _MARK.match(text[opening]) is not None
    word = word.lower()
    sure = enclosed or word == "" or not (word in rules.final or word.endswith(rules.endings))
    return _Edge(i, word, "end", closes=enclosed or word not in rules.final, sure=sure)


def _word(text: str) -> str:
    """The letters and inner marks that a text begins with."""
    length = 0
    while length < len(text) and (
        is_letter(text[length]) or (_MARK.match(text[length]) and is_letter(text[length + 1 : length + 2] or " "))
    ):
        length += 1
    return text[:length]


def _paired(edges: list[_Edge]) -> set[int]:
    """Positions of the marks that pair: each opening one with the first sure closing one before the next opening."""
    paired: set[int] = set()
    openings = [k for k, edge in enumerate(edges) if edge.opens]
    for k, following in pairwise([*openings, len(edges)]):
        closings = [edge for edge in edges[k + 1 : following] if edge.closes]
        if closings:
            closing = next((edge for edge in closings if edge.sure), closings[0])
            paired |= {edges[k].position, closing.position}
    return paired


def _is_apostrophe(edge: _Edge, rules: Apostrophes) -> bool:
    """Whether a mark without a partner is an apostrophe."""
    if not edge.word:
        return False
    if edge.side == "start":
        known = edge.word in rules.initial or edge.word in rules.maybe_initial
        return known or (not rules.strict and not edge.sure)
    return not rules.strict or edge.word in rules.final or edge.word.endswith(rules.endings)
