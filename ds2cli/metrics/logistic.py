"""Logistic regression: a linear classifier whose score is a probability. Notation: N examples, F features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ds2cli.errors import DataError

RIDGE = 1e-3
"""Penalty of half the squared weights, beside the mean cross entropy (nats): it bounds the weights of classes that a
plane separates, and those of features that say the same."""

_STEPS, _TOLERANCE = 200, 1e-10
_FARTHEST = 1e6
"""Deviations from the mean beyond this count as this, so that no product overflows."""


@dataclass(frozen=True)
class LogisticModel:
    """p(good) = 1 / (1 + exp(-bias - sum of weights · (features - means) / scales)).

    weights, means, scales: (F,) float64, scales > 0.
    """

    weights: NDArray[np.float64]
    means: NDArray[np.float64]
    scales: NDArray[np.float64]
    bias: float

    def probabilities(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """The probability of each of N examples: (N,), from 0 to 1. features: (N, F), finite."""
        return _sigmoid(_standardize(features, self.means, self.scales) @ self.weights + self.bias)


def fit_logistic(
    features: NDArray[np.float64], good: NDArray[np.bool_], weights: NDArray[np.float64], ridge: float = RIDGE
) -> LogisticModel:
    """Fit by Newton's method (iteratively reweighted least squares) to standardized features.

    Minimizes the weighted mean cross entropy + ridge / 2 · |weights|², without a penalty of the bias.
    features: (N, F).  good: (N,) the classes.  weights: (N,) of the examples, not negative.
    DataError if a feature is not finite, or only one class has examples.
    """
    if not np.isfinite(features).all():
        raise DataError("a classifier is fitted to finite numbers: a feature is infinite or not a number")
    shares = weights / max(weights.sum(), np.finfo(float).tiny)
    if not shares[good].any() or not shares[~good].any():
        missing = "bad" if shares[good].any() else "good"
        raise DataError(f"a classifier is fitted to good and bad examples: there are no {missing} ones")
    means = shares @ features
    scales = np.sqrt(shares @ (features - means) ** 2)
    # rounding leaves a constant feature a deviation, and an example without weight may be far away
    scales[scales <= 1e-9 * np.maximum(1.0, np.abs(means))] = 1.0
    x = np.column_stack([_standardize(features, means, scales), np.ones(len(features))])
    penalty = np.append(np.full(features.shape[1], ridge), 0.0)
    beta = np.zeros(x.shape[1])
    cost = _cost(beta, x, good, shares, penalty)
    for _ in range(_STEPS):
        p = _sigmoid(x @ beta)
        gradient = x.T @ (shares * (p - good)) + penalty * beta
        curvature = (x.T * (shares * p * (1 - p))) @ x + np.diag(penalty + 1e-12)
        step = np.linalg.solve(curvature, gradient)
        # half of what the step promises to save; a whole step may overshoot where the curvature is small
        if gradient @ step / 2 < _TOLERANCE:
            break
        length = 1.0
        while (after := _cost(beta - length * step, x, good, shares, penalty)) > cost and length > 1e-6:
            length /= 2
        beta, cost = beta - length * step, after
    return LogisticModel(beta[:-1], means, scales, float(beta[-1]))


def _standardize(
    features: NDArray[np.float64], means: NDArray[np.float64], scales: NDArray[np.float64]
) -> NDArray[np.float64]:
    with np.errstate(over="ignore"):
        return np.clip((features - means) / scales, -_FARTHEST, _FARTHEST)


def _sigmoid(z: NDArray[np.float64]) -> NDArray[np.float64]:
    # tanh saturates where exp would overflow
    return 0.5 * (1 + np.tanh(0.5 * z))


def _cost(
    beta: NDArray[np.float64],
    x: NDArray[np.float64],
    good: NDArray[np.bool_],
    shares: NDArray[np.float64],
    penalty: NDArray[np.float64],
) -> float:
    margins = np.where(good, 1, -1) * (x @ beta)
    return float(shares @ np.logaddexp(0, -margins) + 0.5 * penalty @ beta**2)
