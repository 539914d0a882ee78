"""The one rule that cleans text, for transcripts and language models alike.

NFC, lower case, letters and apostrophes kept, any other punctuation a space, one space between words. A digit, or a
sign that is read as a word, is an error of that utterance, never silently removed: a transcript that lost a word
teaches the network to skip it.
"""

from __future__ import annotations

import re
import unicodedata

from ds2cli.errors import BadUtterance

APOSTROPHES = "'’ʼ‘`´＇"
READ_AS_WORDS = "#%&@§‰"
"""Unicode has them among the punctuation."""

_LATIN = re.compile(r"[a-z' ]*")
_SPACES = re.compile(r" +")
_APOSTROPHE = str.maketrans(dict.fromkeys(APOSTROPHES, "'"))


def normalize(text: str) -> str:
    """Clean one transcript or one line of text; BadUtterance when it holds digits, symbols or control characters.

    >>> normalize("Hello, World!  It’s")
    "hello world it's"
    """
    text = text.lower()
    if not _LATIN.fullmatch(text):
        text = _spell_out(text)
    # an apostrophe belongs to a word: quotes around one are punctuation
    words = (word.strip("'") if word.strip("'") == "" or word[0] == word[-1] == "'" else word for word in text.split())
    return " ".join(word for word in words if word)


def _spell_out(text: str) -> str:
    out = []
    for c in unicodedata.normalize("NFC", text).lower().translate(_APOSTROPHE):
        category = unicodedata.category(c)
        if category[0] in "LM" or c == "'":
            out.append(c)
        elif (category[0] in "PZ" and c not in READ_AS_WORDS) or c in "\t\n\r\ufeff\u200b\xad":
            out.append("" if c in "\ufeff\u200b\xad" else " ")
        elif category[0] == "N":
            raise BadUtterance("digits", f"{c!r} in {text[:40]!r}: numbers must be spelled out")
        elif category == "Cs" or c == "\ufffd":
            raise BadUtterance("not-utf8", f"undecodable bytes in {text[:40]!r} (fix: iconv -f latin1 -t utf-8)")
        else:
            raise BadUtterance("symbols", f"{c!r} (U+{ord(c):04X}) in {text[:40]!r}: write what is said instead")
    return _SPACES.sub(" ", "".join(out))
