"""Which symbols of a step, and which hypotheses, are worth keeping."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ds2cli.kernels.beam_ref import symbols_ref
from ds2cli.kernels.pick import BLOCK, best_first, kth_largest, pick_symbols
from ds2cli.search.beam import BeamSearch
from ds2cli.text.vocab import Vocab

OPTIONS = BeamSearch.make(Vocab(("<blank>", " ", "a", "b"))).options


def picked_of(row, **settings):
    options = OPTIONS._replace(**{"prune_top": len(row), **settings})
    picked = np.full(len(row), -7, dtype=np.int64)
    n = pick_symbols(row, options, picked)
    assert picked[:n].tolist() == symbols_ref(row, options)
    return picked[:n].tolist()


def log_row(chances):
    with np.errstate(divide="ignore"):
        return np.log(np.asarray(chances, dtype=np.float64) / np.sum(chances)).astype(np.float32)


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
def test_each_limit_holds_on_its_own_and_with_others(settings, V):
    settings = {**settings, "prune_top": min(settings.get("prune_top", V), V)}
    for seed in range(10):
        rng = np.random.default_rng(seed)
        chances = rng.dirichlet(np.full(V, (0.01, 0.1, 1.0)[seed % 3])) + 1e-30
        picked_of(log_row(chances), **settings)
        # few values, so that many are equal
        picked_of(log_row(rng.integers(0, 3, V) + (np.arange(V) == V // 2)), **settings)


def test_the_count_alone_cuts_where_the_mass_is_all():
    """Decoders are known that look at the count only when the mass is below 1."""
    row = log_row([0.3, 0.1, 0.25, 0.2, 0.15])
    assert picked_of(row, prune_mass=1.0, prune_top=3) == [2, 3]
    assert picked_of(row, prune_mass=1.0, prune_top=1) == []
    assert picked_of(row, prune_mass=0.5, prune_top=5) == [2]
    assert picked_of(row, prune_mass=0.56, prune_top=5) == [2, 3]
    assert picked_of(row, prune_mass=0.56, prune_top=2) == [2]


def test_the_symbol_that_reaches_the_mass_is_in_and_the_next_is_not():
    row = log_row([0.5, 0.25, 0.125, 0.125])
    assert picked_of(row, prune_mass=0.74) == [1]
    assert picked_of(row, prune_mass=0.76) == [1, 2]
    assert picked_of(row, prune_mass=0.99) == [1, 2, 3]


@pytest.mark.parametrize("at", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK - 1, 2 * BLOCK, 3 * BLOCK - 1])
@pytest.mark.parametrize(
    "settings", [{"prune_top": 1}, {"prune_top": 2}, {"prune_mass": 0.9}, {"prune_logp": -2.0}], ids=str
)
def test_a_peak_anywhere_in_a_block_is_found(at, settings):
    chances = np.full(3 * BLOCK, 1e-4)
    chances[at] = 1.0
    assert picked_of(log_row(chances), **settings)[:1] == ([at] if at else [1] if settings == {"prune_top": 2} else [])


def test_impossible_symbols_are_never_picked():
    row = log_row([0.0, 0.5, 0.0, 0.5])
    for settings in ({}, {"prune_top": 3}, {"prune_mass": 0.999}, {"prune_logp": -1e30}):
        assert picked_of(row, **settings) == [1, 3]
    nothing = np.full(70, -np.inf, dtype=np.float32)
    for settings in ({}, {"prune_top": 3}, {"prune_mass": 0.5}, {"prune_mass": 0.0}):
        assert picked_of(nothing, **settings) == []


@pytest.mark.parametrize("V", [3, 29, 333, 6000])
def test_a_uniform_softmax_in_float32_is_not_lost_to_rounding(V):
    logits = np.full(V, 11.3, dtype=np.float32)
    row = logits - np.float32(math.log(np.exp(logits, dtype=np.float32).sum(dtype=np.float32)))
    row = np.nextafter(row, np.float32(-np.inf))
    row[1] = np.nextafter(row[0], np.float32(0.0))
    assert picked_of(row, prune_mass=0.0) == [1]
    assert len(picked_of(row, prune_mass=1.5 / V)) == 1


@pytest.mark.parametrize("seed", range(20))
def test_the_kth_largest(seed):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 5, 17).astype(np.float64)
    values[rng.integers(0, 17, 3)] = -np.inf
    for k in range(1, 18):
        assert kth_largest(values.copy(), 17, k, np.empty(1024, np.int64)) == np.sort(values)[-k]
    for n in (1, 2, 3):
        assert kth_largest(values.copy(), n, 1, np.empty(1024, np.int64)) == values[:n].max()


@pytest.mark.parametrize("seed", range(20))
def test_the_best_come_first_and_of_equals_the_first(seed):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 5, 17).astype(np.float64)
    values[rng.integers(0, 17, 3)] = -np.inf
    wanted = [i for i in np.argsort(-values, kind="stable") if values[i] > -np.inf]
    for k in (1, 2, 5, 16, 17):
        order = np.full(k, -1, dtype=np.int64)
        n = best_first(values, 17, order)
        assert order[:n].tolist() == wanted[:k] and (order[n:] == -1).all()
    assert best_first(np.full(3, -np.inf), 3, np.zeros(3, dtype=np.int64)) == 0
