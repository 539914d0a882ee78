"""Bootstrap intervals of error rates."""

from __future__ import annotations

import time

import numpy as np
import pytest

from ds2cli.kernels.bootstrap import BLOCK, LARGEST_PACKED, draw_items_ref, draw_sums_ref
from ds2cli.metrics.bootstrap import draw_rates, draw_totals, interval, share_better


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


@pytest.mark.parametrize(("size", "columns"), [(0, 2), (1, 1), (7, 3), (BLOCK - 1, 2), (BLOCK, 4), (2 * BLOCK + 1, 3)])
@pytest.mark.parametrize("largest", [30, LARGEST_PACKED, 10**12])
def test_totals_equal_the_reference(size, columns, largest):
    counts = np.random.default_rng(size).integers(0, largest + 1, (size, columns))
    # the sum of a block of the largest counts must fit
    counts[: size // 2] = largest
    expected = draw_sums_ref(counts.T, 7, 0, 5)
    assert draw_totals(counts, 7, 5).tolist() == expected.tolist()
    assert draw_totals(np.full_like(counts, largest), 7, 2).tolist() == [[size * largest] * columns] * 2


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_totals_depend_on_the_seed_and_not_on_the_threads(threads):
    counts = np.random.default_rng(0).integers(0, 9, (100, 3))
    alone = draw_totals(counts, 3, 50)
    assert (draw_totals(counts, 3, 50, threads) == alone).all()
    assert (draw_totals(counts, 4, 50, threads) != alone).any()
    assert draw_totals(counts, -1, 5).shape == draw_totals(counts, 2**70, 5).shape == (5, 3)


def test_every_item_is_drawn_equally_often():
    count, draws = 11, 4000
    drawn = np.bincount([item for draw in range(draws) for item in draw_items_ref(0, draw, count)], minlength=count)
    # chi-squared with 10 degrees of freedom is below 29.6 with the probability 0.999
    assert ((drawn - draws) ** 2 / draws).sum() < 29.6
    # nor do two items in a row depend on each other
    pairs = np.array([draw_items_ref(0, draw, 4)[:2] for draw in range(8000)])
    cells = np.bincount(pairs[:, 0] * 4 + pairs[:, 1], minlength=16)
    assert ((cells - 500) ** 2 / 500).sum() < 37.7


def test_the_difference_of_two_systems_has_the_variance_of_the_differences():
    rng = np.random.default_rng(1)
    n = 500
    words, first = np.full(n, 10), rng.integers(0, 5, n)
    second = first - (rng.random(n) < 0.3) * (first > 0)
    totals = draw_totals(np.stack([first, second, words], axis=1), 0, 20_000)
    differences = 100 * (totals[:, 0] - totals[:, 1]) / totals[:, 2]
    expected = 10 * (first - second)
    assert differences.mean() == pytest.approx(expected.mean(), abs=0.02)
    assert differences.std() == pytest.approx(expected.std() / np.sqrt(n), rel=0.02)


@pytest.mark.long
def test_ten_thousand_draws_of_many_utterances_take_about_a_second():
    counts = np.random.default_rng(0).integers(0, 30, (50_000, 3))
    draw_totals(counts, 0, 1)
    start = time.process_time()
    assert draw_totals(counts, 0, 10_000, 2).shape == (10_000, 3)
    assert time.process_time() - start < 4
