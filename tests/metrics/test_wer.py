"""Error counts: known by construction, then compared with jiwer."""

from __future__ import annotations

import random

import jiwer
import pytest

from ds2cli.metrics.alignment import align, count
from ds2cli.metrics.wer import Counts, characters, words


@pytest.mark.parametrize(
    ("ref", "hyp", "counts"),
    [
        ("", "", Counts()),
        ("", "a b", Counts(ins=2)),
        ("a b", "", Counts(dels=2)),
        ("привет мир", "привет мир", Counts(hits=2)),
        ("un café noir", "un cafe noir", Counts(hits=2, subs=1)),
        ("a  b", "a b", Counts(hits=2)),
    ],
)
def test_known_word_counts(ref, hyp, counts):
    assert count(words(ref), words(hyp)) == counts


def test_the_rate_of_an_empty_reference():
    assert Counts().rate == 0.0
    assert Counts(ins=1).rate == float("inf")


def test_characters_count_one_space_between_words():
    assert characters(" a  bc ") == ["a", " ", "b", "c"]
    assert count(characters("ab c"), characters("abc")) == Counts(hits=3, dels=1)


def test_counts_add_up():
    assert Counts(1, 2, 3, 4) + Counts(10, 20, 30, 40) == Counts(11, 22, 33, 44)
    assert Counts(1, 2, 3, 4).errors == 9
    assert Counts(1, 2, 3, 4).total == 7


def test_an_alignment_names_the_units():
    assert align(["a", "b"], ["b", "c"]) == [("a", None), ("b", "b"), (None, "c")]


@pytest.mark.parametrize("seed", range(20))
def test_rates_equal_those_of_jiwer(seed):
    draw = random.Random(seed)
    lexicon = ["the", "cat", "cats", "sat", "on", "жук", "café"]
    pairs = [
        (" ".join(draw.choices(lexicon, k=draw.randint(1, 9))), " ".join(draw.choices(lexicon, k=draw.randint(0, 9))))
        for _ in range(20)
    ]
    refs, hyps = map(list, zip(*pairs, strict=True))
    total = sum((count(words(r), words(h)) for r, h in pairs), Counts())
    assert total.rate == pytest.approx(100 * jiwer.wer(refs, hyps))
    total = sum((count(characters(r), characters(h)) for r, h in pairs), Counts())
    assert total.rate == pytest.approx(100 * jiwer.cer(refs, hyps))
