"""What is shown of partial results."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ds2cli.search.beam import BeamSearch
from ds2cli.search.stable import LocalAgreement, complete_words
from ds2cli.text.vocab import BLANK, Vocab

VOCAB = Vocab((BLANK, " ", "a", "b"))


@pytest.mark.parametrize(("text", "expected"), [("", ""), ("a", ""), ("a b", "a"), ("a bé c", "a bé")])
def test_the_last_word_may_be_incomplete(text, expected):
    assert complete_words(text) == expected


def test_local_agreement_shows_what_the_last_results_have_in_common():
    results = ["a", "a b", "a bc", "d bc e", "d bc", "d bc"]

    def shown(span):
        agreement = LocalAgreement(span)
        return [agreement.advance(text, 0.1 * i) for i, text in enumerate(results, start=1)]

    assert shown(0.0) == results
    assert shown(0.1) == ["", "a", "a b", "", "d bc", "d bc"]
    assert shown(0.2) == ["", "", "a", "", "", "d bc"]
    # between two results, it is the earlier one that was shown
    assert shown(0.15) == shown(0.2)


def test_local_agreement_is_of_a_time():
    agreement = LocalAgreement(0.1)
    often = [agreement.advance(text, 0.01 * i) for i, text in enumerate(["a b"] * 11 + ["a c"] * 12)]
    assert often == [""] * 10 + ["a b"] + ["a"] * 10 + ["a c"] * 2


def emission(seed, T):
    rng = np.random.default_rng(seed)
    return np.log(rng.dirichlet(np.full(len(VOCAB), 0.3), size=T) + 1e-12).astype(np.float32)


def all_within(stream, gap):
    """The beginning that all texts of the beam within the gap have in common, from their labels."""
    beam, task = stream._beam, stream.search.task
    parents, symbols = beam.tree.ints[:, 0], beam.tree.ints[:, 1]
    texts = []
    for i in range(beam.counts[1]):
        node, labels = int(beam.node[i]), []
        score = beam.total[i] + beam.tree.logs[node, 1] + beam.tree.logs[node, 2]
        while node:
            labels.append(int(symbols[node]))
            node = int(parents[node])
        texts.append((score, VOCAB.decode(labels[::-1])))
    best = max(score for score, _ in texts)
    kept = [text for score, text in texts if score >= best - gap]
    assert task.options.beam >= len(texts)
    return next(kept[0][:n] for n in range(min(map(len, kept)), -1, -1) if all(t.startswith(kept[0][:n]) for t in kept))


@pytest.mark.parametrize("model", [None, ["a", "ab", "bb"]])
@pytest.mark.parametrize("seed", range(4))
def test_what_hypotheses_share_is_the_beginning_of_all_later_results(unigrams, model, seed):
    search = BeamSearch.build(VOCAB, model and unigrams(model), alpha=0.7, beta=0.5, unknown=-2.0, beam=20)
    stream, certain, longest = search.stream(), "", 0
    assert stream.shared() == ""
    for chunk in np.split(emission(seed, 200), 40):
        stream.advance(np.ascontiguousarray(chunk))
        for gap in (0.0, 1.0, 5.0, math.inf):
            assert stream.shared(gap) == all_within(stream, gap)
        assert stream.shared().startswith(certain)
        certain = stream.shared()
        assert stream.best()[0].text.startswith(certain.rstrip())
        longest = max(longest, len(certain))
    assert longest > 10
