"""Phrases that are preferred or avoided: each occurrence counts once, whatever was lent on the way."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from ds2cli.errors import BadUtterance, DataError
from ds2cli.kernels.phrases import close, follow, has_phrases
from ds2cli.search.beam import BeamSearch
from ds2cli.search.hotwords import build_phrases
from ds2cli.text.vocab import BLANK, Vocab

SPACED = Vocab((BLANK, " ", "a", "b", "é"))
DENSE = Vocab((BLANK, "你", "好", "界"))


def occurrences(text, phrase, spaced):
    """How often a phrase is said; where there are spaces in whole words only. Occurrences may overlap."""
    if spaced:
        text, phrase = f" {text} ", f" {phrase} "
    return sum(text.startswith(phrase, i) for i in range(len(text)))


def walked(vocab, phrases, text):
    """What the automaton adds to a text in the end, and after each of its symbols."""
    state, total, on_the_way = phrases.begin, 0.0, []
    for symbol in vocab.encode(text):
        state, gain = follow(phrases, state, symbol)
        total += gain
        on_the_way.append(total)
    return total + close(phrases, state), on_the_way


def said(vocab, wanted, text):
    return walked(vocab, build_phrases(vocab, wanted), text)[0]


@pytest.mark.parametrize(
    ("wanted", "text", "weight"),
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
def test_each_time_it_is_said_a_phrase_earns_its_weight(wanted, text, weight):
    assert said(SPACED, wanted, text) == pytest.approx(weight, abs=1e-12)


@pytest.mark.parametrize(
    ("wanted", "text", "weight"),
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
def test_where_there_are_no_spaces_a_phrase_may_be_anywhere(wanted, text, weight):
    assert said(DENSE, wanted, text) == pytest.approx(weight, abs=1e-12)


@pytest.mark.parametrize("vocab", [SPACED, DENSE], ids=["spaced", "dense"])
@pytest.mark.parametrize("seed", range(30))
def test_random_phrases_in_random_texts(vocab, seed):
    rng = np.random.default_rng(seed)
    letters = [s for s in vocab.symbols[1:] if s != " "]
    spaced = vocab is SPACED

    def text(longest):
        words = ("".join(rng.choice(letters, rng.integers(1, 4))) for _ in range(rng.integers(1, longest)))
        return (" " if spaced else "").join(words)

    sign = (1.0, -1.0, 0.0)[seed % 3]
    wanted = {text(4): float(rng.normal()) if sign == 0 else sign * float(rng.uniform(0, 3)) for _ in range(12)}
    phrases = build_phrases(vocab, wanted)
    strongest = max(map(abs, wanted.values()))
    for _ in range(30):
        one = text(12)
        total, on_the_way = walked(vocab, phrases, one)
        assert total == pytest.approx(sum(w * occurrences(one, p, spaced) for p, w in wanted.items()), abs=1e-9)
        for i, so_far in enumerate(on_the_way):
            # complete are those behind which the space has been said; besides, no more than one phrase is lent
            complete = one[: i + 1]
            earned = sum(
                w * sum(f" {complete}".endswith(f" {p} ", 0, e + 1) for e in range(len(complete) + 1))
                if spaced
                else w * occurrences(complete, p, spaced)
                for p, w in wanted.items()
            )
            assert abs(so_far - earned) < strongest


@pytest.mark.parametrize("vocab", [SPACED, DENSE], ids=["spaced", "dense"])
@pytest.mark.parametrize("weights", [(2.0, 1.0, 3.0), (-2.0, -1.0, -3.0), (2.0, -2.0, 1.0), (0.0, 0.0, 0.0)], ids=str)
def test_no_symbol_adds_more_than_the_most(vocab, weights):
    letters = [s for s in vocab.symbols[1:] if s != " "]
    phrases = build_phrases(
        vocab, dict(zip((letters[0], letters[0] + letters[1], letters[1] * 3), weights, strict=True))
    )
    gains = [follow(phrases, p, c)[1] for p in range(len(phrases.lent)) for c in range(1, len(vocab))]
    assert max(0.0, *gains) <= phrases.most
    assert has_phrases(phrases)


def test_what_is_lent_grows_with_the_phrase_and_is_taken_back():
    phrases = build_phrases(SPACED, {"abba": 4.0})
    total, on_the_way = walked(SPACED, phrases, "abba")
    assert on_the_way == sorted(on_the_way) and 0.0 < on_the_way[0] < on_the_way[-1] < total == 4.0
    total, on_the_way = walked(SPACED, phrases, "abbé")
    assert on_the_way[2] > 0.0 and on_the_way[3] == total == 0.0
    total, on_the_way = walked(SPACED, phrases, "abb")
    assert on_the_way[2] > 0.0 and total == 0.0


def test_without_phrases_nothing_is_asked():
    for vocab in (SPACED, DENSE):
        phrases = build_phrases(vocab, {})
        assert not has_phrases(phrases) and phrases.most == 0.0
        assert walked(vocab, phrases, "") == (0.0, [])


@pytest.mark.parametrize("phrase", ["a", "b c", "e\u0301"])
def test_what_cannot_be_spelled_is_named(phrase):
    vocab = Vocab((BLANK, " ", "b", "é"))
    with pytest.raises(BadUtterance, match="unspellable") as caught:
        build_phrases(vocab, {"b": 1.0, phrase: 2.0})
    assert phrase in caught.value.detail
    with pytest.raises(BadUtterance, match="' ' in '你 好'"):
        build_phrases(DENSE, {"你 好": 1.0})


@pytest.mark.parametrize("weight", [math.nan, math.inf, -math.inf])
def test_weights_are_numbers(weight):
    with pytest.raises(DataError, match="'a b': expected a finite weight"):
        build_phrases(SPACED, {"a  b": weight})


def test_a_phrase_has_words_and_comes_once():
    with pytest.raises(DataError, match="without words"):
        build_phrases(SPACED, {" \t": 1.0})
    with pytest.raises(DataError, match="'a b' is given twice"):
        build_phrases(SPACED, {"a b": 1.0, "a  b": 1.0})


def heard(vocab, text, sure, seed=0):
    """An emission that says a text, with each symbol as sure as told, and anything else at random."""
    rng = np.random.default_rng(seed)
    labels = [i for s in vocab.encode(text) for i in (s, 0)]
    chances = rng.dirichlet(np.full(len(vocab), 0.3), size=len(labels)) * (1.0 - sure)
    chances[np.arange(len(labels)), labels] += sure
    return np.log(chances + 1e-9).astype(np.float32)


@pytest.mark.parametrize("pruning", [{"beam": 2}, {"beam": 64, "beam_gap": 6.0}, {"beam": 5000}], ids=str)
def test_a_phrase_that_was_misheard_is_found(pruning):
    """The last b sounded more like an a: the phrase decides, also where pruning sees to it that few texts go on."""
    lp = heard(SPACED, "é ab b", 0.9)
    lp[10, [2, 3]] = np.log([0.6, 0.3])
    plain = BeamSearch.make(SPACED, **pruning)(lp)[0]
    liked = BeamSearch.make(SPACED, hotwords={"ab b": 3.0}, **pruning)(lp)[0]
    avoided = BeamSearch.make(SPACED, hotwords={"ab a": -3.0}, **pruning)(lp)[0]
    assert (plain.text, liked.text, avoided.text) == ("é ab a", "é ab b", "é ab b")
    assert (plain.score, avoided.score) == (plain.am, avoided.am)
    assert liked.score == pytest.approx(liked.am + 3.0)


def test_a_phrase_that_was_not_said_is_not_heard():
    lp = heard(SPACED, "é ab a", 0.95)
    for phrase in ("b b", "éb", "ab ab", "aba"):
        assert BeamSearch.make(SPACED, beam=32, hotwords={phrase: 1.0})(lp)[0].text == "é ab a"


def test_characters_that_were_misheard_are_found():
    lp = heard(DENSE, "你好界", 0.8)
    lp[2, [2, 3]] = lp[2, [3, 2]]
    assert BeamSearch.make(DENSE, beam=8)(lp)[0].text == "你界界"
    assert BeamSearch.make(DENSE, beam=8, hotwords={"你好": 6.0})(lp)[0].text == "你好界"


def test_weight_zero_changes_no_score():
    lp = heard(SPACED, "a ab é b", 0.5, seed=3)
    for best in (1, 20):
        assert BeamSearch.make(SPACED, beam=40)(lp, best) == BeamSearch.make(
            SPACED, beam=40, hotwords={"a": 0.0, "é b": 0.0}
        )(lp, best)


def test_a_long_list():
    symbols = tuple(chr(0x4E00 + i) for i in range(5000))
    vocab = Vocab((BLANK, *symbols))
    wanted = {a + b: 1.0 for a, b in itertools.pairwise(symbols)}
    phrases = build_phrases(vocab, wanted)
    assert len(phrases.lent) == 1 + 4999 + 4999
    total, _ = walked(vocab, phrases, "".join(symbols[:100]))
    assert total == pytest.approx(99.0)
