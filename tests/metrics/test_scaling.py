"""Curves of the error rate over hours of data: known curves, the paper's table 10, and their intervals."""

from __future__ import annotations

import numpy as np
import pytest

from ds2cli.metrics.scaling import draw_curves, fit_curve

SIZES = np.array([10.0, 30, 100, 300, 1000])
TABLE_10 = np.array([120.0, 1200, 2400, 6000, 12000])
REGULAR = np.array([29.23, 13.80, 11.65, 9.51, 8.46])
NOISY = np.array([50.97, 22.99, 20.41, 15.90, 13.59])


@pytest.mark.parametrize(("a", "b", "c"), [(80.0, 0.3, 0.0), (100.0, 0.5, 6.0), (60.0, 0.2, 2.0)])
def test_a_curve_without_noise_is_found(a, b, c):
    curve, floor = fit_curve(SIZES, a * SIZES**-b + c)
    assert floor == (c > 0)
    assert curve.a[0] == pytest.approx(a, rel=0.05) and curve.b[0] == pytest.approx(b, rel=0.05)
    assert curve.c[0] == pytest.approx(c, abs=0.1)
    assert curve.predict(5000)[0] == pytest.approx(a * 5000**-b + c, rel=0.01)
    assert curve.hours_for(a * 2000**-b + c)[0] == pytest.approx(2000, rel=0.03)


def test_a_floor_is_not_fitted_to_noise():
    """Without a floor, the 5 % test should find one in about 5 % of the sets; at most in 10 of 100."""
    rng = np.random.default_rng(1)
    hours = np.repeat(SIZES, 3)
    found = [fit_curve(hours, 80 * hours**-0.3 * np.exp(rng.normal(0, 0.03, len(hours))))[1] for _ in range(100)]
    assert sum(found) <= 10


def test_three_sizes_have_no_floor():
    curve, floor = fit_curve(np.repeat(SIZES[:3], 3), np.repeat(100 * SIZES[:3] ** -0.5 + 6, 3))
    assert not floor and curve.c[0] == 0


def test_the_largest_size_of_table_10_follows_from_the_smaller_ones():
    """Paper, table 10, 120 to 6,000 h: on the regular set the curve has a floor and predicts 8.45 % at 12,000 h (the
    paper: 8.46); on the noisy one a floor is not significant, and the power law predicts 12.5 % (the paper: 13.59)."""
    curve, floor = fit_curve(TABLE_10[:4], REGULAR[:4])
    assert floor and curve.predict(12000)[0] == pytest.approx(REGULAR[4], rel=0.01)
    drawn, over_seeds = draw_curves(TABLE_10[:4], REGULAR[:4], floor=True, draws=300)
    low, high = np.quantile(drawn.predict(12000), [0.025, 0.975])
    assert not over_seeds and low < REGULAR[4] < high and high - low < 1
    # "about 40 % relative for each factor of 10" (§6.1)
    assert curve.reduction(12000)[0] == pytest.approx(40, abs=2)
    curve, floor = fit_curve(TABLE_10[:4], NOISY[:4])
    assert not floor and curve.predict(12000)[0] == pytest.approx(NOISY[4], rel=0.1)


@pytest.mark.parametrize("runs", [4, 3, 2, (1, 1, 1, 1, 3)])
def test_intervals_over_seeds_contain_the_true_curve(runs):
    """With noise of 5 % between seeds, in some 95 % of the sets, also with few runs and with sizes that have one."""
    rng, hours, inside = np.random.default_rng(2), np.repeat(SIZES, runs), 0
    for n in range(60):
        wer = 80 * hours**-0.3 * np.exp(rng.normal(0, 0.05, len(hours)))
        drawn, over_seeds = draw_curves(hours, wer, floor=False, seed=n, draws=300)
        low, high = np.quantile(drawn.predict(3000), [0.025, 0.975])
        assert over_seeds
        inside += low < 80 * 3000**-0.3 < high
    assert 53 <= inside < 60


def test_the_draws_depend_on_the_seed_and_on_nothing_else():
    hours = np.repeat(SIZES, 2)
    wer = 80 * hours**-0.3 * np.exp(np.random.default_rng(3).normal(0, 0.05, len(hours)))
    first, again, other = (draw_curves(hours, wer, floor=False, seed=seed, draws=50)[0] for seed in (1, 1, 2))
    assert np.array_equal(first.a, again.a) and not np.array_equal(first.a, other.a)
    backwards = draw_curves(hours[::-1], wer[::-1], floor=False, seed=1, draws=50)[0]
    assert np.median(backwards.b) == pytest.approx(np.median(first.b), rel=0.1)


def test_a_curve_that_rises_reaches_no_target():
    curve, floor = fit_curve(SIZES, 10 * SIZES**0.1)
    assert not floor and curve.b[0] == pytest.approx(-0.1)
    assert curve.hours_for(1.0)[0] == np.inf and curve.reduction(1000)[0] < 0


def test_an_error_rate_below_the_floor_is_not_reached():
    curve, floor = fit_curve(SIZES, 100 * SIZES**-0.5 + 6)
    assert floor and curve.hours_for(5.0)[0] == np.inf and curve.hours_for(7.0)[0] == pytest.approx(10000, rel=0.05)
