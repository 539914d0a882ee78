"""Edge cases of the beam search over emissions; tests/kernels/test_beam.py compares its results with the reference."""

from __future__ import annotations

import itertools
import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ds2cli.errors import DataError
from ds2cli.kernels.beam_ref import beam_search_ref
from ds2cli.search.beam import BeamSearch
from ds2cli.text.vocab import BLANK, Vocab

VOCAB = Vocab((BLANK, " ", "a", "é"))
UNSPACED = Vocab((BLANK, "你", "好", "界"))


@pytest.fixture
def models(unigrams):
    return {"none": None, "word": unigrams(["a", "aé", "éé"]), "char": unigrams(["a", "é", "<space>"])}


def emission(seed, T, V=4, concentration=1.0):
    return np.log(np.random.default_rng(seed).dirichlet(np.full(V, concentration), size=T) + 1e-12).astype(np.float32)


def emission_of_path(*path, V=4):
    lp = np.full((len(path), V), -np.inf, dtype=np.float32)
    lp[np.arange(len(path)), path] = 0.0
    return lp


@pytest.mark.parametrize("kind", ["none", "word", "char"])
def test_no_steps_give_the_empty_text(models, kind):
    for hotwords in ({}, {"a": 2.0}):
        search = BeamSearch.build(VOCAB, models[kind], alpha=1.0, sentence_end=False, hotwords=hotwords)
        (only,) = search(np.empty((0, 4), dtype=np.float32), best=5)
        assert (only.text, only.am, only.score) == ("", 0.0, 0.0)


@pytest.mark.parametrize("kind", ["none", "word", "char"])
def test_one_step_gives_each_symbol(models, kind):
    lp = np.log(np.array([[0.1, 0.2, 0.3, 0.4]], dtype=np.float32))
    hypotheses = {h.text: math.exp(h.am) for h in BeamSearch.build(VOCAB, models[kind])(lp, best=9)}
    assert hypotheses == pytest.approx({"": 0.3, "a": 0.3, "é": 0.4})


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((0, 0, 0), ""),
        ((2,), "a"),
        ((2, 2, 2), "a"),
        ((2, 0, 2), "aa"),
        ((1,), ""),
        ((1, 0, 1), ""),
        ((1, 2, 1, 0, 1, 3, 1), "a é"),
        ((1, 1, 2, 1, 1, 2), "a a"),
        ((2, 1, 0, 1, 0, 1, 0), "a"),
    ],
)
def test_paths_of_probability_one_are_decoded(models, path, text):
    for lm in models.values():
        for pruning in (
            {},
            {"beam": 1},
            {"prune_top": 1},
            {"prune_mass": 0.5},
            {"beam_gap": 0.5},
            {"prune_logp": -0.1},
        ):
            (only,) = BeamSearch.build(VOCAB, lm, **{"beam": 4, **pruning})(emission_of_path(*path), best=3)
            assert (only.text, only.am) == (text, 0.0)


def test_alphabet_without_a_space():
    search = BeamSearch.build(UNSPACED, beam=4)
    assert search(emission_of_path(1, 2, 2, 0, 2, 3))[0].text == "你好好界"
    assert search(emission_of_path(1, 0, 1))[0].text == "你你"


def test_smallest_alphabets():
    blank_only = BeamSearch.build(Vocab((BLANK,)))
    (only,) = blank_only(np.zeros((3, 1), dtype=np.float32), best=2)
    assert (only.text, only.am) == ("", 0.0)
    one_symbol = BeamSearch.build(Vocab((BLANK, "ж")), beam=8)
    best = one_symbol(np.log(np.full((3, 2), 0.5, dtype=np.float32)), best=8)
    assert {h.text: round(math.exp(h.am) * 8) for h in best} == {"ж": 6, "": 1, "жж": 1}
    space = BeamSearch.build(Vocab((BLANK, " ")), beam=8)
    (only,) = space(np.log(np.full((3, 2), 0.5, dtype=np.float32)), best=8)
    assert only.text == "" and only.am == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("kind", ["none", "word", "char"])
@pytest.mark.parametrize("hotwords", [None, {"a é": 2.0, "é": -1.0}], ids=["", "hot"])
@pytest.mark.parametrize("gap", [math.inf, 5.0, 0.0])
def test_step_of_probability_zero_gives_one_text_without_nan(models, kind, hotwords, gap):
    for step in (0, 4, 9):
        lp = emission(1, 10)
        lp[step] = -np.inf
        search = BeamSearch.build(VOCAB, models[kind], alpha=0.5, beta=1.0, beam=6, beam_gap=gap, hotwords=hotwords)
        (only,) = search(lp, best=6)
        assert only.am == only.score == -math.inf and not math.isnan(only.lm)


@pytest.mark.parametrize("kind", ["none", "word", "char"])
@pytest.mark.parametrize("seed", range(5))
def test_scores_are_finite_where_many_symbols_have_probability_zero(models, kind, seed):
    rng = np.random.default_rng(seed)
    lp = emission(seed, 60)
    lp[rng.random(lp.shape) < 0.4] = -np.inf
    lp[:, 0] = np.maximum(lp[:, 0], -20.0)
    for settings in ({}, {"unknown": -math.inf}, {"words": ["a", "éa"]}, {"beam_gap": 3.0}, {"hotwords": {"a": 1.0}}):
        for h in BeamSearch.build(VOCAB, models[kind], **{"alpha": 0.5, "beam": 10, **settings})(lp, best=10):
            assert math.isfinite(h.score) and math.isfinite(h.am) and math.isfinite(h.lm)


def test_fewer_texts_than_requested():
    lp = emission(2, 20)
    hypotheses = BeamSearch.build(VOCAB, beam=3)(lp, best=50)
    assert 1 <= len(hypotheses) <= 3
    assert BeamSearch.build(VOCAB, beam=1)(lp, best=50)[0].am <= hypotheses[0].am


@pytest.mark.parametrize("kind", ["none", "word", "char"])
def test_shorter_n_best_list_is_a_prefix_of_a_longer_one(models, kind):
    search = BeamSearch.build(VOCAB, models[kind], alpha=0.6, beta=0.4, beam=30)
    lp = emission(6, 50)
    nbest = search(lp, best=30)
    for count in (1, 2, 10):
        assert search(lp, best=count) == nbest[:count]
    assert len({h.text for h in nbest}) == len(nbest)
    assert all(a.score >= b.score for a, b in itertools.pairwise(nbest))


def test_order_of_ties_is_deterministic():
    lp = np.log(np.full((6, 4), 0.25, dtype=np.float32))
    search = BeamSearch.build(VOCAB, beam=7)
    first = search(lp, best=7)
    assert len({round(h.score, 9) for h in first}) < 7
    with ThreadPoolExecutor(2) as pool:
        assert all(hypotheses == first for hypotheses in pool.map(lambda _: search(lp, best=7), range(6)))


def test_ties_keep_the_symbol_with_the_lower_index():
    lp = np.log(np.array([[0.4, 0.2, 0.2, 0.2]], dtype=np.float32))
    assert [h.text for h in BeamSearch.build(UNSPACED, beam=2)(lp, best=4)] == ["", "你"]
    assert [h.text for h in BeamSearch.build(UNSPACED, beam=9, prune_top=3)(lp, best=4)] == ["", "你", "好"]


@pytest.mark.parametrize("kind", ["none", "word", "char"])
def test_with_options_equals_building_with_these_options(models, kind):
    lp = emission(3, 30, concentration=0.3)
    weights = {"alpha": 0.9, "beta": -0.5, "unknown": -2.0, "unknown_letter": -0.3, "beam": 9, "beam_gap": 7}
    search = BeamSearch.build(VOCAB, models[kind], **weights)
    assert BeamSearch.build(VOCAB, models[kind]).with_options(**weights)(lp, best=5) == search(lp, best=5)
    assert search.with_options(beam=2.0).options.beam == 2


def test_unknown_letters_are_counted_after_the_longest_known_prefix(models):
    lm = models["word"]
    lp = emission_of_path(2, 3, 2, 0, 1, 3, 2)
    plain = BeamSearch.build(VOCAB, lm, unknown=-1.0)(lp)[0]
    penalized = BeamSearch.build(VOCAB, lm, unknown=-1.0, unknown_letter=-0.25)(lp)[0]
    # the a after aé and the a after é
    assert plain.text == penalized.text == "aéa éa"
    assert (plain.score, penalized.score) == pytest.approx((-2.0, -2.5))


def test_forbidding_unknown_words_leaves_only_known_ones(models):
    lp = emission(5, 40, concentration=0.5)
    hypotheses = BeamSearch.build(VOCAB, models["word"], unknown=-math.inf, beam=50)(lp, best=50)
    assert len(hypotheses) > 10
    assert {w for h in hypotheses for w in h.text.split()} <= {"a", "aé", "éé"}
    assert all(math.isfinite(h.score) for h in hypotheses)


@pytest.mark.parametrize("kind", ["none", "word", "char"])
@pytest.mark.parametrize("seed", range(5))
def test_word_list_restricts_the_output(models, kind, seed):
    lp = emission(seed, 40, concentration=0.5)
    listed = ["é", "aa", "éaé"]
    hypotheses = BeamSearch.build(VOCAB, models[kind], alpha=0.3, beam=50, words=listed)(lp, best=50)
    assert {w for h in hypotheses for w in h.text.split()} <= set(listed)
    assert all(math.isfinite(h.score) for h in hypotheses)


def test_word_list_corrects_a_misrecognized_word():
    lp = np.log(np.full((5, 4), 0.02, dtype=np.float32))
    for t, probs in enumerate([(0.02, 0.02, 0.9, 0.06), (0.9, 0.02, 0.04, 0.04), (0.02, 0.02, 0.6, 0.36)]):
        lp[t] = np.log(probs)
    lp[3:, 0] = np.log(0.94)
    assert BeamSearch.build(VOCAB)(lp)[0].text == "aa"
    assert BeamSearch.build(VOCAB, words=["aé", "éa"])(lp)[0].text == "aé"


def test_words_without_a_space_in_the_alphabet_are_refused(unigrams):
    with pytest.raises(DataError, match="no space"):
        BeamSearch.build(UNSPACED, unigrams(["你好", "好界"]))
    with pytest.raises(DataError, match="no space"):
        BeamSearch.build(UNSPACED, words=["你好"])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("listed", [None, ["ab", "bb"]])
def test_without_a_space_each_text_is_one_word_of_the_model_or_the_list(unigrams, seed, listed):
    vocab, lp = Vocab((BLANK, "a", "b")), emission(seed, 5, 3)
    lm = unigrams({"ab": 6.0, "ba": 1.0, "a": 3.0})
    for model in (lm, None):
        search = BeamSearch.build(
            vocab, model, alpha=0.7, beta=0.5, unknown=-1.0, unknown_letter=-0.5, beam=500, words=listed
        )
        found = search(lp, best=500)
        expected = beam_search_ref(lp, search.task, 500)
        assert {h.text: pytest.approx(h.score, abs=1e-6) for h in found} == {
            vocab.decode(prefix): score for prefix, score, _, _ in expected
        }
        if listed is not None:
            assert {h.text for h in found} <= {"", *listed} and {"ab"} <= {h.text for h in found}
    closed = BeamSearch.build(vocab, lm, alpha=0.7, unknown=-math.inf, beam=500, words=listed)(lp, best=500)
    assert {h.text for h in closed} <= ({"", "ab", "ba", "a"} if listed is None else {"", *listed})


def test_character_model_of_a_language_without_spaces(unigrams):
    lm = unigrams({"你": 1.0, "好": 8.0, "界": 1.0})
    lp = np.log(np.array([[0.1, 0.8, 0.05, 0.05], [0.1, 0.05, 0.4, 0.45]], dtype=np.float32))
    assert BeamSearch.build(UNSPACED, lm)(lp)[0].text == "你界"
    best = BeamSearch.build(UNSPACED, lm, alpha=0.5, beta=2.0)(lp)[0]
    assert best.text == "你好"
    # beta counts characters
    assert best.score == pytest.approx(best.am + 0.5 * best.lm + 4.0)


@pytest.mark.parametrize("best", [1, 2, 3, 4])
def test_n_best_list_has_distinct_texts_where_one_text_has_several_spellings(best):
    vocab = Vocab((BLANK, "a", "ab", "b", "c"))
    # in order: `a`, then `a b` and `ab`, two spellings of one text, then `ab b`
    p = np.array([[0.01, 0.6, 0.36, 0.02, 0.01], [0.5, 0.01, 0.02, 0.45, 0.02]], dtype=np.float32)
    search = BeamSearch.build(vocab, beam=16)
    hypotheses = search(np.log(p), best=best)
    assert [h.text for h in hypotheses][:3] == ["a", "ab", "abb"][:best] and len({h.text for h in hypotheses}) == best
    assert hypotheses == search(np.log(p), best=16)[:best]
