"""Texts: odd characters, Unicode form, normal form, symbols of a network, speaking rate."""

import unicodedata

import pytest

from ds2cli.checks.texts import TextChecks
from ds2cli.text.normalize import TextRules
from ds2cli.text.rule_sets import RULE_SETS
from ds2cli.text.vocab import BLANK, Vocab

CHECKS = TextChecks(TextRules(), None, 35.0)


def kinds(text, checks=CHECKS, lang=None, duration=None):
    return [kind for kind, _ in checks(text, lang, duration)]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("the cat's here", []),
        ("été", []),
        ("你好", []),
        ("", ["empty-text"]),
        (" \t", ["empty-text"]),
        ("?!", ["empty-text"]),
        ("The cat", ["text-form"]),
        ("the  cat", ["text-form"]),
        ("the cat!", ["text-form"]),
        ("the\rcat", ["control-character"]),
        ("the cat\r\n", ["control-character"]),
        ("the\0cat", ["control-character"]),
        ("the\u2028cat", ["control-character"]),
        ("\ufeffthe cat", ["invisible-character"]),
        ("the\u200b cat", ["invisible-character"]),
        (unicodedata.normalize("NFD", "été"), ["unicode-form"]),
        ("the \ufffd cat", ["not-utf8"]),
        (
            "\ufeffthe\r" + unicodedata.normalize("NFD", "é"),
            ["control-character", "invisible-character", "unicode-form"],
        ),
        ("room 12", ["digits"]),
        ("50 % off", ["digits"]),
        ("a & b", ["symbols"]),
        ("yes [noise]", ["tags"]),
    ],
)
def test_what_is_wrong_with_a_text(text, expected):
    assert kinds(text) == expected


def test_the_language_of_the_row_counts():
    assert kinds("ığdır", lang="tr") == [] and kinds("Iğdır", lang="tr") == ["text-form"]
    assert kinds("x", lang="?") == ["language"]


def test_without_rules_only_characters_are_checked():
    checks = TextChecks(None, None, 35.0)
    assert kinds("The Cat, 5!", checks) == [] and kinds("a\r", checks) == ["control-character"]


def test_unspellable_texts_are_those_that_the_symbols_do_not_spell():
    checks = TextChecks(TextRules(), Vocab((BLANK, " ", "a", "b")), 35.0)
    assert kinds("a b", checks) == [] and kinds("a c", checks) == ["unspellable"]
    # bigrams: a letter that is only part of a symbol is not enough
    bigrams = TextChecks(TextRules(), Vocab((BLANK, " ", "a", "bc")), 35.0)
    assert kinds("bc a", bigrams) == [] and kinds("b a", bigrams) == ["unspellable"]


def test_the_speaking_rate_needs_a_duration():
    assert kinds("a" * 36, duration=1.0) == ["speaking-rate"] and kinds("a" * 35, duration=1.0) == []
    assert kinds("a" * 999, duration=None) == []


def test_the_difference_is_shown_where_it_is():
    ((_, detail),) = CHECKS("a" * 50 + " B " + "a" * 50, None, None)
    assert "B" in detail and "…" in detail


def test_the_form_is_that_of_the_chosen_rules_and_the_fix_names_them():
    written = TextChecks(TextRules(numbers="keep", rule_set=RULE_SETS["written"]), None, 35.0)
    assert kinds("It’s 5, OK?", written) == ["text-form"] and kinds("It's 5, OK?", written) == []
    ((_, detail),) = written("It’s", None, None)
    assert detail.endswith("(ds2 data fix --text-rules written)")
    ((_, detail),) = CHECKS("It’s", None, None)
    assert detail.endswith("(ds2 data fix)")
    talk = TextChecks(TextRules(rule_set=RULE_SETS["conversation"]), None, 35.0)
    assert kinds("uh um", talk) == ["not-speech"] and kinds("well uh", talk) == ["text-form"]
