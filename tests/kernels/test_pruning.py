"""Pruning of symbols and of hypotheses at each step."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ds2cli.kernels.beam_ref import symbols_ref
from ds2cli.kernels.pruning import BLOCK, kth_largest, pick_symbols, top_indices
from ds2cli.search.beam import BeamSearch
from ds2cli.text.vocab import Vocab

OPTIONS = BeamSearch.build(Vocab(("<blank>", " ", "a", "b"))).options


def pick(row, **settings):
    options = OPTIONS._replace(**{"prune_top": len(row), **settings})
    picked = np.full(len(row), -7, dtype=np.int64)
    n = pick_symbols(row, options, picked)
    assert picked[:n].tolist() == symbols_ref(row, options)
    return picked[:n].tolist()


def log_row(probs):
    with np.errstate(divide="ignore"):
        return np.log(np.asarray(probs, dtype=np.float64) / np.sum(probs)).astype(np.float32)


LIMITS = [
    {"prune_mass": 0.99},
    {"prune_mass": 0.5},
    {"prune_mass": 0.0},
    {"prune_top": 40},
    {"prune_top": 3},
    {"prune_top": 1},
    {"prune_mass": 1.0, "prune_top": 3},
    {"prune_mass": 0.9, "prune_top": 2},
    {"prune_mass": 0.999, "prune_top": 500, "prune_logp": -6.0},
    {"prune_logp": -3.0},
    {"prune_logp": 0.0},
    {},
]


@pytest.mark.parametrize("settings", LIMITS, ids=str)
@pytest.mark.parametrize("V", [1, 2, 29, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 2 * BLOCK + 1, 500, 6000])
def test_limits_apply_separately_and_together(settings, V):
    settings = {**settings, "prune_top": min(settings.get("prune_top", V), V)}
    for seed in range(10):
        rng = np.random.default_rng(seed)
        probs = rng.dirichlet(np.full(V, (0.01, 0.1, 1.0)[seed % 3])) + 1e-30
        pick(log_row(probs), **settings)
        # few distinct values, so that there are many ties
        pick(log_row(rng.integers(0, 3, V) + (np.arange(V) == V // 2)), **settings)


def test_prune_top_applies_without_prune_mass():
    """Some decoders apply prune_top only when prune_mass is below 1."""
    row = log_row([0.3, 0.1, 0.25, 0.2, 0.15])
    assert pick(row, prune_mass=1.0, prune_top=3) == [2, 3]
    assert pick(row, prune_mass=1.0, prune_top=1) == []
    assert pick(row, prune_mass=0.5, prune_top=5) == [2]
    assert pick(row, prune_mass=0.56, prune_top=5) == [2, 3]
    assert pick(row, prune_mass=0.56, prune_top=2) == [2]


def test_symbol_that_reaches_the_mass_is_the_last_one_kept():
    row = log_row([0.5, 0.25, 0.125, 0.125])
    assert pick(row, prune_mass=0.74) == [1]
    assert pick(row, prune_mass=0.76) == [1, 2]
    assert pick(row, prune_mass=0.99) == [1, 2, 3]


@pytest.mark.parametrize("position", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK - 1, 2 * BLOCK, 3 * BLOCK - 1])
@pytest.mark.parametrize(
    "settings", [{"prune_top": 1}, {"prune_top": 2}, {"prune_mass": 0.9}, {"prune_logp": -2.0}], ids=str
)
def test_peak_at_any_position_of_a_block_is_found(position, settings):
    probs = np.full(3 * BLOCK, 1e-4)
    probs[position] = 1.0
    first = [position] if position else [1] if settings == {"prune_top": 2} else []
    assert pick(log_row(probs), **settings)[:1] == first


def test_symbols_of_probability_zero_are_never_picked():
    row = log_row([0.0, 0.5, 0.0, 0.5])
    for settings in ({}, {"prune_top": 3}, {"prune_mass": 0.999}, {"prune_logp": -1e30}):
        assert pick(row, **settings) == [1, 3]
    impossible = np.full(70, -np.inf, dtype=np.float32)
    for settings in ({}, {"prune_top": 3}, {"prune_mass": 0.5}, {"prune_mass": 0.0}):
        assert pick(impossible, **settings) == []


@pytest.mark.parametrize("V", [3, 29, 333, 6000])
def test_uniform_softmax_in_float32_survives_rounding(V):
    logits = np.full(V, 11.3, dtype=np.float32)
    row = logits - np.float32(math.log(np.exp(logits, dtype=np.float32).sum(dtype=np.float32)))
    row = np.nextafter(row, np.float32(-np.inf))
    row[1] = np.nextafter(row[0], np.float32(0.0))
    assert pick(row, prune_mass=0.0) == [1]
    assert len(pick(row, prune_mass=1.5 / V)) == 1


@pytest.mark.parametrize("seed", range(20))
def test_kth_largest(seed):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 5, 17).astype(np.float64)
    values[rng.integers(0, 17, 3)] = -np.inf
    for k in range(1, 18):
        assert kth_largest(values.copy(), 17, k, np.empty(1024, np.int64)) == np.sort(values)[-k]
    for n in (1, 2, 3):
        assert kth_largest(values.copy(), n, 1, np.empty(1024, np.int64)) == values[:n].max()


@pytest.mark.parametrize("seed", range(20))
def test_top_indices_are_sorted_with_ties_by_index(seed):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 5, 17).astype(np.float64)
    values[rng.integers(0, 17, 3)] = -np.inf
    expected = [i for i in np.argsort(-values, kind="stable") if values[i] > -np.inf]
    for k in (1, 2, 5, 16, 17):
        order = np.full(k, -1, dtype=np.int64)
        n = top_indices(values, 17, order)
        assert order[:n].tolist() == expected[:k] and (order[n:] == -1).all()
    assert top_indices(np.full(3, -np.inf), 3, np.zeros(3, dtype=np.int64)) == 0
