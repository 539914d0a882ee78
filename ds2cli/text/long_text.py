"""Long texts as they are printed, such as books: normalized, and nothing of them is refused."""

from __future__ import annotations

from collections.abc import Iterable

from ds2cli.errors import BadUtterance
from ds2cli.text.normalize import NOT_SPEECH, TextRules
from ds2cli.text.rule_sets import LETTERS, RuleSet


def normalize_long(lines: Iterable[str], lang: str, rule_set: RuleSet = LETTERS) -> str:
    """The text of some lines by a set of rules; if it refuses numbers, those that are read in only one way are spelled.

    Where the rules refuse a line, because of a number or a sign, the words that cause it stay as they are written,
    without the punctuation around them. BadUtterance "language" if `lang` is no code of a language.

    >>> normalize_long(["Nineteen Eighty-Four", "(pp. 12-14), or:", "*1984*!"], "en")
    'nineteen eighty four pp 12-14 or 1984'
    """
    rules = TextRules(lang, "spell" if rule_set.numbers == "refuse" else rule_set.numbers, rule_set=rule_set)
    return " ".join(part for line in lines if (part := _normalize_line(line, rules)))


def _normalize_line(line: str, rules: TextRules) -> str:
    try:
        return rules.normalize(line)
    except BadUtterance as e:
        words = line.split()
        if e.reason == "language":
            raise
        if e.reason == NOT_SPEECH:
            return ""
        if len(words) > 1:
            return " ".join(part for word in words if (part := _normalize_line(word, rules)))
    begin, end = 0, len(line)
    while begin < end and not line[begin].isalnum():
        begin += 1
    while end > begin and not line[end - 1].isalnum():
        end -= 1
    return "".join(line[begin:end].split())
