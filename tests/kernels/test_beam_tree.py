"""The tree of a search: what it forgets and how it grows changes no result, nor does the way an utterance is cut."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ds2cli.kernels.beam import beam_begin, beam_best, beam_steps
from ds2cli.kernels.prefix import PARENT, SYMBOL, keep_ancestors, new_tree, place_of, with_room
from ds2cli.search.beam import BeamSearch
from ds2cli.text.vocab import Vocab

VOCAB = Vocab(("<blank>", " ", "a", "b"))
ENDLESS = 200_000


def emission(seed, T, V=4, sharp=0.5):
    rng = np.random.default_rng(seed)
    return np.log(rng.dirichlet(np.full(V, sharp), size=T) + 1e-12).astype(np.float32)


def begin(task, size):
    return beam_begin(task)._replace(tree=new_tree(task, size))


def counted(beam):
    return int(beam.counts[0])


SETTINGS = [
    {},
    {"unknown_letter": -0.5, "beam_gap": 12.0},
    {"unknown": -math.inf},
    {"hotwords": {"a b": 2.0, "bb": -1.0}},
    {"words": ["ab", "b", "aab"]},
    {"prune_top": 2, "beam_gap": 6.0},
]


@pytest.mark.parametrize("kind", ["none", "word", "char"])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_a_tree_that_forgets_gives_what_one_gives_that_never_does(models, kind, settings):
    lp = emission(1, 220)
    asked = {"alpha": 0.8, "beta": 0.6, **({} if kind == "none" else {"unknown": -1.0}), **settings}
    task = BeamSearch.make(VOCAB, models[kind], beam=60, **asked).task
    whole = beam_steps(lp, begin(task, ENDLESS), task)
    assert len(whole.tree.ints) == ENDLESS and counted(whole) > 1500
    labels, scores = beam_best(whole, task, 60)
    for size in (1, 2, 100, 1024):
        small = beam_steps(lp, begin(task, size), task)
        assert counted(small) < counted(whole) and (len(small.tree.ints) > size or size > 100)
        for mine, wanted in zip(beam_best(small, task, 60), (labels, scores), strict=True):
            np.testing.assert_array_equal(mine, wanted)


@pytest.mark.parametrize("kind", ["none", "word", "char"])
@pytest.mark.parametrize("seed", range(3))
def test_any_cut_and_any_look_in_between_give_the_same_to_the_last_bit(models, kind, seed):
    rng = np.random.default_rng(seed)
    lp = emission(seed, 150)
    hotwords = {"ab a": 1.5, "b": -0.5} if seed == 2 else None
    task = BeamSearch.make(VOCAB, models[kind], alpha=0.7, beta=0.5, beam=50, beam_gap=15.0, hotwords=hotwords).task
    wanted = beam_best(beam_steps(lp, begin(task, ENDLESS), task), task, 50)
    for pieces in (1, 2, 7, 150):
        beam = begin(task, int(rng.integers(1, 3000)))
        for cut in np.split(lp, np.sort(rng.integers(0, 151, pieces - 1))):
            beam = beam_steps(np.ascontiguousarray(cut), beam, task)
            beam_best(beam, task, 5)
        for mine, whole in zip(beam_best(beam, task, 50), wanted, strict=True):
            np.testing.assert_array_equal(mine, whole)


def test_a_look_needs_a_row_of_its_own_where_the_tree_is_full(models):
    task = BeamSearch.make(VOCAB, models["word"], alpha=0.7, beam=8).task
    full = begin(task, 1)
    assert beam_best(full, task, 1)[1][0, 0] == beam_best(begin(task, 9), task, 1)[1][0, 0]
    assert len(full.tree.ints) == 1


def test_what_a_beam_goes_back_to_stays_and_can_be_found(models):
    task = BeamSearch.make(VOCAB, models["word"], alpha=0.7, beta=1.0, beam=20).task
    beam = beam_steps(emission(4, 40), begin(task, ENDLESS), task)
    tree, n = beam.tree, int(beam.counts[1])

    def texts():
        found = []
        for x in beam.node[:n]:
            text = []
            while x:
                parent, symbol = int(tree.ints[x, PARENT]), int(tree.ints[x, SYMBOL])
                assert tree.places[place_of(tree.places, tree.ints, parent, symbol)] == x
                text.append(symbol)
                x = parent
            found.append(tuple(text))
        return found

    before = texts()
    logs = tree.logs[beam.node[:n]].copy()
    states = tree.history[beam.node[:n]].copy(), tree.backoff[beam.node[:n]].copy()
    used = keep_ancestors(tree, counted(beam), beam.node, n)
    assert used < counted(beam)
    assert used == len({text[i:] for text in before for i in range(len(text) + 1)})
    assert texts() == before
    tree = with_room(tree, used, 3 * used)
    assert texts() == before
    np.testing.assert_array_equal(tree.logs[beam.node[:n]], logs)
    np.testing.assert_array_equal(tree.history[beam.node[:n]], states[0])
    np.testing.assert_array_equal(tree.backoff[beam.node[:n]], states[1])
    assert (tree.places >= 0).sum() == used - 1
