"""Errors that are only differences of writing."""

from __future__ import annotations

import unicodedata

import pytest

from ds2cli.metrics.alignment import align_characters, align_words
from ds2cli.metrics.text_form import FormErrors, Texts, make_visible, normalize_or_reduce, reduce_form

CAFE_NFD = unicodedata.normalize("NFD", "café olé")


def counted(*pairs, unit="word", lang="en"):
    form = FormErrors(unit)
    align = align_characters if unit == "char" else align_words
    texts = [Texts(f"u{i}", ref, hyp, lang) for i, (ref, hyp) in enumerate(pairs)]
    form.add_all(texts, align(*zip(*pairs, strict=True)).counts[:, 1:].sum(axis=1).tolist())
    return form


@pytest.mark.parametrize(
    ("ref", "hyp", "kinds"),
    [
        (CAFE_NFD, "café olé", {"Unicode form": 2}),
        ("café", "cafe\u0301", {"Unicode form": 1}),
        ("ﬁne ｈｅｌｌｏ", "fine hello", {"Unicode form": 2}),
        ("HELLO World", "hello world", {"case": 2}),
        ("don’t it`s", "don't it's", {"apostrophes": 2}),
        ("yes, sir.", "yes sir", {"punctuation": 2}),
        ("a\u200bb c\xadd", "ab cd", {"invisible characters": 2}),
        ("\ufeffone\x00", "one", {"invisible characters": 1}),
        ("It’s Now Muted.", "it's now muted", {"case": 3, "apostrophes": 1, "punctuation": 1}),
    ],
)
def test_each_kind_is_counted_from_either_side(ref, hyp, kinds):
    for pair in ((ref, hyp), (hyp, ref)):
        form = counted(pair)
        assert (form.of_form, form.errors, form.utterances) == (len(hyp.split()), len(hyp.split()), 1)
        assert form.kinds == kinds


def test_real_errors_are_not_explained_away():
    form = counted(("the cat sat", "the dog sat"), ("été", "ete"), ("a b", ""), ("same é", "same é"), ("Mat", "rat"))
    assert (form.errors, form.of_form, form.utterances) == (5, 0, 0) and form.describe() == ""
    form = counted(("The cat", "the dog"), ("x y", "x Y"))
    assert (form.errors, form.of_form, form.utterances) == (3, 2, 2)
    assert form.describe() == (
        "2 of 3 word errors, in 2 utterances, are differences of writing, not of recognition: case (2), "
        "such as u0: 'The cat', recognized as 'the dog'"
    )


def test_the_unit_may_be_characters_and_the_case_is_that_of_the_language():
    assert counted(("AB c", "ab c"), unit="char").of_form == 2
    assert counted(("IŞIK", "ışık"), lang="tr").of_form == 1 and counted(("IŞIK", "ışık")).of_form == 0


def test_texts_with_line_breaks_and_control_characters_are_counted():
    form = FormErrors()
    for texts in (("a b\n", "a b", "a\u2028b", "a b"), ("a", "a\x1b", "a\u00a0b", "a b"), ("a",), ()):
        form.count_broken(texts)
    assert (form.texts, form.broken) == (9, 3)


def test_what_tells_words_apart_is_visible():
    assert (
        make_visible(CAFE_NFD, "café olé") == "cafe<U+0301> ole<U+0301>"
        and make_visible("café olé", CAFE_NFD) == "café olé"
    )
    assert make_visible("a\u200bb", "ab") == "a<U+200B>b" and make_visible("क्\u200dष", "x") == "क्\u200dष"
    assert make_visible("\x1b[31m", "red") == "<U+001B>[31m"


@pytest.mark.parametrize(
    ("text", "clean", "normalized"),
    [
        ("It’s 20 past, OK?", "it's twenty past ok", True),
        (CAFE_NFD.upper(), "café olé", True),
        ("50 % off, It’s", "50 % off it's", False),
    ],
)
def test_a_text_that_no_rule_can_read_is_only_reduced(text, clean, normalized):
    assert normalize_or_reduce(text, "en") == (clean, normalized)
    assert " ".join(reduce_form(clean).split()) == clean
