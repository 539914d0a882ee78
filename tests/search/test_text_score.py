"""The exact score of a given text, compared with the search's own score."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from ds2cli.errors import BadUtterance
from ds2cli.lm.query import NgramLm
from ds2cli.search.beam import BeamSearch
from ds2cli.search.text_score import ExactScorer
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


def emission(seed, T, concentration=1.0):
    return np.log(np.random.default_rng(seed).dirichlet(np.full(4, concentration), size=T) + 1e-12).astype(np.float32)


@pytest.mark.parametrize("kind", ["none", "word", "char"])
@pytest.mark.parametrize("end", [True, False])
@pytest.mark.parametrize("T", [0, 1, 3, 6])
def test_equals_the_score_of_an_unpruned_search(models, kind, end, T):
    lp = emission(T, T)
    search = BeamSearch.build(VOCAB, models[kind], beam=10000, sentence_end=end, **WEIGHTS)
    score = ExactScorer(search, models[kind])
    for hypothesis in search(lp, best=10000):
        exact = score(lp, hypothesis.text)
        assert (exact.score, exact.am, exact.lm) == pytest.approx(
            (hypothesis.score, hypothesis.am, hypothesis.lm), abs=1e-6
        )


@pytest.mark.parametrize("kind", ["none", "word", "char"])
@pytest.mark.parametrize("seed", range(3))
def test_pruned_search_never_scores_higher(models, kind, seed):
    lp = emission(seed, 60, concentration=0.3)
    search = BeamSearch.build(VOCAB, models[kind], beam=16, prune_mass=0.98, **WEIGHTS)
    score = ExactScorer(search, models[kind])
    for hypothesis in search(lp, best=16):
        exact = score(lp, hypothesis.text)
        assert exact.lm == pytest.approx(hypothesis.lm, abs=1e-6)
        assert exact.score >= hypothesis.score - 1e-6


@pytest.mark.parametrize("kind", ["none", "word", "char"])
@pytest.mark.parametrize("seed", range(3))
def test_equals_a_wide_beam_over_many_steps(models, kind, seed):
    rng = np.random.default_rng(seed)
    p = np.full((13, 4), 0.0)
    for row in p:  # at most 2^13 paths
        row[rng.choice(4, 2, replace=False)] = rng.dirichlet([0.5, 0.5])
    with np.errstate(divide="ignore"):
        lp = np.log(p).astype(np.float32)
    search = BeamSearch.build(VOCAB, models[kind], beam=9000, **WEIGHTS)
    score = ExactScorer(search, models[kind])
    hypotheses = search(lp, best=200)
    assert len(hypotheses) > 50
    for h in hypotheses:
        exact = score(lp, h.text)
        assert (exact.score, exact.am, exact.lm) == pytest.approx((h.score, h.am, h.lm), abs=1e-6)


@pytest.mark.parametrize("kind", ["none", "word", "char"])
def test_hotwords_and_unknown_letters_are_included(models, kind):
    lp = emission(7, 6)
    hotwords = {"é": 2.0, "éa é": -1.5, "aa": 3.0}
    search = BeamSearch.build(VOCAB, models[kind], beam=10000, unknown_letter=-0.7, hotwords=hotwords, **WEIGHTS)
    score = ExactScorer(search, models[kind])
    for hypothesis in search(lp, best=10000):
        assert score(lp, hypothesis.text).score == pytest.approx(hypothesis.score, abs=1e-6)


@pytest.mark.parametrize("kind", ["none", "word", "char"])
@pytest.mark.parametrize("settings", [{"words": ["éa", "aé", "a"]}, {"unknown": -math.inf}], ids=str)
def test_forbidden_words_score_minus_infinity(models, kind, settings):
    lp = emission(4, 6)
    search = BeamSearch.build(VOCAB, models[kind], **{"beam": 10000, "unknown_letter": -0.7, **WEIGHTS, **settings})
    score = ExactScorer(search, models[kind])
    hypotheses = {h.text: h for h in search(lp, best=10000)}
    for text in ("".join(t) for t in itertools.product(" aé", repeat=4)):
        text = " ".join(text.split())
        exact = score(lp, text)
        assert exact.score == pytest.approx(hypotheses[text].score if text in hypotheses else -math.inf, abs=1e-6)
        assert math.isfinite(exact.lm) and not math.isnan(exact.score)


def test_penalty_of_unknown_words(models):
    lp = emission(1, 12)
    plain = ExactScorer(BeamSearch.build(VOCAB, models["word"], alpha=0.7, beta=1.3), models["word"])
    penalized = ExactScorer(BeamSearch.build(VOCAB, models["word"], alpha=0.7, beta=1.3, unknown=-5.0), models["word"])
    for text, unknown in (("a aé", 0), ("é a", 1), ("éa é aa", 3), ("", 0)):
        assert penalized(lp, text).score - plain(lp, text).score == pytest.approx(-5.0 * unknown)
        assert plain(lp, text).lm == pytest.approx(models["word"].sentence_log10(text) * math.log(10), abs=1e-5)


def test_spaces_are_collapsed_as_in_the_search(models):
    lp = emission(2, 12)
    for lm in models.values():
        score = ExactScorer(BeamSearch.build(VOCAB, lm, **WEIGHTS), lm)
        assert score(lp, "  a \té ") == score(lp, "a é")


def test_can_spell_and_in_vocabulary(models):
    words = ExactScorer(BeamSearch.build(VOCAB, models["word"]), models["word"])
    letters = ExactScorer(BeamSearch.build(VOCAB, models["char"]), models["char"])
    without_lm = ExactScorer(BeamSearch.build(VOCAB))
    assert [words.can_spell(text) for text in ("aé", "", "ab", "é", "e\u0301")] == [True, True, False, True, False]
    assert [words.in_vocabulary(text) for text in ("aé", "", "a éé", "éa", "</s>", "<unk>")] == [True] * 3 + [False] * 3
    assert [letters.in_vocabulary(text) for text in ("a", " ", "a a", "é")] == [True, True, True, False]
    assert without_lm.in_vocabulary("anything")
    with pytest.raises(BadUtterance, match="unspellable"):
        words(emission(1, 5), "b")


@pytest.mark.long
def test_alphabet_without_a_space():
    lp = emission(3, 5)[:, [0, 2, 3]]
    search = BeamSearch.build(Vocab((BLANK, "你", "好")), beam=1000)
    score = ExactScorer(search)
    for hypothesis in search(lp, best=1000):
        assert score(lp, hypothesis.text).score == pytest.approx(hypothesis.score, abs=1e-6)
    for text in map("".join, itertools.product("你好", repeat=5)):
        assert (score(lp, text).am > -np.inf) == all(a != b for a, b in itertools.pairwise(text))
