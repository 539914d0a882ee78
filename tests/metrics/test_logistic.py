"""Logistic regression: the minimum found by plain gradient descent, separable classes, features that say nothing."""

from __future__ import annotations

import numpy as np
import pytest

from ds2cli.errors import DataError
from ds2cli.metrics.logistic import RIDGE, LogisticModel, fit_logistic


def data(n=60, f=3, seed=0, noise=1.0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, f)) * [1.0, 50.0, 1e-3][:f] + [0, 1000, 5][:f]
    z = (x - x.mean(0)) / x.std(0)
    return x, z @ [2.0, -1.0, 0.5][:f] + 0.3 + noise * rng.normal(size=n) > 0, rng.uniform(0.1, 3, n)


def by_descent(x, good, weights, ridge, steps=20000, rate=0.5):
    """The weights and the bias, by gradient descent on standardized features."""
    shares = weights / weights.sum()
    mean = (shares[:, None] * x).sum(0)
    z = (x - mean) / np.sqrt((shares[:, None] * (x - mean) ** 2).sum(0))
    beta, bias = np.zeros(x.shape[1]), 0.0
    for _ in range(steps):
        slope = shares * (1 / (1 + np.exp(-(z @ beta + bias))) - good)
        beta, bias = beta - rate * (z.T @ slope + ridge * beta), bias - rate * slope.sum()
    return beta, bias


@pytest.mark.parametrize("seed", range(3))
def test_the_minimum_is_that_of_gradient_descent(seed):
    x, good, weights = data(seed=seed)
    model = fit_logistic(x, good, weights, ridge=0.01)
    beta, bias = by_descent(x, good, weights, 0.01)
    assert model.weights == pytest.approx(beta, abs=1e-4) and model.bias == pytest.approx(bias, abs=1e-4)


def test_a_weight_counts_like_copies_of_the_example():
    x, good, _ = data()
    copies = np.random.default_rng(5).integers(1, 4, len(x))
    weighted = fit_logistic(x, good, copies.astype(float))
    copied = fit_logistic(np.repeat(x, copies, axis=0), np.repeat(good, copies), np.ones(copies.sum()))
    assert weighted.probabilities(x) == pytest.approx(copied.probabilities(x), abs=1e-6)


def test_units_of_features_do_not_matter():
    x, good, weights = data()
    metres, feet = fit_logistic(x, good, weights), fit_logistic(3.28 * x + 7, good, weights)
    assert metres.probabilities(x) == pytest.approx(feet.probabilities(3.28 * x + 7), abs=1e-6)
    assert metres.weights == pytest.approx(feet.weights, abs=1e-6)


def test_classes_that_a_plane_separates_get_finite_weights():
    x = np.array([[0.0], [1.0], [2.0], [3.0]])
    model = fit_logistic(x, x[:, 0] > 1.5, np.ones(4))
    p = model.probabilities(x)
    assert np.isfinite(model.weights).all() and (np.diff(p) > 0).all() and p[1] < 0.1 and p[2] > 0.9
    assert p[1] + p[2] == pytest.approx(1)


def test_constant_features_leave_the_share_of_the_good():
    x = np.full((4, 2), 1e9 / 3)
    model = fit_logistic(x, np.array([True, True, True, False]), np.ones(4))
    assert model.probabilities(x) == pytest.approx([0.75] * 4) and (model.weights == 0).all()


def test_equal_features_share_their_weight():
    x, good, weights = data(f=1)
    model = fit_logistic(np.column_stack([x, x]), good, weights)
    assert model.weights[0] == pytest.approx(model.weights[1])


def test_no_number_overflows():
    model = LogisticModel(np.array([2.0, -3.0]), np.zeros(2), np.array([1e-300, 1.0]), 0.5)
    p = model.probabilities(np.array([[1e308, 0], [-1e308, 0], [0, 1e308], [1e308, 1e308]]))
    assert p.tolist()[:3] == [1.0, 0.0, 0.0] and np.isfinite(p).all()


@pytest.mark.parametrize(("good", "missing"), [([True, True], "bad"), ([False, False], "good")])
def test_one_class_is_none(good, missing):
    with pytest.raises(DataError, match=f"there are no {missing} ones"):
        fit_logistic(np.array([[0.0], [1.0]]), np.array(good), np.ones(2))
    with pytest.raises(DataError, match="there are no"):
        fit_logistic(np.array([[0.0], [1.0]]), np.array([True, False]), np.array([1.0, 0.0]))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_are_refused(value):
    with pytest.raises(DataError, match="a feature is infinite or not a number"):
        fit_logistic(np.array([[0.0], [value]]), np.array([True, False]), np.ones(2))


def test_far_outliers_converge():
    x = np.array([[0.0], [0.1], [0.2], [1e12], [0.05], [1e9]])
    good = np.array([True, True, True, False, False, False])
    model = fit_logistic(x, good, np.ones(6))
    p, shares = model.probabilities(x), np.ones(6) / 6
    z = (x[:, 0] - model.means) / model.scales
    assert shares @ (p - good) == pytest.approx(0, abs=1e-4)
    assert z @ (shares * (p - good)) + RIDGE * model.weights[0] == pytest.approx(0, abs=1e-4)
