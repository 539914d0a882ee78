"""Texts of books: nothing of them is refused."""

from __future__ import annotations

import pytest

from ds2cli.errors import BadUtterance
from ds2cli.text.long_text import normalize_long
from ds2cli.text.rule_sets import RULE_SETS


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ([], ""),
        (["", "  ", "* * *", "—"], ""),
        (["It was a bright, COLD day…", "in April;"], "it was a bright cold day in april"),
        (["Chapter 12", "(pp. 12-14) & [sic]"], "chapter twelve pp 12-14 sic"),
        (["at $5.00 each\r"], "at 5.00 each"),
        (["Ça coûte “cher”"], "ça coûte cher"),
        (["\ufeffone\x00two"], "one\x00two"),
    ],
)
def test_lines(lines, text):
    assert normalize_long(lines, "en") == text


def test_language():
    assert normalize_long(["IŞIK 3"], "tr") == "ışık üç"
    with pytest.raises(BadUtterance, match="expected the code of a language"):
        normalize_long(["a"], "no language")


def test_the_rules_may_be_those_of_any_set():
    lines = ["It’s 5 “OK”; uh,", "uh…", "pp. 12-14 * [sic]"]
    written = {name: normalize_long(lines, "en", rule_set) for name, rule_set in RULE_SETS.items()}
    assert written == {
        "letters": "it's five ok uh uh pp 12-14 sic",
        "cased": "It's five OK uh uh pp 12-14 sic",
        "written": 'It\'s 5 "OK"; uh, uh... pp. 12-14 sic',
        "conversation": "it's five ok pp 12-14 sic",
        "keep": "It’s 5 “OK”; uh, uh… pp. 12-14 * [sic]",
    }
