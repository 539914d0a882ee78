"""Forced alignment of paths that are known by construction."""

from __future__ import annotations

import numpy as np
import pytest

from ds2cli.errors import BadUtterance
from ds2cli.search.align import Word, align, ctm_line, words_as_fields
from ds2cli.text.vocab import BLANK, Vocab

VOCAB = Vocab((BLANK, " ", "a", "b", "é", "ж"))


def emission(path, prob=0.9):
    lp = np.full((len(path), 6), np.log((1 - prob) / 5), dtype=np.float32)
    lp[np.arange(len(path)), path] = np.log(prob)
    return lp


def test_times_of_a_known_path():
    #                 0  1  2  3  4  5  6  7  8  9
    path = np.array([0, 2, 2, 0, 3, 1, 0, 4, 5, 0])
    alignment = align(emission(path), "ab éж", VOCAB, 0.02)
    assert words_as_fields(alignment.words) == [
        {"word": "ab", "start": 0.02, "end": 0.1, "conf": 0.9},
        {"word": "éж", "start": 0.14, "end": 0.18, "conf": 0.9},
    ]
    assert alignment.log_prob == pytest.approx(10 * np.log(0.9), abs=1e-5)
    assert 0 < alignment.cost <= -alignment.log_prob
    assert align(emission(path), " ab \t éж ", VOCAB, 0.02) == alignment
    assert [ctm_line("u1", w) for w in words_as_fields(alignment.words)] == [
        "u1 1 0.020 0.080 ab 0.9000\n",
        "u1 1 0.140 0.040 éж 0.9000\n",
    ]


def test_confidence_is_the_mean_posterior_where_the_word_is_emitted():
    lp = emission(np.array([2, 0, 3]))
    lp[2] = np.log([0.3, 0.1, 0.1, 0.3, 0.1, 0.1])
    (word,) = align(lp, "ab", VOCAB, 1.0).words
    assert word.conf == pytest.approx((0.9 + 0.3) / 2, abs=1e-6)


def test_a_damaged_emission_has_no_confidence_above_1():
    log_probs = np.full((3, 3), 200, np.float32)
    assert [word.conf for word in align(log_probs, "a", Vocab((BLANK, " ", "a")), 0.02).words] == [1.0]


def test_times_have_three_decimals_and_confidences_four():
    fields = {"word": "a", "start": 0.123, "end": 0.679, "conf": 0.4568}
    assert words_as_fields([Word("a", 0.12345, 0.67891, 0.45678)]) == [fields]


def test_one_symbol_in_one_step():
    (word,) = align(emission(np.array([2])), "a", VOCAB, 0.03).words
    assert (word.word, word.start, word.end) == ("a", 0.0, 0.03)


def test_empty_text_is_all_blank():
    alignment = align(emission(np.array([0, 0])), "", VOCAB, 0.02)
    assert alignment.words == []
    assert alignment.cost == pytest.approx(-alignment.log_prob) == pytest.approx(-2 * np.log(0.9), abs=1e-5)
    assert align(np.empty((0, 6), dtype=np.float32), "", VOCAB, 0.02).words == []


@pytest.mark.parametrize(
    ("text", "steps", "reason"),
    [("ab", 1, "label-too-long"), ("aa", 2, "label-too-long"), ("a", 0, "label-too-long"), ("ax", 9, "unspellable")],
)
def test_texts_that_cannot_be_aligned(text, steps, reason):
    with pytest.raises(BadUtterance) as e:
        align(emission(np.zeros(steps, dtype=np.int64)), text, VOCAB, 0.02)
    assert e.value.reason == reason


def test_text_of_probability_zero_is_refused():
    lp = emission(np.array([2, 3]))
    lp[:, 5] = -np.inf
    with pytest.raises(BadUtterance) as e:
        align(lp, "ж", VOCAB, 0.02)
    assert e.value.reason == "impossible-text"


@pytest.mark.parametrize("seed", range(20))
def test_words_are_in_order_and_inside_the_utterance(seed):
    rng = np.random.default_rng(seed)
    text = " ".join("".join(rng.choice(list("abéж"), rng.integers(1, 4))) for _ in range(rng.integers(1, 5)))
    steps = 2 * len(text) + int(rng.integers(0, 20))
    lp = np.log(rng.dirichlet(np.ones(6), steps)).astype(np.float32)
    words = align(lp, text, VOCAB, 0.02).words
    assert [w.word for w in words] == text.split()
    times = [t for w in words for t in (w.start, w.end)]
    assert times == sorted(times)
    assert times[0] >= 0 and times[-1] <= steps * 0.02 + 1e-9
    assert all(w.end > w.start and 0 < w.conf <= 1 for w in words)
