"""The CTC trellis: brute force over all paths, the reference, and torch's CTC loss."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from ds2cli.kernels.viterbi import ctc_cost, ctc_cost_ref, steps_needed, viterbi, viterbi_ref


def labels(*values):
    return np.array(values, dtype=np.int32)


def emission(rng, T, V):
    return np.log(rng.dirichlet(np.full(V, 0.5), size=T) + 1e-9).astype(np.float32)


def collapse(path):
    return [s for s, _ in itertools.groupby(path) if s]


def symbols(states, target):
    return np.where(states % 2 == 1, np.append(target, 0)[states // 2], 0)


def random_case(seed, longest=30, V=5):
    """A random emission and a text that fits; every fifth seed gives the minimum number of steps."""
    rng = np.random.default_rng(seed)
    target = rng.integers(1, V, rng.integers(0, longest // 2)).astype(np.int32)
    spare = 0 if seed % 5 == 0 else int(rng.integers(0, longest // 2))
    return emission(rng, max(1, steps_needed(target) + spare), V), target


TARGETS = [labels(), labels(1), labels(1, 1), labels(1, 2), labels(2, 1, 2), labels(1, 2, 1, 2)]


@pytest.mark.parametrize("target", TARGETS, ids=str)
@pytest.mark.parametrize("T", [1, 2, 3, 4, 5])
def test_brute_force_over_every_path(T, target):
    lp = emission(np.random.default_rng(T), T, 3)
    spelling_paths = [p for p in itertools.product(range(3), repeat=T) if collapse(p) == list(target)]
    scores = [sum(lp[t, s] for t, s in enumerate(path)) for path in spelling_paths]
    assert bool(spelling_paths) == (steps_needed(target) <= T)
    if not spelling_paths:
        assert ctc_cost(lp, target) == ctc_cost_ref(lp, target) == np.inf
        return
    cost = -np.logaddexp.reduce(np.array(scores, dtype=np.float64))
    assert ctc_cost(lp, target) == pytest.approx(cost, abs=1e-5)
    path = symbols(viterbi(lp, target), target)
    assert lp[np.arange(T), path].sum() == pytest.approx(max(scores), abs=1e-5)
    assert collapse(path) == list(target)


@pytest.mark.parametrize("seed", range(60))
def test_kernels_equal_the_reference(seed):
    lp, target = random_case(seed)
    np.testing.assert_array_equal(viterbi(lp, target), viterbi_ref(lp, target))
    assert ctc_cost(lp, target) == pytest.approx(ctc_cost_ref(lp, target), rel=1e-12)


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_ties_are_broken_like_those_of_the_reference(target):
    rng = np.random.default_rng(0)
    for T in range(steps_needed(target), 12):
        lp = -rng.integers(0, 2, (T, 3)).astype(np.float32)
        np.testing.assert_array_equal(viterbi(lp, target), viterbi_ref(lp, target))


@pytest.mark.parametrize("seed", range(30))
def test_cost_equals_torch(seed):
    lp, target = random_case(seed, longest=80, V=29)
    inputs = torch.tensor(lp, dtype=torch.float64)[:, None], torch.tensor(target)[None].long()
    loss = torch.nn.functional.ctc_loss(*inputs, torch.tensor([len(lp)]), torch.tensor([len(target)]), reduction="sum")
    assert ctc_cost(lp, target) == pytest.approx(loss.item(), rel=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_path_moves_forward_and_spells_the_text(seed):
    lp, target = random_case(seed)
    path = viterbi(lp, target)
    assert path[0] <= 1 and path[-1] >= 2 * len(target) - 1
    assert (np.diff(path) >= 0).all() and (np.diff(path) <= 2).all()
    assert collapse(symbols(path, target)) == list(target)


def test_no_steps():
    empty = np.empty((0, 3), dtype=np.float32)
    assert viterbi(empty, labels()).shape == (0,)
    assert ctc_cost(empty, labels()) == 0.0
    assert ctc_cost(empty, labels(1)) == np.inf


def test_repeats_need_a_blank_between_them():
    assert steps_needed(labels()) == 0
    assert steps_needed(labels(1, 1, 1)) == 5
    lp = np.log(np.full((5, 2), 0.5, dtype=np.float32))
    np.testing.assert_array_equal(viterbi(lp, labels(1, 1, 1)), [1, 2, 3, 4, 5])


def test_symbol_of_probability_zero_costs_infinity():
    lp = np.array([[0.0, -np.inf], [0.0, -np.inf]], dtype=np.float32)
    assert ctc_cost(lp, labels(1)) == np.inf
    assert ctc_cost(lp, labels()) == 0.0
