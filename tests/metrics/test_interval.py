"""The analytic interval, against the bootstrap and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ds2cli.metrics.bootstrap import draw_rates, interval
from ds2cli.metrics.interval import RateInterval


def counts_of(errors, units):
    """Substitutions only."""
    errors, units = np.asarray(errors), np.asarray(units)
    return np.stack([units - errors, errors, 0 * errors, 0 * errors], axis=1).astype(np.int64)


def test_by_hand_and_in_parts():
    """Residuals of (2 of 3, 0 of 3, 1 of 1) at the rate 3/7: 5/7, -9/7 and 4/7; their squares sum to 122/49."""
    counts = counts_of([2, 0, 1], [3, 3, 1])
    expected = 100 * 1.959964 * np.sqrt(122 / 49 * 3 / 2) / 7
    for cuts in ([], [1], [1, 2]):
        found = RateInterval()
        for part in np.split(counts, cuts):
            found.add(part)
        assert found.half_width == pytest.approx(expected)


@pytest.mark.parametrize(("errors", "units"), [([], []), ([1], [4]), ([1, 2], [0, 0])])
def test_too_little_has_no_interval(errors, units):
    found = RateInterval()
    found.add(np.stack([units, [0] * len(units), errors, [0] * len(units)], axis=1).astype(np.int64).reshape(-1, 4))
    assert found.half_width is None


def test_equal_utterances_leave_no_doubt():
    found = RateInterval()
    found.add(counts_of([1] * 9, [5] * 9))
    assert found.half_width == pytest.approx(0, abs=1e-6)


def test_it_is_that_of_the_bootstrap():
    rng = np.random.default_rng(0)
    units = rng.integers(3, 30, 800)
    errors = rng.binomial(units, rng.beta(1, 6, 800))
    found = RateInterval()
    found.add(counts_of(errors, units))
    low, high = interval(draw_rates(np.stack([errors, units], axis=1), 0, 4000))
    assert found.half_width == pytest.approx((high - low) / 2, rel=0.05)
    assert (low + high) / 2 == pytest.approx(100 * errors.sum() / units.sum(), rel=0.01)
