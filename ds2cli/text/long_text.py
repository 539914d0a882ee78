"""Long texts as they are printed, such as books: normalized, and nothing of them is refused."""

from __future__ import annotations

from collections.abc import Iterable

from ds2cli.errors import BadUtterance
from ds2cli.text.normalize import normalize


def normalize_long(lines: Iterable[str], lang: str) -> str:
    """The normalized text of some lines; numbers that can be read in only one way are spelled.

    Where `normalize` refuses a line, because of a number or a sign, the words that cause it stay as they are written,
    without the punctuation around them. BadUtterance "language" if `lang` is no code of a language.

    >>> normalize_long(["Nineteen Eighty-Four", "(pp. 12-14), or:", "*1984*!"], "en")
    'nineteen eighty four pp 12-14 or 1984'
    """
    return " ".join(part for line in lines if (part := _normalize_line(line, lang)))


def _normalize_line(line: str, lang: str) -> str:
    try:
        return normalize(line, lang, numbers="spell")
    except BadUtterance as e:
        words = line.split()
        if e.reason == "language":
            raise
        if len(words) > 1:
            return " ".join(part for word in words if (part := _normalize_line(word, lang)))
    begin, end = 0, len(line)
    while begin < end and not line[begin].isalnum():
        begin += 1
    while end > begin and not line[end - 1].isalnum():
        end -= 1
    return "".join(line[begin:end].split())
