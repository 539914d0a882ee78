"""Searching an utterance in chunks gives bit for bit the same result as searching it at once."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ds2cli.search.beam import BeamSearch
from ds2cli.text.vocab import BLANK, Vocab

VOCAB = Vocab((BLANK, " ", "a", "b", "é"))
UNSPACED = Vocab((BLANK, "你", "好", "界", "世"))
SETTINGS = [
    {"beam": 1},
    {"beam": 7, "prune_mass": 0.95, "prune_top": 3},
    {"beam": 40, "beam_gap": 8.0, "prune_logp": -6.0},
    {"beam": 200},
    {"beam": 30, "unknown_letter": -0.4, "hotwords": {"a b": 2.0, "é": -0.5}},
    {"beam": 30, "unknown": -math.inf},
    {"beam": 30, "words": ["ab", "b", "éa"]},
]


@pytest.fixture
def models(unigrams):
    return {"none": None, "word": unigrams(["a", "ab", "éé"]), "char": unigrams(["a", "b", "é", "<space>"])}


def emission(seed, T, V=5, concentration=0.4):
    return np.log(np.random.default_rng(seed).dirichlet(np.full(V, concentration), size=T) + 1e-12).astype(np.float32)


def search_in_chunks(search, lp, cuts, best, partial=0):
    """The n-best list of an emission split at `cuts`; after each chunk, `partial` hypotheses are requested."""
    stream = search.stream()
    for chunk in np.split(lp, cuts):
        stream.advance(np.ascontiguousarray(chunk))
        if partial:
            stream.best(partial)
    return stream.best(best)


@pytest.mark.parametrize("kind", ["none", "word", "char"])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_any_split_gives_the_same_result(models, kind, settings):
    T = 160
    lp = emission(len(str(settings)), T)
    lp[50, 2] = -np.inf
    search = BeamSearch.build(VOCAB, models[kind], **{"alpha": 0.6, "beta": 0.8, **settings})
    expected = search(lp, best=20)
    rng = np.random.default_rng(0)
    for cuts in ([], range(1, T), range(7, T, 7), [0, 0, 80, 80, T, T], np.sort(rng.integers(0, T + 1, 9))):
        for partial in (0, 1, 20):
            assert search_in_chunks(search, lp, list(cuts), 20, partial) == expected


def test_every_split_in_two(models):
    lp = emission(3, 30)
    search = BeamSearch.build(VOCAB, models["word"], alpha=0.6, beta=0.8, beam=12)
    expected = search(lp, best=12)
    assert all(search_in_chunks(search, lp, [cut], 12, partial=3) == expected for cut in range(31))


def test_partial_result_equals_a_search_of_the_steps_so_far(models):
    lp = emission(4, 60)
    for lm in models.values():
        search = BeamSearch.build(VOCAB, lm, alpha=0.6, beta=0.8, beam=12, hotwords={"ab": 1.0})
        stream = search.stream()
        for t in range(60):
            assert stream.best(12) == stream.best(12) == search(lp[:t], best=12)
            stream.advance(lp[t : t + 1])


def test_result_before_the_first_step(models):
    for lm in models.values():
        stream = BeamSearch.build(VOCAB, lm, alpha=0.6).stream()
        assert [h.text for h in stream.best(3)] == [""]
        stream.advance(np.empty((0, 5), dtype=np.float32))
        assert [h.text for h in stream.best(3)] == [""]


def test_streams_are_independent(models):
    search = BeamSearch.build(VOCAB, models["word"], alpha=0.6, beam=12)
    first, second = emission(5, 40), emission(6, 40)
    stream, other = search.stream(), search.stream()
    for t in range(40):
        stream.advance(first[t : t + 1])
        other.advance(second[t : t + 1])
    assert (stream.best(5), other.best(5)) == (search(first, best=5), search(second, best=5))


def test_characters_without_spaces(unigrams):
    lm = unigrams(["你", "好", "界", "世"])
    search = BeamSearch.build(UNSPACED, lm, alpha=0.6, beta=1.0, beam=50, hotwords={"你好": 2.0, "好你": -1.0})
    lp = emission(7, 300)
    expected = search(lp, best=50)
    for size in (1, 13, 100):
        assert search_in_chunks(search, lp, list(range(size, 300, size)), 50, partial=1) == expected
