"""Bootstrap intervals of error rates."""

from __future__ import annotations

import numpy as np
import pytest

from ds2cli.metrics.bootstrap import draw_rates, interval, share_better


@pytest.mark.parametrize("size", [30, 5000])
def test_identical_utterances_have_no_variance(size):
    # of 5000, the draws are computed in several blocks
    rates = draw_rates(np.tile([1, 4], (size, 1)), seed=0)
    assert len(rates) == 1000 and (rates == 25.0).all()
    assert interval(rates) == (25.0, 25.0)


def test_the_level_of_an_interval_can_be_chosen():
    assert interval(np.arange(101.0), level=0.5) == (25.0, 75.0)


def test_the_interval_of_independent_words_is_binomial():
    n, p = 400, 0.2
    counts = np.array([[i < p * n, 1] for i in range(n)], np.int64)
    rates = draw_rates(counts, seed=3, draws=20000)
    sigma = 100 * np.sqrt(p * (1 - p) / n)
    assert rates.mean() == pytest.approx(20.0, abs=0.1)
    assert rates.std() == pytest.approx(sigma, rel=0.02)
    assert interval(rates) == pytest.approx((20 - 1.96 * sigma, 20 + 1.96 * sigma), abs=0.3)


def test_utterances_are_weighted_by_their_length():
    counts = np.array([[10, 10], [0, 990]])
    # both drawn: 10 of 1000; one of them twice: all or nothing
    assert set(draw_rates(counts, seed=0).round(6)) == {0.0, 1.0, 100.0}


@pytest.mark.long
def test_a_seed_draws_the_same_utterances_for_two_systems():
    rng = np.random.default_rng(0)
    counts = np.stack([rng.integers(0, 5, 5000), np.full(5000, 9)], axis=1)
    assert (draw_rates(counts, 7) == draw_rates(counts, 7)).all()
    assert (draw_rates(counts, 7) != draw_rates(counts, 8)).any()
    assert share_better(draw_rates(counts, 7), draw_rates(counts + np.array([1, 0]), 7)) == 1.0
    assert share_better(draw_rates(counts, 7), draw_rates(counts, 7)) == 0.5


def test_silence():
    assert interval(draw_rates(np.zeros((3, 2), np.int64), 0)) == (0.0, 0.0)
