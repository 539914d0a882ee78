"""How an error rate falls with the hours of training data: wer = a h^-b + c (paper §6.1, table 10).

P points (a training run each), S sizes, R draws of the bootstrap, K candidates for c.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ds2cli.blas import load_scipy

special = load_scipy("special")

Floats = NDArray[np.float64]

SIZES_FOR_FLOOR = 4
"""Sizes of training set from which the curve may have a floor c: it has three parameters then."""

CANDIDATES, ROUNDS = 21, 3
"""Floors that are tried in each round, the first from 0 to the lowest error rate, the others around the best one."""

HIGHEST = 0.999
"""Largest floor, as a share of the lowest error rate."""

CRITICAL = np.array(
    [[1, 2, 3, 4, 5, 6, 8, 10, 20, np.inf], [39.9, 8.53, 5.54, 4.54, 4.06, 3.78, 3.46, 3.29, 2.97, 2.71]]
)
"""Degrees of freedom, and the F (1, n) that a floor must exceed: the 5 % level, as a floor is not below 0."""

MOST_AT_ONCE = 2_000_000
"""Candidates times points of all rows that are computed at once."""

DRAWS = 1000


class Curves(NamedTuple):
    """Curves wer = a h^-b + c, (R,) each; wer in percent, h in hours."""

    a: Floats
    b: Floats
    c: Floats

    def predict(self, hours: float) -> Floats:
        """The error rates at this size, (R,)."""
        return self.a * hours**-self.b + self.c

    def hours_for(self, wer: float) -> Floats:
        """The hours at which the curves reach an error rate, (R,): inf where they never do, or do not fall."""
        out = np.full(len(self.a), np.inf)
        reached = (self.c < wer) & (self.b > 0)
        out[reached] = np.exp(np.log(self.a[reached] / (wer - self.c[reached])) / self.b[reached])
        return out

    def reduction(self, hours: float) -> Floats:
        """Reduction of the error rate by tenfold data, from hours / 10 to hours (percent), (R,)."""
        return 100 * (1 - self.predict(hours) / self.predict(hours / 10))


def fit_curve(hours: Floats, wer: Floats) -> tuple[Curves, bool]:
    """The curve through points (P,) of at least two sizes, by least squares of log(wer); whether it has a floor.

    A floor is fitted to SIZES_FOR_FLOOR sizes or more, and kept if it explains significantly more.
    """
    without, error = _fit(hours, wer[None], floors=False)
    free = len(wer) - 3
    if len(np.unique(hours)) < SIZES_FOR_FLOOR or free < 1:
        return without, False
    with_floor, lower = _fit(hours, wer[None], floors=True)
    limit = float(np.interp(-1 / free, -1 / CRITICAL[0], CRITICAL[1]))
    if (error[0] - lower[0]) * free > limit * lower[0] and with_floor.c[0] > 0:
        return with_floor, True
    return without, False


def draw_curves(hours: Floats, wer: Floats, *, floor: bool, seed: int = 0, draws: int = DRAWS) -> tuple[Curves, bool]:
    """Curves through R resampled sets of points; whether runs were resampled.

    Where sizes have several runs (seeds), the spread of the curves is that between runs: deviations of log(wer) from
    the means of their sizes are drawn for all runs, also for those that are alone. If no size has several, the
    residuals of the curve are drawn instead.
    """
    rng = np.random.default_rng(seed)
    order = np.argsort(hours, kind="stable")
    hours, wer = hours[order], wer[order]
    _, size, counts = np.unique(hours, return_inverse=True, return_counts=True)
    if counts.max() > 1:
        means = (np.bincount(size, np.log(wer)) / counts)[size]
        deviations = (np.log(wer) - means)[counts[size] > 1]
        free = len(deviations) - int((counts > 1).sum())
        # a mean is closer to its few runs than the true one, and how far they spread is known from few
        scale = np.sqrt(len(deviations) / free) * special.stdtrit(free, 0.975) / special.ndtri(0.975)
        drawn = means + scale * rng.choice(deviations, (draws, len(wer)))
        return _fit(hours, np.exp(drawn), floors=floor)[0], True
    curve, _ = _fit(hours, wer[None], floors=floor)
    expected = np.log(curve.a[:, None] * hours ** -curve.b[:, None] + curve.c[:, None])[0]
    # a fitted curve passes closer to the points than the true one
    scale = np.sqrt(len(wer) / max(len(wer) - 2 - floor, 1))
    residuals = rng.choice(np.log(wer) - expected, (draws, len(wer))) * scale
    return _fit(hours, np.exp(expected + residuals), floors=floor)[0], False


def _fit(hours: Floats, wer: Floats, *, floors: bool) -> tuple[Curves, Floats]:
    """The curves through points (R, P), and the sums of their squared errors of log(wer), (R,)."""
    at_once = max(MOST_AT_ONCE // (CANDIDATES * wer.shape[1]), 1)
    if len(wer) > at_once:
        parts = [_fit(hours, wer[n : n + at_once], floors=floors) for n in range(0, len(wer), at_once)]
        curves = Curves(*map(np.concatenate, zip(*(curve for curve, _ in parts), strict=True)))
        return curves, np.concatenate([least for _, least in parts])
    if not floors:
        return _fit_floors(hours, wer, np.zeros((1, len(wer))))
    shares, width = np.repeat(np.linspace(0, HIGHEST, CANDIDATES)[:, None], len(wer), axis=1), HIGHEST / CANDIDATES
    for _ in range(ROUNDS):
        best, least = _fit_floors(hours, wer, shares)
        # again, around the best floor of each row
        nearest = best.c / wer.min(1) + width * np.linspace(-1, 1, CANDIDATES)[:, None]
        shares, width = np.clip(nearest, 0, HIGHEST), 2 * width / CANDIDATES
    return best, least


def _fit_floors(hours: Floats, wer: Floats, shares: Floats) -> tuple[Curves, Floats]:
    """As `_fit`, with the best of the floors that are these shares (K, R) of the lowest error rate of each row."""
    c = shares * wer.min(1)
    rest = wer - c[:, :, None]
    x, y = np.log(hours), np.log(rest)
    # errors of log(wer), not of log(wer - c)
    weight = (rest / wer) ** 2
    total = weight.sum(2)
    mean_x, mean_y = (weight * x).sum(2) / total, (weight * y).sum(2) / total
    from_mean = x - mean_x[:, :, None]
    spread = (weight * from_mean**2).sum(2)
    b = -(weight * from_mean * (y - mean_y[:, :, None])).sum(2) / np.where(spread > 0, spread, 1)
    a = np.exp(mean_y + b * mean_x)
    expected = a[:, :, None] * hours ** -b[:, :, None] + c[:, :, None]
    error = ((np.log(expected) - np.log(wer)) ** 2).sum(2)
    row = np.arange(len(wer))
    chosen = error.argmin(0)
    return Curves(a[chosen, row], b[chosen, row], c[chosen, row]), error[chosen, row]
