"""The cost by the native library: equal to the reference within float32 rounding, and to the fallback without it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ds2cli import native
from ds2cli.errors import BadUtterance
from ds2cli.kernels.ctc_cost import ctc_cost as fallback
from ds2cli.kernels.ctc_cost import ctc_cost_ref
from ds2cli.kernels.viterbi import steps_needed
from ds2cli.search.ctc_cost import ctc_cost, ctc_cost_with_wildcards, text_cost
from ds2cli.search.trellis import UNSPELLED_COST, WILDCARD

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["native", "fallback"])
def implementation(request, monkeypatch):
    """Both implementations of `ctc_cost`."""
    if request.param == "native" and not native.available():
        pytest.skip(native.unavailable_reason())
    monkeypatch.setattr(native, "available", lambda name="cpu": request.param == "native")


def labels(*values):
    return np.array(values, dtype=np.int32)


def emission(seed, T, V, sharpness=1.0):
    """Normalized log-probabilities (T, V) in float32."""
    logits = sharpness * np.random.default_rng(seed).standard_normal((T, V))
    return (logits - np.logaddexp.reduce(logits, axis=1)[:, None]).astype(np.float32)


def close(cost, T):
    """Equal within the rounding of T float32 rows."""
    return pytest.approx(cost, rel=1e-6, abs=1e-7 * T + 1e-6)


@pytest.mark.usefixtures("implementation")
@pytest.mark.parametrize("seed", range(40))
def test_random_texts_and_emissions(seed):
    rng = np.random.default_rng(seed)
    V = int(rng.choice([2, 5, 29, 65, 300]))
    target = rng.integers(1, V, rng.integers(0, 25)).astype(np.int32)
    T = max(1, steps_needed(target) + int(rng.integers(-2, 40)))
    lp = emission(seed, T, V, sharpness=float(rng.choice([0.0, 1.0, 8.0])))
    assert ctc_cost(lp, target) == close(ctc_cost_ref(lp, target), T)


@pytest.mark.usefixtures("implementation")
@pytest.mark.parametrize(
    ("T", "target", "paths"),
    [
        (1, labels(), 1),
        (1, labels(1), 1),
        (1, labels(1, 2), 0),
        (2, labels(1), 3),
        (2, labels(1, 1), 0),
        (3, labels(1, 1), 1),
        (3, labels(1, 2), 5),
        (5, labels(1, 1, 1), 1),
        (0, labels(), 1),
        (0, labels(1), 0),
    ],
)
def test_equal_probabilities_count_the_paths(T, target, paths):
    lp = np.full((T, 4), -np.log(4.0), dtype=np.float32)
    expected = T * np.log(4.0) - np.log(paths) if paths else np.inf
    assert ctc_cost(lp, target) == pytest.approx(expected, abs=1e-6)


@pytest.mark.usefixtures("implementation")
def test_probability_zero():
    lp = np.array([[0.0, -np.inf], [0.0, -np.inf]], dtype=np.float32)
    assert ctc_cost(lp, labels()) == 0.0
    assert ctc_cost(lp, labels(1)) == np.inf
    # the only step without any possible symbol
    lp[1, 0] = -np.inf
    assert ctc_cost(lp, labels()) == ctc_cost(lp, labels(1)) == np.inf
    half = np.log(np.array([[0.5, 0.5, 1.0], [1.0, 0.5, 0.5]], dtype=np.float32))
    half[0, 2] = half[1, 0] = -np.inf
    assert ctc_cost(half, labels(1)) == pytest.approx(-np.log(0.5), abs=1e-6)


@pytest.mark.usefixtures("implementation")
def test_only_the_blank():
    assert ctc_cost(np.zeros((7, 1), dtype=np.float32), labels()) == 0.0


@pytest.mark.long
@pytest.mark.usefixtures("implementation")
def test_cost_of_a_certain_text_is_near_zero():
    lp = np.full((20000, 5), np.log(1e-9), dtype=np.float32)
    lp[np.arange(20000), np.arange(20000) % 4 + 1] = np.float32(np.log1p(-4e-9))
    target = (np.arange(20000) % 4 + 1).astype(np.int32)
    assert ctc_cost(lp, target) == pytest.approx(20000 * 4e-9, abs=1e-6)


@pytest.mark.long
@pytest.mark.usefixtures("implementation")
def test_an_hour():
    """180,000 steps of 20 ms; in the first emission every step has one possible symbol."""
    T, target = 180_000, labels(*[1, 2] * 200)
    lp = np.full((T, 3), -np.inf, dtype=np.float32)
    path = np.zeros(T, dtype=np.int64)
    path[np.linspace(10, T - 10, len(target)).astype(int)] = target
    lp[np.arange(T), path] = 0.0
    assert ctc_cost(lp, target) == 0.0
    # two symbols in each step: many paths
    lp[np.arange(T), path] = np.float32(np.log(0.5))
    lp[np.arange(T), (path + 1) % 3] = np.float32(np.log(0.5))
    assert ctc_cost(lp, target) == close(fallback(lp, target), T)


@pytest.mark.usefixtures("implementation")
def test_any_layout_of_the_array():
    lp, target = emission(1, 30, 6), labels(2, 2, 5)
    expected = ctc_cost_ref(lp, target)
    read_only = lp.copy()
    read_only.flags.writeable = False
    assert ctc_cost(read_only, target) == ctc_cost(np.asfortranarray(lp), target) == close(expected, 30)
    assert ctc_cost(np.repeat(lp, 2, axis=0)[::2], np.repeat(target, 2)[::2]) == close(expected, 30)


@pytest.mark.long
def test_alignment_loads_no_torch():
    code = (
        "import sys, numpy as np; from ds2cli.search.align import align; from ds2cli.text.vocab import Vocab, BLANK\n"
        "align(np.log(np.full((3, 2), 0.5, np.float32)), 'a', Vocab((BLANK, 'a')), 0.02)\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == "False\n", done.stderr


def test_texts_with_and_without_a_cost():
    log_probs = np.log(np.full((3, 4), 0.25)).astype(np.float32)
    # of 64 paths: aaa, -aa, aa-, a--, -a-, --a
    assert text_cost(log_probs, [2]) == pytest.approx(-np.log(6 / 64), rel=1e-5)
    assert text_cost(log_probs, []) == pytest.approx(-np.log(1 / 64), rel=1e-5)
    assert np.isfinite(text_cost(log_probs, [2, 1, WILDCARD]))
    impossible = log_probs.copy()
    impossible[:, 2] = -np.inf
    for emission, symbols, reason in (
        (log_probs, [2, 2, 1, 3], "label-too-long"),
        (log_probs, [2, 2, 2], "label-too-long"),
        (log_probs[:0], [2], "label-too-long"),
        (impossible, [2], "impossible-text"),
    ):
        with pytest.raises(BadUtterance) as e:
            text_cost(emission, symbols)
        assert e.value.reason == reason


@pytest.mark.usefixtures("implementation")
@pytest.mark.parametrize("seed", range(20))
def test_a_wildcard_is_a_symbol_beside_the_others(seed):
    rng = np.random.default_rng(seed)
    target = rng.integers(1, 6, 6).astype(np.int32)
    target[rng.integers(0, 6, 2)] = WILDCARD
    lp = emission(seed, 20, 6, sharpness=3.0)
    best = lp.max(axis=1, keepdims=True) - np.float32(UNSPELLED_COST)
    expected = ctc_cost_ref(np.concatenate([lp, best], axis=1), np.where(target == WILDCARD, 6, target))
    assert ctc_cost_with_wildcards(lp, target) == pytest.approx(expected, abs=1e-4)
