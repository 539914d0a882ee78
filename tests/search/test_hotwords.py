"""Hotwords: each occurrence adds its weight exactly once, whatever was credited while the match was in progress."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from ds2cli.errors import BadUtterance, DataError
from ds2cli.kernels.hotwords import finish_hotwords, has_hotwords, step_hotwords
from ds2cli.search.beam import BeamSearch
from ds2cli.search.hotwords import build_hotwords
from ds2cli.text.vocab import BLANK, Vocab

SPACED = Vocab((BLANK, " ", "a", "b", "é"))
UNSPACED = Vocab((BLANK, "你", "好", "界"))


def count_occurrences(text, phrase, spaced):
    """Count the occurrences of a phrase, overlapping ones included; with spaces, complete words only."""
    if spaced:
        text, phrase = f" {text} ", f" {phrase} "
    return sum(text.startswith(phrase, i) for i in range(len(text)))


def apply_hotwords(vocab, automaton, text):
    """The bonus that the automaton adds to a text: in total, and up to each symbol (nats)."""
    state, total, running = automaton.start, 0.0, []
    for symbol in vocab.encode(text):
        state, gain = step_hotwords(automaton, state, symbol)
        total += gain
        running.append(total)
    return total + finish_hotwords(automaton, state), running


def total_bonus(vocab, weights, text):
    return apply_hotwords(vocab, build_hotwords(vocab, weights), text)[0]


@pytest.mark.parametrize(
    ("weights", "text", "expected"),
    [
        ({"ab": 2.0}, "ab", 2.0),
        ({"ab": 2.0}, "", 0.0),
        ({"ab": 2.0}, "ab é a", 2.0),
        ({"ab": 2.0}, "é a ab", 2.0),
        ({"ab": 2.0}, "ab ab é ab", 6.0),
        ({"ab": 2.0}, "aba bab a b aab", 0.0),
        ({"a b": 2.0}, "a b", 2.0),
        ({"a b": 2.0}, "éa b a bé a é b", 0.0),
        ({"a b": 2.0}, "a a b b", 2.0),
        ({"a b": 2.0, "b é": 3.0}, "a b é", 5.0),
        ({"a a": 2.0}, "a a a", 4.0),
        ({"a": 1.0, "a b": 4.0}, "a b a", 6.0),
        ({"a": 1.0, "ab": 4.0}, "a ab", 5.0),
        ({"a b é": 4.0, "b": 1.0}, "a b a b é", 6.0),
        ({"a": -1.0, "a b": 4.0}, "a b a a", 1.0),
        ({"a": -1.5}, "a b a", -3.0),
        ({"a b": 0.0, "b": 1.0}, "a b", 1.0),
        ({"  a \t b ": 2.0}, "a b", 2.0),
    ],
    ids=str,
)
def test_each_occurrence_adds_its_weight(weights, text, expected):
    assert total_bonus(SPACED, weights, text) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("weights", "text", "expected"),
    [
        ({"你好": 2.0}, "你好", 2.0),
        ({"你好": 2.0}, "界你好界你好", 4.0),
        ({"你好": 2.0}, "你界好你", 0.0),
        ({"你你": 2.0}, "你你你", 4.0),
        ({"你好界": 2.0, "好": 1.0, "好界": -4.0}, "你好你好界", 0.0),
        ({"你": 2.0}, "你", 2.0),
        ({"你": -2.0}, "你你", -4.0),
    ],
    ids=str,
)
def test_without_spaces_a_phrase_matches_anywhere(weights, text, expected):
    assert total_bonus(UNSPACED, weights, text) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("vocab", [SPACED, UNSPACED], ids=["spaced", "unspaced"])
@pytest.mark.parametrize("seed", range(30))
def test_random_phrases_in_random_texts(vocab, seed):
    rng = np.random.default_rng(seed)
    letters = [s for s in vocab.symbols[1:] if s != " "]
    spaced = vocab is SPACED

    def random_text(longest):
        words = ("".join(rng.choice(letters, rng.integers(1, 4))) for _ in range(rng.integers(1, longest)))
        return (" " if spaced else "").join(words)

    sign = (1.0, -1.0, 0.0)[seed % 3]
    weights = {random_text(4): float(rng.normal()) if sign == 0 else sign * float(rng.uniform(0, 3)) for _ in range(12)}
    automaton = build_hotwords(vocab, weights)
    largest_weight = max(map(abs, weights.values()))
    for _ in range(30):
        text = random_text(12)
        total, running = apply_hotwords(vocab, automaton, text)
        assert total == pytest.approx(sum(w * count_occurrences(text, p, spaced) for p, w in weights.items()), abs=1e-9)
        for i, total_so_far in enumerate(running):
            # a phrase is complete once the space after it is read; at most one incomplete phrase is credited
            prefix = text[: i + 1]
            earned = sum(
                w * sum(f" {prefix}".endswith(f" {p} ", 0, e + 1) for e in range(len(prefix) + 1))
                if spaced
                else w * count_occurrences(prefix, p, spaced)
                for p, w in weights.items()
            )
            assert abs(total_so_far - earned) < largest_weight


@pytest.mark.parametrize("vocab", [SPACED, UNSPACED], ids=["spaced", "unspaced"])
@pytest.mark.parametrize("weights", [(2.0, 1.0, 3.0), (-2.0, -1.0, -3.0), (2.0, -2.0, 1.0), (0.0, 0.0, 0.0)], ids=str)
def test_no_symbol_adds_more_than_the_maximum_gain(vocab, weights):
    letters = [s for s in vocab.symbols[1:] if s != " "]
    automaton = build_hotwords(
        vocab, dict(zip((letters[0], letters[0] + letters[1], letters[1] * 3), weights, strict=True))
    )
    gains = [
        step_hotwords(automaton, p, c)[1] for p in range(len(automaton.partial_bonus)) for c in range(1, len(vocab))
    ]
    assert max(0.0, *gains) <= automaton.max_gain
    assert has_hotwords(automaton)


def test_partial_bonus_grows_with_the_match_and_is_taken_back():
    automaton = build_hotwords(SPACED, {"abba": 4.0})
    total, running = apply_hotwords(SPACED, automaton, "abba")
    assert running == sorted(running) and 0.0 < running[0] < running[-1] < total == 4.0
    total, running = apply_hotwords(SPACED, automaton, "abbé")
    assert running[2] > 0.0 and running[3] == total == 0.0
    total, running = apply_hotwords(SPACED, automaton, "abb")
    assert running[2] > 0.0 and total == 0.0


def test_automaton_without_hotwords():
    for vocab in (SPACED, UNSPACED):
        automaton = build_hotwords(vocab, {})
        assert not has_hotwords(automaton) and automaton.max_gain == 0.0
        assert apply_hotwords(vocab, automaton, "") == (0.0, [])


@pytest.mark.parametrize("phrase", ["a", "b c", "e\u0301"])
def test_unspellable_hotword_is_named(phrase):
    vocab = Vocab((BLANK, " ", "b", "é"))
    with pytest.raises(BadUtterance, match="unspellable") as caught:
        build_hotwords(vocab, {"b": 1.0, phrase: 2.0})
    assert phrase in caught.value.detail
    with pytest.raises(BadUtterance, match="' ' in '你 好'"):
        build_hotwords(UNSPACED, {"你 好": 1.0})


@pytest.mark.parametrize("weight", [math.nan, math.inf, -math.inf])
def test_weights_must_be_finite(weight):
    with pytest.raises(DataError, match="the hotword 'a b': expected a finite number"):
        build_hotwords(SPACED, {"a  b": weight})


def test_empty_and_repeated_hotwords_are_refused():
    with pytest.raises(DataError, match="is empty"):
        build_hotwords(SPACED, {" \t": 1.0})
    with pytest.raises(DataError, match="'a b' is listed twice"):
        build_hotwords(SPACED, {"a b": 1.0, "a  b": 1.0})


def emission_of_text(vocab, text, confidence, seed=0):
    """An emission of a text: each symbol with the given confidence, the rest random."""
    rng = np.random.default_rng(seed)
    labels = [i for s in vocab.encode(text) for i in (s, 0)]
    probs = rng.dirichlet(np.full(len(vocab), 0.3), size=len(labels)) * (1.0 - confidence)
    probs[np.arange(len(labels)), labels] += confidence
    return np.log(probs + 1e-9).astype(np.float32)


@pytest.mark.parametrize("pruning", [{"beam": 2}, {"beam": 64, "beam_gap": 6.0}, {"beam": 5000}], ids=str)
def test_misrecognized_hotword_is_corrected(pruning):
    """The emission prefers an a for the last b: the hotword decides, even with strong pruning."""
    lp = emission_of_text(SPACED, "é ab b", 0.9)
    lp[10, [2, 3]] = np.log([0.6, 0.3])
    plain = BeamSearch.build(SPACED, **pruning)(lp)[0]
    boosted = BeamSearch.build(SPACED, hotwords={"ab b": 3.0}, **pruning)(lp)[0]
    penalized = BeamSearch.build(SPACED, hotwords={"ab a": -3.0}, **pruning)(lp)[0]
    assert (plain.text, boosted.text, penalized.text) == ("é ab a", "é ab b", "é ab b")
    assert (plain.score, penalized.score) == (plain.am, penalized.am)
    assert boosted.score == pytest.approx(boosted.am + 3.0)


def test_hotword_that_was_not_spoken_is_not_inserted():
    lp = emission_of_text(SPACED, "é ab a", 0.95)
    for phrase in ("b b", "éb", "ab ab", "aba"):
        assert BeamSearch.build(SPACED, beam=32, hotwords={phrase: 1.0})(lp)[0].text == "é ab a"


def test_misrecognized_characters_are_corrected():
    lp = emission_of_text(UNSPACED, "你好界", 0.8)
    lp[2, [2, 3]] = lp[2, [3, 2]]
    assert BeamSearch.build(UNSPACED, beam=8)(lp)[0].text == "你界界"
    assert BeamSearch.build(UNSPACED, beam=8, hotwords={"你好": 6.0})(lp)[0].text == "你好界"


def test_weight_zero_changes_no_score():
    lp = emission_of_text(SPACED, "a ab é b", 0.5, seed=3)
    for best in (1, 20):
        assert BeamSearch.build(SPACED, beam=40)(lp, best) == BeamSearch.build(
            SPACED, beam=40, hotwords={"a": 0.0, "é b": 0.0}
        )(lp, best)


def test_long_list_of_hotwords():
    symbols = tuple(chr(0x4E00 + i) for i in range(5000))
    vocab = Vocab((BLANK, *symbols))
    weights = {a + b: 1.0 for a, b in itertools.pairwise(symbols)}
    automaton = build_hotwords(vocab, weights)
    assert len(automaton.partial_bonus) == 1 + 4999 + 4999
    total, _ = apply_hotwords(vocab, automaton, "".join(symbols[:100]))
    assert total == pytest.approx(99.0)
