"""Forced alignment of paths that are known by construction."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from ds2cli.errors import BadUtterance
from ds2cli.search.align import Word, align, align_columns, ctm_line, gaps_as_fields, words_as_fields
from ds2cli.search.trellis import Columns, GapCosts, spell
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


COSTS = GapCosts(4.0, 2.0)


def said(text, prob=0.99):
    """An emission in which each symbol takes two steps, with blanks between them and at both ends."""
    path = [0] + [s for symbol in VOCAB.encode(text) for s in (symbol, symbol, 0)]
    return emission(np.array(path), prob)


def test_a_word_that_cannot_be_spelled_gets_the_time_between_its_neighbors():
    spoken = said("ab ba é")
    alignment = align(spoken, "ab 1984 é", VOCAB, 0.5)
    first, number, last = alignment.words
    assert words_as_fields([number]) == [{"word": "1984", "start": 5.0, "end": 7.5}]
    assert (first.word, first.end, last.word, last.start) == ("ab", 3.0, "é", 9.5)
    # what it emits is not part of the text, and the other paths are few
    path = [*spoken[:10].max(axis=1), *spoken[15:].max(axis=1)]
    assert alignment.log_prob == pytest.approx(sum(path), abs=1e-4)
    assert alignment.cost is not None and abs(alignment.cost) < 5
    assert ctm_line("u", words_as_fields([number])[0]) == "u 1 5.000 2.500 1984\n"


def test_a_text_of_which_no_word_can_be_spelled_is_refused():
    with pytest.raises(BadUtterance, match="'1' in '1984'"):
        align(said("a"), "1984 7", VOCAB, 0.5)
    with pytest.raises(BadUtterance, match="' '"):
        align(said("a"), "a b", Vocab((BLANK, "a", "b")), 0.5)


def test_gaps_are_where_text_and_speech_differ():
    alignment = align(said("ab éé жж ba"), "ab bb bb ba", VOCAB, 0.5, COSTS)
    assert [w.word for w in alignment.words] == ["ab", "ba"]
    assert gaps_as_fields(alignment.gaps) == [{"start": 5.0, "end": 12.0, "text": "bb bb", "heard": "éé жж"}]
    assert alignment.cost is None and alignment.spans == []


@pytest.mark.parametrize(
    ("spoken", "text", "gap"),
    [
        ("ab ba", "ab ééé ba", ("ééé", "")),
        ("éжéж ab ba", "ab ba", ("", "éжéж")),
        ("ab ba éжéж", "ab ba", ("", "éжéж")),
        ("ab ba", "жжж ab ba", ("жжж", "")),
        ("ab ba", "ab ba жжж", ("жжж", "")),
    ],
)
def test_one_gap(spoken, text, gap):
    alignment = align(said(spoken), text, VOCAB, 0.5, COSTS)
    assert [(g.text, g.heard) for g in alignment.gaps] == [gap]
    assert [w.word for w in alignment.words] == ["ab", "ba"]
    true = {w.word: w for w in align(said(spoken), spoken, VOCAB, 0.5).words}
    # the space before a gap takes a step
    assert all(0 <= true[w.word].end - w.end <= 0.5 and w.start == true[w.word].start for w in alignment.words)
    times = [t for g in alignment.gaps for t in (g.start, g.end)]
    assert times == sorted(times) and times[0] >= 0 and times[-1] <= 0.5 * len(said(spoken))


def test_nothing_of_the_text_was_said():
    silence = emission(np.zeros(9, np.int64))
    alignment = align(silence, "ab ba", VOCAB, 0.5, COSTS)
    assert alignment.words == [] and [(g.text, g.heard) for g in alignment.gaps] == [("ab ba", "")]
    assert align(silence, "", VOCAB, 0.5, COSTS).gaps == []
    assert [g.heard for g in align(said("ab ba"), "", VOCAB, 0.5, COSTS).gaps] == ["ab ba"]


def test_a_text_that_fits_has_no_gaps():
    expected = align(said("ab ba éж"), "ab ba éж", VOCAB, 0.5)
    alignment = align(said("ab ba éж"), "ab ba éж", VOCAB, 0.5, COSTS)
    assert (alignment.words, alignment.gaps) == (expected.words, [])
    assert alignment.log_prob == pytest.approx(expected.log_prob)


def test_a_text_that_is_longer_than_the_recording_has_a_gap():
    alignment = align(said("ab"), "ab " + "ba " * 50, VOCAB, 0.5, COSTS)
    assert [w.word for w in alignment.words] == ["ab"]
    assert alignment.gaps[0].text == " ".join(["ba"] * 50)


@pytest.mark.parametrize("seed", range(30))
def test_each_word_is_aligned_or_in_a_gap_and_all_in_order(seed):
    rng = np.random.default_rng(seed)
    words = ["".join(rng.choice(list("abéж7"), rng.integers(1, 4))) for _ in range(rng.integers(1, 9))] + ["a"]
    spoken = " ".join("".join(rng.choice(list("abéж"), rng.integers(1, 4))) for _ in range(rng.integers(1, 6)))
    lp = said(spoken) + rng.normal(0, 0.5, (len(said(spoken)), 6)).astype(np.float32)
    alignment = align(lp, " ".join(words), VOCAB, 0.5, COSTS)
    spans = sorted(
        [(w.start, w.end, w.word) for w in alignment.words] + [(g.start, g.end, g.text) for g in alignment.gaps]
    )
    assert " ".join(text for *_, text in spans if text).split() == words
    assert all(0 <= start <= end <= 0.5 * len(lp) for start, end, _ in spans)
    assert all(first[1] <= second[0] for first, second in itertools.pairwise(spans))


def test_characters():
    alignment = align(said("ab é"), "ab é", VOCAB, 0.5, chars=True)
    assert words_as_fields(alignment.chars, "char") == [
        {"char": "a", "start": 0.5, "end": 1.5, "conf": 0.99},
        {"char": "b", "start": 2.0, "end": 3.0, "conf": 0.99},
        {"char": "é", "start": 5.0, "end": 6.0, "conf": 0.99},
    ]
    assert align(said("ab é"), "ab é", VOCAB, 0.5).chars == []


def test_chinese_characters_are_words():
    vocab = Vocab((BLANK, " ", "a", "你", "好"))
    path = np.array([3, 0, 4, 0, 1, 2, 0, 4])
    lp = np.full((len(path), 5), np.log(0.025), np.float32)
    lp[np.arange(len(path)), path] = np.log(0.9)
    assert [w.word for w in align(lp, "你好 a好", vocab, 1.0).words] == ["你", "好", "a", "好"]
    assert [w.word for w in align(lp, "你7 a好", vocab, 1.0).words] == ["你", "7", "a", "好"]
    assert [g.text for g in align(lp, "你你你好 a好", vocab, 1.0, GapCosts(1.0, 1.0)).gaps] == ["你 你"]


def test_a_step_without_any_probability():
    lp = said("ab")
    lp[2] = -np.inf
    with pytest.raises(BadUtterance, match="probability 0"):
        align(lp, "ab", VOCAB, 0.5)
    assert align(lp, "ab", VOCAB, 0.5, COSTS).gaps


def test_parts_of_an_emission_are_joined():
    whole, spelling = said("ab ba"), spell("ab ba", VOCAB)
    parts = [Columns.select(whole[a:b], spelling, gaps=False) for a, b in ((0, 3), (3, 3), (3, 4), (4, len(whole)))]
    joined = align_columns(Columns.join(parts), spelling, VOCAB, 0.5, None)
    expected = align(whole, "ab ba", VOCAB, 0.5)
    assert (joined.words, joined.log_prob) == (expected.words, expected.log_prob)


def test_no_steps_for_a_text_with_gaps():
    with pytest.raises(BadUtterance, match="label-too-long"):
        align(np.empty((0, 6), np.float32), "a", VOCAB, 0.5, COSTS)
