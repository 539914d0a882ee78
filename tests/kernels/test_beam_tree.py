"""The prefix tree: neither removing nodes, nor growing, nor splitting an utterance into chunks changes the result."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ds2cli.kernels.beam import beam_begin, beam_best, beam_steps
from ds2cli.kernels.prefix import PARENT, SYMBOL, grow_tree, hash_slot, keep_ancestors, new_tree
from ds2cli.search.beam import BeamSearch
from ds2cli.text.vocab import Vocab

VOCAB = Vocab(("<blank>", " ", "a", "b"))
HUGE = 200_000


def emission(seed, T, V=4, sharp=0.5):
    rng = np.random.default_rng(seed)
    return np.log(rng.dirichlet(np.full(V, sharp), size=T) + 1e-12).astype(np.float32)


def begin_with_room(task, size):
    return beam_begin(task)._replace(tree=new_tree(task, size))


def nodes_in_use(beam):
    return int(beam.counts[0])


SETTINGS = [
    {},
    {"unknown_letter": -0.5, "beam_gap": 12.0},
    {"unknown": -math.inf},
    {"hotwords": {"a b": 2.0, "bb": -1.0}},
    {"words": ["ab", "b", "aab"]},
    {"prune_top": 2, "beam_gap": 6.0},
]


@pytest.mark.long
@pytest.mark.parametrize("kind", ["none", "word", "char"])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_removing_nodes_does_not_change_the_result(models, kind, settings):
    lp = emission(1, 220)
    options = {"alpha": 0.8, "beta": 0.6, **({} if kind == "none" else {"unknown": -1.0}), **settings}
    task = BeamSearch.build(VOCAB, models[kind], beam=60, **options).task
    large = beam_steps(lp, begin_with_room(task, HUGE), task)
    assert len(large.tree.ints) == HUGE and nodes_in_use(large) > 1500
    labels, scores = beam_best(large, task, 60)
    for size in (1, 2, 100, 1024):
        small = beam_steps(lp, begin_with_room(task, size), task)
        assert nodes_in_use(small) < nodes_in_use(large) and (len(small.tree.ints) > size or size > 100)
        for got, expected in zip(beam_best(small, task, 60), (labels, scores), strict=True):
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("kind", ["none", "word", "char"])
@pytest.mark.parametrize("seed", range(3))
def test_chunks_and_intermediate_results_do_not_change_a_bit(models, kind, seed):
    rng = np.random.default_rng(seed)
    lp = emission(seed, 150)
    hotwords = {"ab a": 1.5, "b": -0.5} if seed == 2 else None
    task = BeamSearch.build(VOCAB, models[kind], alpha=0.7, beta=0.5, beam=50, beam_gap=15.0, hotwords=hotwords).task
    expected = beam_best(beam_steps(lp, begin_with_room(task, HUGE), task), task, 50)
    for num_chunks in (1, 2, 7, 150):
        beam = begin_with_room(task, int(rng.integers(1, 3000)))
        for chunk in np.split(lp, np.sort(rng.integers(0, 151, num_chunks - 1))):
            beam = beam_steps(np.ascontiguousarray(chunk), beam, task)
            beam_best(beam, task, 5)
        for got, unsplit in zip(beam_best(beam, task, 50), expected, strict=True):
            np.testing.assert_array_equal(got, unsplit)


def test_best_of_a_full_tree_grows_a_copy(models):
    task = BeamSearch.build(VOCAB, models["word"], alpha=0.7, beam=8).task
    full = begin_with_room(task, 1)
    assert beam_best(full, task, 1)[1][0, 0] == beam_best(begin_with_room(task, 9), task, 1)[1][0, 0]
    assert len(full.tree.ints) == 1


def test_ancestors_of_the_beam_are_kept_and_can_be_found(models):
    task = BeamSearch.build(VOCAB, models["word"], alpha=0.7, beta=1.0, beam=20).task
    beam = beam_steps(emission(4, 40), begin_with_room(task, HUGE), task)
    tree, n = beam.tree, int(beam.counts[1])

    def texts():
        prefixes = []
        for x in beam.node[:n]:
            text = []
            while x:
                parent, symbol = int(tree.ints[x, PARENT]), int(tree.ints[x, SYMBOL])
                assert tree.slots[hash_slot(tree.slots, tree.ints, parent, symbol)] == x
                text.append(symbol)
                x = parent
            prefixes.append(tuple(text))
        return prefixes

    before = texts()
    logs = tree.logs[beam.node[:n]].copy()
    states = tree.history[beam.node[:n]].copy(), tree.backoff[beam.node[:n]].copy()
    used = keep_ancestors(tree, nodes_in_use(beam), beam.node, n)
    assert used < nodes_in_use(beam)
    assert used == len({text[i:] for text in before for i in range(len(text) + 1)})
    assert texts() == before
    tree = grow_tree(tree, used, 3 * used)
    assert texts() == before
    np.testing.assert_array_equal(tree.logs[beam.node[:n]], logs)
    np.testing.assert_array_equal(tree.history[beam.node[:n]], states[0])
    np.testing.assert_array_equal(tree.backoff[beam.node[:n]], states[1])
    assert (tree.slots >= 0).sum() == used - 1
