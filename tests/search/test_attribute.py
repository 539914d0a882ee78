"""Every cause of an error, on emissions and language models constructed for it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ds2cli.errors import BadUtterance
from ds2cli.metrics.alignment import align
from ds2cli.search.attribute import attribute, error_regions, errors_as_fields, repair_region, unexplained_errors
from ds2cli.search.beam import BeamSearch
from ds2cli.search.text_score import ExactScorer
from ds2cli.text.vocab import BLANK, Vocab

VOCAB = Vocab((BLANK, " ", "a", "b", "c", "é"))
V = len(VOCAB)


def emission(*steps):
    """One step per argument: a symbol of probability 0.95, or a dict of shares of it; all symbols share the rest."""
    p = np.full((len(steps), V), 0.05 / V)
    for t, step in enumerate(steps):
        shares = step if isinstance(step, dict) else {step: 1.0}
        for symbol, share in shares.items():
            p[t, 0 if symbol == "" else VOCAB.symbols.index(symbol)] += 0.95 * share
    return np.log(p / p.sum(axis=1, keepdims=True)).astype(np.float32)


def steps_of(text):
    """Two steps per letter, then a blank."""
    return [step for c in text for step in (c, c, "")]


def scorer(lm=None, **settings):
    return ExactScorer(BeamSearch.build(VOCAB, lm, **({"beam": 500} | settings)), lm)


def hyp_and_causes(lp, ref, score, unit="word"):
    """The hypothesis of the scorer's own search, and the kinds and causes of its errors."""
    hyp = score.search(lp)[0].text
    return hyp, [(e.kind, e.cause) for e in attribute(lp, ref, hyp, score, unit).errors]


def test_acoustic_error(unigrams):
    score = scorer(unigrams(["ab", "ac"]), alpha=1.0)
    lp = emission(*steps_of("ab"))
    assert hyp_and_causes(lp, "ac", score) == ("ab", [("sub", "acoustic")])
    (error,) = attribute(lp, "ac", "ab", score).errors
    assert error.am < 0 and error.lm == pytest.approx(0.0, abs=1e-5)
    assert error.score == pytest.approx(error.am + error.lm)


def test_language_model_overrules_the_acoustics(unigrams):
    score = scorer(unigrams({"ab": 100.0, "ac": 1.0}), alpha=1.0)
    lp = emission("a", "", {"b": 0.4, "c": 0.6}, "")
    assert hyp_and_causes(lp, "ac", score) == ("ab", [("sub", "lm")])
    # with a smaller weight the acoustics decide, right or wrong
    assert hyp_and_causes(lp, "ac", scorer(score.lm, alpha=0.05)) == ("ac", [])
    assert hyp_and_causes(lp, "ab", scorer(score.lm, alpha=0.05)) == ("ac", [("sub", "acoustic")])


def test_word_bonus_counts_as_language_model(unigrams):
    score = scorer(unigrams(["a", "b", "ab"]), alpha=1.0, beta=10.0)
    lp = emission("a", {"": 0.8, " ": 0.2}, "b")
    assert hyp_and_causes(lp, "ab", score) == ("a b", [("sub", "lm"), ("ins", "lm")])


def test_out_of_vocabulary_word(unigrams):
    score = scorer(unigrams(["ab", "a", "b"]), alpha=1.0, unknown=-8.0)
    lp = emission("a", "", {"b": 0.4, "é": 0.6}, "")
    assert hyp_and_causes(lp, "aé", score) == ("ab", [("sub", "oov")])


def test_insertions_next_to_an_unknown_word_have_its_cause(unigrams):
    score = scorer(unigrams(["a", "b", "c", "ba"]), alpha=0.5, beta=3.0, unknown=-8.0)
    lp = emission("a", {" ": 0.4, "": 0.6}, "b", "", " ", "c", "")
    assert hyp_and_causes(lp, "ab c", score) == ("a b c", [("sub", "oov"), ("ins", "oov")])


def test_known_words_next_to_an_unknown_one_are_attributed_by_score(unigrams):
    score = scorer(unigrams(["a", "b", "c", "ba"]), alpha=0.1, unknown=-8.0)
    lp = emission(*steps_of("a b"))
    assert [e.cause for e in attribute(lp, "bé c", "a b", score).errors] == ["oov", "acoustic"]


def test_search_error_where_the_better_text_was_pruned(unigrams):
    lm = unigrams({"ab": 1.0, "cb": 1000.0})
    lp = emission({"a": 0.8, "c": 0.2}, "", "b", "")
    # with one symbol per step only the likelier first letter is tried, not the word that the language model prefers
    pruned = ExactScorer(BeamSearch.build(VOCAB, lm, alpha=1.0, prune_top=1), lm)
    assert hyp_and_causes(lp, "cb", pruned) == ("ab", [("sub", "search")])
    assert hyp_and_causes(lp, "cb", scorer(lm, alpha=1.0)) == ("cb", [])


def test_text_of_the_best_path_is_a_search_error_where_another_text_is_likelier():
    lp = emission({"a": 0.4, "": 0.6}, {"a": 0.4, "": 0.6})
    # P(a) = 1 - 0.36 - …, summed over three paths
    assert [e.cause for e in attribute(lp, "a", "", scorer()).errors] == ["search"]


def test_character_outside_the_alphabet(unigrams):
    lm = unigrams(["ab", "ba"])
    lp = emission(*steps_of("ab ba"))
    for score in (scorer(), scorer(lm, alpha=1.0)):
        errors = attribute(lp, "ab b4", "ab ba", score).errors
        assert [(e.ref, e.hyp, e.cause, e.score) for e in errors] == [("b4", "ba", "unspellable", None)]
        # nothing in its region can be scored, other regions can
        errors = attribute(lp, "x c ba aa", "ab ba", score).errors
        assert [e.cause for e in errors] == ["unspellable", "unspellable", errors[2].cause]
        assert errors[2].cause != "unspellable"


def test_regions_are_attributed_separately(unigrams):
    score = scorer(unigrams({"ab": 100.0, "ac": 1.0, "ba": 10.0}), alpha=1.0, beta=4.0)
    lp = emission("a", "", {"b": 0.4, "c": 0.6}, "", *steps_of(" ba "), *steps_of("ab"))
    assert hyp_and_causes(lp, "ac ba c", score) == ("ab ba ab", [("sub", "lm"), ("sub", "oov")])
    assert hyp_and_causes(lp, "ac ba ba", score)[1] == [("sub", "lm"), ("sub", "acoustic")]


def test_texts_without_words(unigrams):
    score = scorer(unigrams(["ab", "b"]), alpha=1.0)
    silence, speech = emission("", ""), emission(*steps_of("ab"))
    assert hyp_and_causes(silence, "", score) == ("", [])
    assert hyp_and_causes(silence, "ab", score) == ("", [("del", "acoustic")])
    assert hyp_and_causes(speech, "", score) == ("ab", [("ins", "acoustic")])
    no_steps = np.empty((0, V), dtype=np.float32)
    assert hyp_and_causes(no_steps, "b", score) == ("", [("del", "acoustic")])


def test_reference_too_long_for_its_emission_has_no_score():
    (error,) = attribute(emission("a", "b"), "abababab", "ab", scorer()).errors
    assert (error.cause, error.am, error.score) == ("acoustic", None, None)
    assert errors_as_fields([error]) == [
        {"ref": "abababab", "hyp": "ab", "kind": "sub", "cause": "acoustic", "lm": 0.0}
    ]


def test_equal_scores_are_not_a_search_error():
    lp = emission({"a": 0.5, "b": 0.5})
    assert [e.cause for e in attribute(lp, "a", "b", scorer()).errors] == ["acoustic"]


def test_characters_as_the_unit():
    vocab = Vocab((BLANK, "你", "好", "吗"))
    p = np.full((5, 4), 0.05)
    p[np.arange(5), [1, 0, 2, 0, 3]] = 0.85
    score = ExactScorer(BeamSearch.build(vocab, beam=100))
    errors = attribute(np.log(p).astype(np.float32), "你吗吗x", "你好吗", score, "char").errors
    assert [(e.ref, e.hyp, e.cause) for e in errors] == [("吗", "好", "acoustic"), ("x", None, "unspellable")]


def test_hypothesis_of_another_alphabet_is_refused():
    with pytest.raises(BadUtterance, match="unspellable"):
        attribute(emission("a"), "a", "x", scorer())


def test_errors_without_an_emission_are_unexplained():
    assert [(e.kind, e.cause) for e in unexplained_errors("a b", "a c d")] == [
        ("sub", "unexplained"),
        ("ins", "unexplained"),
    ]


def test_error_regions_and_their_repairs():
    steps = align(list("abcdef"), list("axcyzfg"))
    regions = list(error_regions(steps))
    assert [repair_region(steps, *region) for region in regions] == ["a b c y z f g", "a x c d e f g", "a x c y z f"]
    assert list(error_regions([])) == []
    assert list(error_regions(align(["a"], ["a"]))) == []


@pytest.mark.parametrize("seed", range(30))
def test_unpruned_search_makes_no_search_errors(unigrams, seed):
    rng = np.random.default_rng(seed)
    lm = unigrams({"a": 3.0, "ab": 1.0, "b": 1.0, "cé": 0.2}) if seed % 3 else None
    score = scorer(lm, beam=20000, alpha=float(rng.uniform(0, 2)), beta=float(rng.normal()), unknown=-1.0)
    lp = np.log(rng.dirichlet(np.full(V, 0.5), size=4) + 1e-12).astype(np.float32)
    ref = " ".join("".join(rng.choice(list("abcé"), rng.integers(1, 3))) for _ in range(rng.integers(0, 3)))
    hyp = score.search(lp)[0].text
    attribution = attribute(lp, ref, hyp, score)
    assert attribution.hypothesis.score == pytest.approx(score.search(lp)[0].score, abs=1e-6)
    assert "search" not in {e.cause for e in attribution.errors}
    for e in attribution.errors:
        assert e.cause == "acoustic" or lm is not None
        assert e.score is None or e.score <= 1e-6
        assert e.am is None or (e.cause != "lm" or e.am >= 0)
    assert len(attribution.errors) == sum(a != b for a, b in align(ref.split(), hyp.split()))
    assert math.isfinite(attribution.hypothesis.score)


def test_an_exact_tie_of_the_acoustics_is_decided_by_the_language_model(unigrams):
    lp = emission("a", "", {"b": 0.5, "c": 0.5}, "")
    score = scorer(unigrams({"ab": 2.0, "ac": 1.0}), alpha=1.0)
    (error,) = attribute(lp, "ac", "ab", score).errors
    assert error.am == 0.0 and error.score < 0 and error.cause == "lm"


def test_an_exact_tie_of_the_scores_is_acoustic(unigrams):
    lp = emission("a", "", {"b": 0.5, "c": 0.5}, "")
    for lm in (None, unigrams(["ab", "ac"])):
        (error,) = attribute(lp, "ac", "ab", scorer(lm, alpha=0.0 if lm is None else 1.0)).errors
        assert (error.am, error.score, error.cause) == (0.0, 0.0, "acoustic")
