"""Text normalization, the same for transcripts and language models.

NFC, lower case; letters and apostrophes are kept, other punctuation becomes a space, words are separated by one space.
A digit or a sign that is read as a word is an error of that utterance and never removed: a transcript with a word
missing teaches the network to skip words.
"""

from __future__ import annotations

import re
import unicodedata

from ds2cli.errors import BadUtterance

APOSTROPHES = "'’ʼ‘`´＇"
READ_AS_WORDS = "#%&@§‰"
"""Signs that are read as words, though Unicode classes them as punctuation."""

_LATIN = re.compile(r"[a-z' ]*")
_SPACES = re.compile(r" +")
_APOSTROPHE = str.maketrans(dict.fromkeys(APOSTROPHES, "'"))


def normalize(text: str) -> str:
    """Normalize a transcript or a line of text; BadUtterance if it contains digits, symbols or control characters.

    >>> normalize("Hello, World!  It’s")
    "hello world it's"
    """
    text = text.lower()
    if not _LATIN.fullmatch(text):
        text = _normalize_unicode(text)
    # an apostrophe is part of a word; a pair around a word is quotation marks
    words = (word.strip("'") if word.strip("'") == "" or word[0] == word[-1] == "'" else word for word in text.split())
    return " ".join(word for word in words if word)


def _normalize_unicode(text: str) -> str:
    out = []
    for c in unicodedata.normalize("NFC", text).lower().translate(_APOSTROPHE):
        category = unicodedata.category(c)
        if category[0] in "LM" or c == "'":
            out.append(c)
        elif (category[0] in "PZ" and c not in READ_AS_WORDS) or c in "\t\n\r\ufeff\u200b\xad":
            out.append("" if c in "\ufeff\u200b\xad" else " ")
        elif category[0] == "N":
            raise BadUtterance("digits", f"{c!r} in {text.strip()[:40]!r}: write numbers as spoken")
        elif category == "Cs" or c == "\ufffd":
            raise BadUtterance("not-utf8", f"undecodable bytes in {text.strip()[:40]!r} (iconv -f latin1 -t utf-8)")
        else:
            raise BadUtterance(
                "symbols", f"{c!r} (U+{ord(c):04X}) in {text.strip()[:40]!r}: write the spoken word instead"
            )
    return _SPACES.sub(" ", "".join(out))
