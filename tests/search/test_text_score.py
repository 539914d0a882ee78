"""The score of a given text beside the one that a search gives it."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from ds2cli.errors import BadUtterance
from ds2cli.lm.query import NgramLm
from ds2cli.search.beam import BeamSearch
from ds2cli.search.text_score import TextScore
from ds2cli.text.vocab import BLANK, Vocab

VOCAB = Vocab((BLANK, " ", "a", "é"))
WORDS = """\\data\\
ngram 1=6
ngram 2=4

\\1-grams:
-1.2\t<unk>\t0
0\t<s>\t-0.4
-0.9\t</s>\t0
-0.6\ta\t-0.3
-0.8\taé\t-0.2
-1.1\téé\t-0.1

\\2-grams:
-0.3\t<s> a
-0.5\ta aé
-0.2\taé </s>
-0.7\téé a

\\end\\
"""
LETTERS = """\\data\\
ngram 1=5
ngram 2=2

\\1-grams:
-1.5\t<unk>\t0
0\t<s>\t-0.2
-0.9\t</s>\t0
-0.5\ta\t-0.3
-0.6\t<space>\t-0.1

\\2-grams:
-0.2\t<s> a
-0.4\ta <space>

\\end\\
"""
WEIGHTS = {"alpha": 0.7, "beta": 1.3, "unknown": -0.5}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lm")
    loaded = {"none": None}
    for name, text in (("word", WORDS), ("char", LETTERS)):
        (folder / name).write_text(text, "utf-8")
        loaded[name] = NgramLm.load(str(folder / name))
    return loaded


def emission(seed, T, sharp=1.0):
    return np.log(np.random.default_rng(seed).dirichlet(np.full(4, sharp), size=T) + 1e-12).astype(np.float32)


@pytest.mark.parametrize("kind", ["none", "word", "char"])
@pytest.mark.parametrize("end", [True, False])
@pytest.mark.parametrize("T", [0, 1, 3, 6])
def test_it_is_the_score_of_a_search_that_prunes_nothing(models, kind, end, T):
    lp = emission(T, T)
    search = BeamSearch.make(VOCAB, models[kind], beam=10000, sentence_end=end, **WEIGHTS)
    score = TextScore(search, models[kind])
    for found in search(lp, best=10000):
        mine = score(lp, found.text)
        assert (mine.score, mine.am, mine.lm) == pytest.approx((found.score, found.am, found.lm), abs=1e-6)


@pytest.mark.parametrize("kind", ["none", "word", "char"])
@pytest.mark.parametrize("seed", range(3))
def test_a_search_that_prunes_gives_no_text_more(models, kind, seed):
    lp = emission(seed, 60, sharp=0.3)
    search = BeamSearch.make(VOCAB, models[kind], beam=16, prune_mass=0.98, **WEIGHTS)
    score = TextScore(search, models[kind])
    for found in search(lp, best=16):
        mine = score(lp, found.text)
        assert mine.lm == pytest.approx(found.lm, abs=1e-6)
        assert mine.score >= found.score - 1e-6


@pytest.mark.parametrize("kind", ["none", "word", "char"])
@pytest.mark.parametrize("seed", range(3))
def test_a_wide_beam_over_many_steps(models, kind, seed):
    rng = np.random.default_rng(seed)
    p = np.full((13, 4), 0.0)
    for row in p:  # no more than 2^13 paths
        row[rng.choice(4, 2, replace=False)] = rng.dirichlet([0.5, 0.5])
    with np.errstate(divide="ignore"):
        lp = np.log(p).astype(np.float32)
    search = BeamSearch.make(VOCAB, models[kind], beam=9000, **WEIGHTS)
    score = TextScore(search, models[kind])
    found = search(lp, best=200)
    assert len(found) > 50
    for h in found:
        mine = score(lp, h.text)
        assert (mine.score, mine.am, mine.lm) == pytest.approx((h.score, h.am, h.lm), abs=1e-6)


@pytest.mark.parametrize("kind", ["none", "word", "char"])
def test_phrases_and_letters_of_unknown_words_are_in_it(models, kind):
    lp = emission(7, 6)
    hotwords = {"é": 2.0, "éa é": -1.5, "aa": 3.0}
    search = BeamSearch.make(VOCAB, models[kind], beam=10000, unknown_letter=-0.7, hotwords=hotwords, **WEIGHTS)
    score = TextScore(search, models[kind])
    for found in search(lp, best=10000):
        assert score(lp, found.text).score == pytest.approx(found.score, abs=1e-6)


@pytest.mark.parametrize("kind", ["none", "word", "char"])
@pytest.mark.parametrize("settings", [{"words": ["éa", "aé", "a"]}, {"unknown": -math.inf}], ids=str)
def test_words_that_may_not_be_written_have_no_score(models, kind, settings):
    lp = emission(4, 6)
    search = BeamSearch.make(VOCAB, models[kind], **{"beam": 10000, "unknown_letter": -0.7, **WEIGHTS, **settings})
    score = TextScore(search, models[kind])
    found = {h.text: h for h in search(lp, best=10000)}
    for text in ("".join(t) for t in itertools.product(" aé", repeat=4)):
        text = " ".join(text.split())
        mine = score(lp, text)
        assert mine.score == pytest.approx(found[text].score if text in found else -math.inf, abs=1e-6)
        assert math.isfinite(mine.lm) and not math.isnan(mine.score)


def test_the_price_of_words_the_model_does_not_know(models):
    lp = emission(1, 12)
    plain = TextScore(BeamSearch.make(VOCAB, models["word"], alpha=0.7, beta=1.3), models["word"])
    dear = TextScore(BeamSearch.make(VOCAB, models["word"], alpha=0.7, beta=1.3, unknown=-5.0), models["word"])
    for text, unknown in (("a aé", 0), ("é a", 1), ("éa é aa", 3), ("", 0)):
        assert dear(lp, text).score - plain(lp, text).score == pytest.approx(-5.0 * unknown)
        assert plain(lp, text).lm == pytest.approx(models["word"].sentence_log10(text) * math.log(10), abs=1e-5)


def test_spaces_are_squeezed_as_the_search_squeezes_them(models):
    lp = emission(2, 12)
    for lm in models.values():
        score = TextScore(BeamSearch.make(VOCAB, lm, **WEIGHTS), lm)
        assert score(lp, "  a \té ") == score(lp, "a é")


def test_what_can_be_spelled_and_what_is_known(models):
    words = TextScore(BeamSearch.make(VOCAB, models["word"]), models["word"])
    letters = TextScore(BeamSearch.make(VOCAB, models["char"]), models["char"])
    alone = TextScore(BeamSearch.make(VOCAB))
    assert [words.spells(text) for text in ("aé", "", "ab", "é", "e\u0301")] == [True, True, False, True, False]
    assert [words.knows(text) for text in ("aé", "", "a éé", "éa", "</s>", "<unk>")] == [True] * 3 + [False] * 3
    assert [letters.knows(text) for text in ("a", " ", "a a", "é")] == [True, True, True, False]
    assert alone.knows("anything")
    with pytest.raises(BadUtterance, match="unspellable"):
        words(emission(1, 5), "b")


def test_an_alphabet_without_a_space():
    lp = emission(3, 5)[:, [0, 2, 3]]
    search = BeamSearch.make(Vocab((BLANK, "你", "好")), beam=1000)
    score = TextScore(search)
    for found in search(lp, best=1000):
        assert score(lp, found.text).score == pytest.approx(found.score, abs=1e-6)
    for text in map("".join, itertools.product("你好", repeat=5)):
        assert (score(lp, text).am > -np.inf) == all(a != b for a, b in itertools.pairwise(text))
