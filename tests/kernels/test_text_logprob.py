"""The probability of a given text: brute force over all paths, and plain CTC for alphabets without a space."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from ds2cli.kernels.ctc_cost import ctc_cost
from ds2cli.kernels.text_logprob import text_logprob, text_logprob_ref

SPACE = 1


def emission(seed, T, V=4):
    return np.log(np.random.default_rng(seed).dirichlet(np.full(V, 0.7), size=T) + 1e-12).astype(np.float32)


def texts_up_to(length):
    """Every text of at most `length` symbols: words of the symbols 2 and 3, separated by one space."""
    for n in range(length + 1):
        for text in itertools.product((1, 2, 3), repeat=n):
            runs = [len(list(run)) for symbol, run in itertools.groupby(text) if symbol == SPACE]
            if not text or (SPACE not in (text[0], text[-1]) and set(runs) <= {1}):
                yield text


@pytest.mark.long
@pytest.mark.parametrize("T", [0, 1, 2, 3, 4, 5])
def test_every_text_sums_its_paths(T):
    lp = emission(T, T)
    logprobs = {text: text_logprob(lp, np.array(text, dtype=np.int32), SPACE) for text in texts_up_to(T + 1)}
    for text, log_p in logprobs.items():
        assert log_p == pytest.approx(text_logprob_ref(lp, text, SPACE), abs=1e-9)
    # and there are no other texts
    assert np.logaddexp.reduce(list(logprobs.values())) == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_alphabet_without_a_space_equals_plain_ctc(seed):
    rng = np.random.default_rng(seed)
    lp = emission(seed, 40, 6)
    labels = rng.integers(1, 6, rng.integers(0, 15)).astype(np.int32)
    assert text_logprob(lp, labels, -2) == pytest.approx(-ctc_cost(lp, labels), abs=1e-9)


def test_extra_spaces_belong_to_the_same_text():
    lp = np.full((7, 4), -np.inf, dtype=np.float32)
    lp[np.arange(7), [1, 2, 1, 0, 1, 3, 1]] = math.log(0.5)
    labels = np.array([2, 1, 3], dtype=np.int32)
    assert text_logprob(lp, labels, SPACE) == pytest.approx(7 * math.log(0.5))
    assert ctc_cost(lp, labels) == math.inf
    silent = np.full((3, 4), math.log(0.25), dtype=np.float32)
    assert text_logprob(silent, np.empty(0, dtype=np.int32), SPACE) == pytest.approx(3 * math.log(0.5))


def test_text_longer_than_its_emission_is_impossible():
    lp = emission(1, 3)
    assert text_logprob(lp, np.array([2, 2, 2], dtype=np.int32), SPACE) == -np.inf
    assert text_logprob(lp, np.array([2, 3, 2, 3], dtype=np.int32), SPACE) == -np.inf
    assert text_logprob(np.empty((0, 4), np.float32), np.array([2], dtype=np.int32), SPACE) == -np.inf
