"""Words as the pieces between which a line of text may break.

A word of letters is one piece. Chinese and Japanese are written without spaces: a line may break between any two of
their characters, except before a closing mark and after an opening one.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ds2cli.captions.spans import clean

_SMALL_KANA = "ぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮヵヶーゝゞヽヾ々"
"""Characters that do not begin a line of Japanese."""


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of a word with its times (s) and its width in columns.

    word: the number of its word.  is_first: whether the word begins with it.
    """

    text: str
    start: float
    end: float
    word: int
    is_first: bool
    width: int


@lru_cache(1 << 14)
def width_of(character: str) -> int:
    """Columns of a character: 2 for a wide one, such as Chinese, 0 for one that adds to the one before it."""
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def width(text: str) -> int:
    """Columns of a text."""
    return len(text) if text.isascii() else sum(map(width_of, text))


def tokenize(words: Sequence[Mapping[str, Any]], chars: Sequence[Mapping[str, Any]] = ()) -> list[Token]:
    """The tokens of words.

    chars: the characters of the words with their times (s); where they are missing, the characters of a word that is
    divided share its time by their width.
    """
    spoken = [char for char in chars if char["char"].strip()]
    tokens, begin = list[Token](), 0
    for number, word in enumerate(words):
        text = clean(word["word"])
        begin, known = _find_chars(spoken, begin, word)
        parts = [text] if text.isascii() else list(_split(text))
        times = _times_of(parts, word, known) if len(parts) > 1 else [(float(word["start"]), float(word["end"]))]
        for part, (start, end) in zip(parts, times, strict=True):
            tokens.append(Token(part, start, end, number, not tokens or tokens[-1].word != number, width(part)))
    return tokens


def join(tokens: Sequence[Token]) -> str:
    """The text of tokens that follow each other."""
    return "".join(f" {t.text}" if t.is_first and i else t.text for i, t in enumerate(tokens))


def _split(text: str) -> Iterator[str]:
    begin = 0
    for i in range(1, len(text)):
        if _may_break(text[i - 1], text[i]):
            yield text[begin:i]
            begin = i
    yield text[begin:]


def _may_break(before: str, after: str) -> bool:
    if not (_is_ideographic(before) or _is_ideographic(after)) or width_of(after) == 0 or before == "\u200d":
        return False
    opens = unicodedata.category(before) in ("Ps", "Pi")
    return not opens and after not in _SMALL_KANA and unicodedata.category(after) not in ("Pe", "Pf", "Po")


@lru_cache(1 << 14)
def _is_ideographic(character: str) -> bool:
    """Whether it is of a script without spaces: wide, but not of the Korean alphabet, which has them."""
    is_korean = "\u1100" <= character <= "\u11ff" or "\uac00" <= character <= "\ud7a3"
    return not is_korean and unicodedata.east_asian_width(character) in "WF"


def _find_chars(
    chars: Sequence[Mapping[str, Any]], begin: int, word: Mapping[str, Any]
) -> tuple[int, Sequence[Mapping[str, Any]]]:
    """Where the characters of the next word begin, and those of this word; none if they do not spell it."""
    text, end = word["word"], begin
    while end < len(chars) and chars[end]["start"] < word["end"]:
        end += 1
    found = chars[begin:end]
    return end, found if "".join(c["char"] for c in found) == text else ()


def _times_of(
    parts: Sequence[str], word: Mapping[str, Any], chars: Sequence[Mapping[str, Any]]
) -> list[tuple[float, float]]:
    times, letters = list[tuple[float, float]](), 0
    if chars:
        owners = [i for i, char in enumerate(chars) for _ in char["char"]]
        for part in parts:
            first, last = chars[owners[letters]], chars[owners[letters + len(part) - 1]]
            times.append((float(first["start"]), float(last["end"])))
            letters += len(part)
        return times
    start, duration = float(word["start"]), float(word["end"]) - float(word["start"])
    total = max(1, width("".join(parts)))
    for part in parts:
        end = letters + width(part)
        times.append((start + duration * letters / total, start + duration * end / total))
        letters = end
    return times
