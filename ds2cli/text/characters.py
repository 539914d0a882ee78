"""Characters that look alike or cannot be seen, written in one way: the first rules of text normalization.

Invisible characters are removed (Unicode's Default_Ignorable_Code_Point), but for joiners where they spell; characters
of compatibility are replaced by the letters that they stand for (as NFKC does, but never a letter of today's spelling,
nor what is read as other words: ™, ½, ², ℃).
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from ds2cli.text.profiles import DEFAULT, Profile

ZWNJ, ZWJ = "\u200c", "\u200d"
_VIRAMA = 9
"""Canonical combining class of the sign that joins two consonants in the scripts of India."""

INVISIBLE = re.compile(
    "[\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""Characters that no reader sees and no speaker says; the joiners are not among them."""

_JOINERS = re.compile(f"[{ZWNJ}{ZWJ}]+")
_TATWEEL = "\u0640"
"""The stroke that lengthens an Arabic word in print."""

_FOLDED = frozenset(
    (
        "<wide>",
        "<narrow>",
        "<compat>",
        "<font>",
        "<initial>",
        "<medial>",
        "<final>",
        "<isolated>",
        "<vertical>",
        "<small>",
        "<noBreak>",
    )
)
# Armenian և, Thai and Lao vowels and letters, Korean letters: compatibility characters that are today's spelling
_STANDARD = frozenset("\u0587\u0e33\u0eb3\u0edc\u0edd") | frozenset(map(chr, range(0x3131, 0x318F)))
_DECOMPOSED_VOWELS = {"\u0e4d\u0e32": "\u0e33", "\u0ecd\u0eb2": "\u0eb3"}

# letters of the Arabic script that do not connect to the next one (Joining_Type R and U), as code points
_ENDS_CONNECTION = frozenset(
    map(
        chr,
        (
            *(0x621, *range(0x622, 0x626), 0x627, 0x629, *range(0x62F, 0x633), 0x648, *range(0x671, 0x678)),
            *(*range(0x688, 0x69A), 0x6C0, *range(0x6C3, 0x6CC), 0x6CD, 0x6CF, 0x6D2, 0x6D3, 0x6D5, 0x6EE, 0x6EF),
        ),
    )
)


def unify(text: str, profile: Profile = DEFAULT) -> str:
    """The text in Unicode form NFC, without invisible characters, with compatibility characters folded.

    >>> unify("ﬁne\\u200b ｈｅｌｌｏ")
    'fine hello'
    """
    if text.isascii():
        return text
    text = INVISIBLE.sub("", unicodedata.normalize("NFC", text))
    text = unicodedata.normalize("NFC", "".join(map(_fold, text)).replace(_TATWEEL, ""))
    for written, letter in (_DECOMPOSED_VOWELS | dict(profile.spellings)).items():
        text = text.replace(written, letter)
    if ZWNJ in text or ZWJ in text:
        text = _JOINERS.sub(lambda run: _spelling_joiner(run, profile), text)
    return unicodedata.normalize("NFC", text)


def tidy(text: str, profile: Profile = DEFAULT) -> str:
    """The text in Unicode form NFC, without characters that cannot be seen, words separated by one space.

    >>> tidy("\ufeffＯＫ,\u00a0 “so”\r\n")
    'ＯＫ, “so”'
    """
    if not (text.isascii() and text.isprintable()):
        while (again := _remove_unseen(text, profile)) != text:
            text = again
    return " ".join(text.split())


def _remove_unseen(text: str, profile: Profile) -> str:
    text = INVISIBLE.sub("", unicodedata.normalize("NFC", text))
    text = "".join(c for c in text if c.isprintable() or c.isspace() or unicodedata.category(c) != "Cc")
    if ZWNJ in text or ZWJ in text:
        text = _JOINERS.sub(lambda run: _spelling_joiner(run, profile), text)
    return unicodedata.normalize("NFC", text)


def find_invisible(text: str) -> list[str]:
    """The characters that `unify` removes because they are invisible, with the joiners that spell nothing."""
    if text.isascii():
        return []
    joiners = [c for run in _JOINERS.finditer(text) if not _spelling_joiner(run, DEFAULT) for c in run[0]]
    return INVISIBLE.findall(text) + joiners


def is_letter(c: str) -> bool:
    """Whether a character is a letter or a mark on one.

    >>> [is_letter(c) for c in "aé我."]
    [True, True, True, False]
    """
    return unicodedata.category(c)[0] in "LM" or c == "〇"


@lru_cache(maxsize=4096)
def _fold(c: str) -> str:
    """The letters, marks or punctuation that a compatibility character stands for; any other character as it is."""
    form, *codes = unicodedata.decomposition(c).split() or [""]
    if form not in _FOLDED or c in _STANDARD:
        return c
    folded = "".join(_fold(chr(int(code, 16))) for code in codes)
    if unicodedata.category(c)[0] in "LMPZ":
        # the presentation forms of Arabic marks carry a space
        return folded.strip() or " "
    # a radical is the ideograph that it is made from; other symbols are read as words
    return folded if len(folded) == 1 and is_letter(folded) else c


def _spelling_joiner(run: re.Match[str], profile: Profile) -> str:
    """The first of a run of joiners if it changes how a word is written (UAX #31, section 2.3), else nothing."""
    text, joiner = run.string, run[0][0]
    preceding, after = text[max(0, run.start() - 8) : run.start()], text[run.end() : run.end() + 1]
    before = preceding[-1:]
    if not profile.joiners or not before or not after or not is_letter(after) or after in "ʻʼ":
        return ""
    if _VIRAMA in (unicodedata.combining(before), unicodedata.combining(after)) and is_letter(before):
        return joiner
    base = before
    for c in reversed(preceding):
        if unicodedata.category(c) != "Mn":
            base = c
            break
    return joiner if joiner == ZWNJ and _connects(base) and _is_arabic(after) and after != "ء" else ""


def _is_arabic(c: str) -> bool:
    return ("\u0620" <= c <= "\u06ff" or "\u0750" <= c <= "\u077f" or "\u08a0" <= c <= "\u08ff") and is_letter(c)


def _connects(c: str) -> bool:
    return _is_arabic(c) and c not in _ENDS_CONNECTION
