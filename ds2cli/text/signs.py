"""Signs that are no letters: which are read as words, which are part of words, and the errors of those refused."""

from __future__ import annotations

import re
import unicodedata

from ds2cli.encoding import code_point, explain_undecodable
from ds2cli.errors import BadUtterance
from ds2cli.text.profiles import Profile

READ_AS_WORDS = "#%&@§‰‱*⁎٭\\٪؉؊ªº"
"""Signs that are read as words, though Unicode classes them as punctuation or letters."""

_LETTER = r"[^\W\d_ʻʼ]"
_UNDECODED = re.compile("[\ud800-\udfff\ufffd]")


class RefusedError(Exception):
    """A character that no rule writes."""


def join_inner_marks(text: str, profile: Profile) -> str:
    """The text with the punctuation that is part of words of the language in its standard form."""
    for mark, kept in profile.inner.items():
        text = re.sub(rf"(?<={_LETTER}){mark}(?={_LETTER})", kept, text)
    return text


def keep_inner_marks(text: str, profile: Profile) -> str:
    """The text with the punctuation that is part of words, and a space for the same marks elsewhere."""
    text = join_inner_marks(text, profile)
    for kept in profile.inner.values():
        text = re.sub(rf"(?<!{_LETTER}){kept}|{kept}(?!{_LETTER})", " ", text)
    return text


def refuse(c: str, text: str) -> BadUtterance:
    """The error of a text with a character that the rules cannot write: "digits", "not-utf8" or "symbols"."""
    category, start = unicodedata.category(c), text.strip()[:40]
    if category[0] == "N":
        return BadUtterance("digits", f"{c!r} in {start!r}: write numbers as spoken")
    if category == "Cs" or c == "\ufffd":
        return BadUtterance("not-utf8", explain_undecodable(text) or f"undecodable bytes in {start!r}")
    return BadUtterance("symbols", f"{c!r} ({code_point(c)}) in {start!r}: write the spoken word instead")


def refuse_undecoded(text: str) -> None:
    """BadUtterance "not-utf8" for a text with bytes that could not be decoded."""
    if found := _UNDECODED.search(text):
        raise refuse(found[0], text)
