"""-log p_ctc: brute force over all paths, the reference, and torch's CTC loss."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from ds2cli.kernels.ctc_cost import ctc_cost, ctc_cost_ref
from ds2cli.kernels.viterbi import steps_needed
from tests.kernels.test_viterbi import TARGETS, collapse, emission, labels, random_case


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


@pytest.mark.parametrize("seed", range(60))
def test_kernel_equals_the_reference(seed):
    lp, target = random_case(seed)
    assert ctc_cost(lp, target) == pytest.approx(ctc_cost_ref(lp, target), rel=1e-12)


@pytest.mark.parametrize("seed", range(30))
def test_cost_equals_torch(seed):
    lp, target = random_case(seed, longest=80, V=29)
    inputs = torch.tensor(lp, dtype=torch.float64)[:, None], torch.tensor(target)[None].long()
    loss = torch.nn.functional.ctc_loss(*inputs, torch.tensor([len(lp)]), torch.tensor([len(target)]), reduction="sum")
    assert ctc_cost(lp, target) == pytest.approx(loss.item(), rel=1e-9)


def test_no_steps():
    empty = np.empty((0, 3), dtype=np.float32)
    assert ctc_cost(empty, labels()) == 0.0
    assert ctc_cost(empty, labels(1)) == np.inf


def test_symbol_of_probability_zero_costs_infinity():
    lp = np.array([[0.0, -np.inf], [0.0, -np.inf]], dtype=np.float32)
    assert ctc_cost(lp, labels(1)) == np.inf
    assert ctc_cost(lp, labels()) == 0.0
