"""Confidences of words, compared with sums over all paths."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from ds2cli.search.align import align_labels
from ds2cli.search.beam import BeamSearch
from ds2cli.search.confidence import LOWEST, Evidence, weigh_evidence
from ds2cli.search.greedy import GreedySearch
from ds2cli.search.hypothesis import Hypothesis
from ds2cli.text.vocab import BLANK, Vocab

VOCAB = Vocab((BLANK, " ", "a", "b"))


def emission(path, prob=0.91):
    p = np.full((len(path), len(VOCAB)), (1 - prob) / (len(VOCAB) - 1), np.float32)
    p[np.arange(len(path)), path] = prob
    return np.log(p)


def uncertain(seed, steps):
    p = np.random.default_rng(seed).dirichlet(np.full(len(VOCAB), 0.5), steps) + 1e-4
    return np.log(p / p.sum(1, keepdims=True)).astype(np.float32)


def hypothesis(text, score=0.0):
    return Hypothesis(text, score, score, 0.0, tuple(VOCAB.encode(text)))


def weigh(log_probs, *hypotheses):
    alignment = align_labels(log_probs, hypotheses[0].labels, VOCAB, 0.02)
    return weigh_evidence(log_probs, alignment, hypotheses)


def sum_of_paths(log_probs, labels):
    """The probability of all paths that spell the labels."""
    total = 0.0
    for path in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        if [symbol for symbol, _ in itertools.groupby(path) if symbol] == list(labels):
            total += np.exp(sum(float(log_probs[t, symbol]) for t, symbol in enumerate(path)))
    return total


def test_a_word_has_the_probability_of_all_paths_between_its_spaces():
    #                0  1  2  3  4  5  6
    path = np.array([2, 2, 0, 1, 3, 1, 2])
    log_probs = emission(path)
    alignment = align_labels(log_probs, VOCAB.encode("a b a"), VOCAB, 0.02)
    assert [(s.labels, s.steps) for s in alignment.spans] == [
        (slice(0, 2), slice(0, 4)),
        (slice(1, 4), slice(3, 6)),
        (slice(3, 5), slice(5, 7)),
    ]
    evidence = weigh(log_probs, hypothesis("a b a"))
    expected = [sum_of_paths(log_probs[0:4], [2, 1]), sum_of_paths(log_probs[3:6], [1, 3, 1]), 0.91**2]
    np.testing.assert_allclose(np.exp(evidence.log_probs), expected, rtol=1e-4)
    np.testing.assert_array_equal(evidence.shares, 1.0)
    np.testing.assert_allclose(evidence.confidences(1.0), expected, rtol=1e-4)
    np.testing.assert_allclose(evidence.confidences(0.5), np.sqrt(expected), rtol=1e-4)


@pytest.mark.parametrize("seed", range(20))
def test_the_words_of_any_emission(seed):
    log_probs = uncertain(seed, 6)
    (found,) = GreedySearch(VOCAB)(log_probs)
    evidence = weigh(log_probs, found)
    labels = np.array(found.labels)
    spans = align_labels(log_probs, found.labels, VOCAB, 0.02).spans
    assert len(spans) == len(found.text.split())
    for logp, (part, steps) in zip(evidence.log_probs, spans, strict=bool(spans)):
        assert np.exp(logp) == pytest.approx(sum_of_paths(log_probs[steps], labels[part]), rel=1e-3)
    confidences = evidence.confidences(1.0)
    assert len(confidences) == max(1, len(spans)) and (confidences > 0).all() and (confidences <= 1).all()


def test_the_share_is_that_of_the_hypotheses_with_the_same_word():
    log_probs = emission(np.array([2, 0, 1, 3, 0]))
    scores = [-1.0, -2.0, -3.0, -9.0]
    texts = ["a b", "a a", "b", "a"]
    evidence = weigh(log_probs, *map(hypothesis, texts, scores))
    weights = np.exp(np.array(scores) / 2)
    weights /= weights.sum()
    np.testing.assert_allclose(evidence.shares, [weights[[0, 1, 3]].sum(), weights[[0, 2]].sum()], rtol=1e-9)
    np.testing.assert_allclose(evidence.confidences(0.0), evidence.shares)
    # impossible hypotheses change nothing
    more = weigh(log_probs, *map(hypothesis, texts, scores), hypothesis("b b", -np.inf))
    np.testing.assert_array_equal(more.shares, evidence.shares)


def test_an_empty_text_has_the_probability_that_nothing_was_said():
    log_probs = emission(np.zeros(3, int))
    evidence = weigh(log_probs, hypothesis("", -1.0), hypothesis("a", -1.0))
    np.testing.assert_allclose(np.exp(evidence.log_probs), [0.91**3], rtol=1e-5)
    np.testing.assert_allclose(evidence.confidences(1.0), [0.91**3 / 2], rtol=1e-5)
    nothing = weigh(np.empty((0, len(VOCAB)), np.float32), hypothesis(""))
    np.testing.assert_array_equal(nothing.confidences(1.0), [1.0])


def test_one_step():
    evidence = weigh(emission(np.array([2])), hypothesis("a"))
    np.testing.assert_allclose(evidence.confidences(1.0), [0.91], rtol=1e-5)


def test_bounds():
    evidence = Evidence(np.array([-1e4, 0.0]), np.array([1.0, 1.0]))
    assert evidence.confidences(1.0).tolist() == [LOWEST, 1.0]
    damaged = np.full((3, len(VOCAB)), 200, np.float32)
    assert weigh(damaged, hypothesis("a")).confidences(1.0).tolist() <= [1.0]


def test_a_script_without_spaces_has_one_word():
    vocab = Vocab((BLANK, "你", "好"))
    log_probs = np.log(np.array([[0.1, 0.8, 0.1], [0.1, 0.1, 0.8]], np.float32))
    hypotheses = BeamSearch.build(vocab)(log_probs, 4)
    assert hypotheses[0].text == "你好"
    alignment = align_labels(log_probs, hypotheses[0].labels, vocab, 0.02)
    evidence = weigh_evidence(log_probs, alignment, hypotheses)
    np.testing.assert_allclose(np.exp(evidence.log_probs), [0.64], rtol=1e-5)
    assert len(evidence.shares) == 1 and 0 < evidence.shares[0] < 1


def test_a_word_of_which_the_network_is_surer_has_a_higher_confidence():
    path = np.array([2, 0, 1, 3, 0, 1, 2])
    log_probs = emission(path)
    log_probs[3] = np.log([0.1, 0.1, 0.35, 0.45])
    hypotheses = BeamSearch.build(VOCAB)(log_probs, 16)
    assert hypotheses[0].text == "a b a"
    first, second, third = weigh(log_probs, *hypotheses).confidences(1.0)
    assert second < 0.5 < min(first, third)
