"""Planted errors: their distance from the true text, their kinds, and what they follow from."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds2cli.metrics.alignment import count
from ds2cli.metrics.planted_errors import KINDS, ErrorPlanter, shuffle_by_id

TEXTS = ["one two three four five six", "seven eight nine ten", "alpha beta gamma", "delta é epsilon zeta eta theta"]
IDS = ["u0", "u1", "u2", "u3"]


def planted(place, copies=20, texts=TEXTS, ids=IDS, seed=0):
    return ErrorPlanter(ids, texts, seed).plant(place, copies)


@pytest.mark.parametrize("place", range(4))
def test_the_distance_is_the_number_of_words_changed(place):
    """All words differ here, so that no change undoes another."""
    true, borders = TEXTS[place].split(), [t for t in (place - 1, place + 1) if 0 <= t < 4]
    for kind, text in planted(place):
        words, counts = text.split(), count(true, text.split())
        if kind in ("delete", "cut-start", "cut-end"):
            assert (counts.errors, counts.dels) == (len(true) - len(words),) * 2
            assert kind != "cut-start" or words == true[-len(words) :]
            assert kind != "cut-end" or words == true[: len(words)]
        elif kind in ("insert", "attach"):
            # an inserted word is one of another text, where the words differ from those here
            assert (counts.errors, counts.ins) == (len(words) - len(true),) * 2
        elif kind == "substitute":
            assert len(words) == len(true) and counts.errors <= sum(a != b for a, b in zip(words, true, strict=True))
        elif kind == "other":
            assert text in TEXTS and text != TEXTS[place] and counts.errors >= max(len(true), len(words))
        if kind == "attach":
            added = [w for w in words if w not in true]
            assert any(
                added == (near[-len(added) :] if t < place else near[: len(added)])
                for t in borders
                for near in [TEXTS[t].split()]
            )
            assert " ".join(true) in text
        if kind == "shift":
            kept = [w for w in words if w in true]
            assert 0 < len(kept) < len(true) and (words[0] != true[0] or words[-1] != true[-1])
            assert kept in (true[: len(kept)], true[-len(kept) :])


def test_all_kinds_occur_and_all_texts_differ():
    for place in range(4):
        found = planted(place)
        assert {kind for kind, _ in found} == set(KINDS)
        texts = [text for _, text in found]
        assert len(set(texts)) == len(texts) and TEXTS[place] not in texts and "" not in texts
        assert max(Counter(kind for kind, _ in found).values()) <= 20


def test_half_of_the_words_at_most_are_single_errors():
    for kind, text in planted(0, 200):
        if kind in ("delete", "insert", "substitute"):
            assert 1 <= count(TEXTS[0].split(), text.split()).errors <= 3


def test_substitutes_are_about_as_frequent():
    # a word of rank r occurs 100 - r times
    texts = [" ".join(f"w{r:02d}" for r in range(40) if copy < 100 - r) for copy in range(100)]
    ids = [f"u{i:03d}" for i in range(100)]
    for place in (0, 99):
        for kind, text in planted(place, 30, texts, ids):
            if kind == "substitute":
                for true, wrong in zip(texts[place].split(), text.split(), strict=True):
                    assert abs(int(true[1:]) - int(wrong[1:])) <= 10


def test_the_seed_and_the_id_decide():
    assert planted(1) == planted(1) != planted(1, seed=1)
    assert planted(1) != planted(1, ids=["u0", "other", "u2", "u3"])
    # asking for others in between changes nothing
    planter = ErrorPlanter(IDS, TEXTS, 0)
    planter.plant(3, 5)
    assert planter.plant(1, 20) == planted(1)


def test_a_lone_utterance_has_no_words_of_others():
    assert {kind for kind, _ in planted(0, texts=["a b c"], ids=["u"])} == {
        "delete", "substitute", "cut-start", "cut-end",
    }  # fmt: skip
    assert planted(0, texts=["a"], ids=["u"]) == []
    assert planted(0, texts=["a", "a", "a"], ids=IDS[:3]) and not [
        text for _, text in planted(0, texts=["a", "a", "a"], ids=IDS[:3]) if text == "a"
    ]


@given(st.lists(st.text(st.sampled_from("ab \t\u2028é\ud800"), max_size=12), min_size=1, max_size=4), st.integers(0, 9))
def test_any_texts(texts, seed):
    ids = [f"\udce9{i}" for i in range(len(texts))]
    for place, text in enumerate(texts):
        for kind, wrong in ErrorPlanter(ids, texts, seed).plant(place, 2):
            assert kind in KINDS and wrong.split() != text.split() and wrong == " ".join(wrong.split()) != ""


def test_the_order_of_the_folds_follows_from_the_ids():
    names = [f"u{i}" for i in range(100)]
    order = shuffle_by_id(names, 3)
    assert sorted(order) == list(range(100)) and order != list(range(100)) != shuffle_by_id(names, 4)
    # the names, not their places, are shuffled
    backwards = shuffle_by_id(names[::-1], 3)
    assert [names[i] for i in order] == [names[::-1][i] for i in backwards]
    # without one name the others keep their order
    rest = [n for n in names if n != "u5"]
    assert [rest[i] for i in shuffle_by_id(rest, 3)] == [names[i] for i in order if names[i] != "u5"]
    assert any(b - a != 1 for a, b in pairwise(order))
