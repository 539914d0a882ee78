"""Predict the error rate at other sizes of training set, from runs at several sizes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ds2cli.errors import BadUtterance, DataError
from ds2cli.io import read_lines
from ds2cli.json_lines import parse_json
from ds2cli.metrics.bootstrap import interval
from ds2cli.metrics.scaling import draw_curves, fit_curve

FARTHEST = 10.0
"""Times the largest size that was trained: predictions for more are marked as far extrapolations."""

PAPER_REDUCTION = 40.0
"""Reduction of the error rate by tenfold data that the paper states (percent, §6.1)."""


EXAMPLE = '{"hours": 100, "wer": 24.5, "seed": 1}'


def read_curve(path: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Hours and error rates (percent) of runs, (P,) each, from rows {"hours", "wer", "seed"}.

    DataError with the line of a row that is not one, or unless there are two sizes.
    """
    hours: list[float] = []
    rates: list[float] = []
    runs: set[tuple[float, str]] = set()
    for number, line in read_lines(path):
        where = f"{path}:{number}"
        try:
            row = parse_json(line)
        except BadUtterance as e:
            raise DataError(f"{where}: {e.detail} (a row is {EXAMPLE})") from e
        for name, values in (("hours", hours), ("wer", rates)):
            value = row.get(name)
            if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
                found = "nothing" if value is None else json.dumps(value)
                raise DataError(f"{where}: {name}: expected a number above 0, got {found} (a row is {EXAMPLE})")
            values.append(float(value))
        seed = row.get("seed")
        run = hours[-1], json.dumps(seed)
        if seed is not None and run in runs:
            raise DataError(f"{where}: expected one row for {hours[-1]:g} h and seed {seed}, got another (remove one)")
        runs.add(run)
    if len(set(hours)) < 2:
        raise DataError(f"{path}: expected runs with at least 2 sizes of training set, got {len(set(hours))}")
    return np.array(hours), np.array(rates)


def extrapolate(path: str, hours: float, target: float | None, seed: int = 0) -> dict[str, Any]:
    """Fit the runs in a file and predict.

    a, b, c: of wer = a h^-b + c (c 0 without a floor). wer, wer_interval: at `hours`, with 95 % intervals from a
    bootstrap `over` "seeds", or over "residuals" where no size has several runs. reduction: by tenfold data, up to
    `hours` (percent). hours_needed: for `target` (percent), null if the curve does not reach it. far: whether `hours`
    is beyond FARTHEST times the largest size.
    Raises DataError as `read_curve`.
    """
    sizes, rates = read_curve(path)
    curve, floor = fit_curve(sizes, rates)
    drawn, over_seeds = draw_curves(sizes, rates, floor=floor, seed=seed)
    result: dict[str, Any] = {
        "runs": len(sizes),
        "sizes": len(np.unique(sizes)),
        "smallest": float(sizes.min()),
        "largest": float(sizes.max()),
        "a": float(curve.a[0]),
        "b": float(curve.b[0]),
        "c": float(curve.c[0]),
        "floor": floor,
        "over": "seeds" if over_seeds else "residuals",
        "hours": hours,
        "wer": round(float(curve.predict(hours)[0]), 3),
        "wer_interval": _round(drawn.predict(hours)),
        "reduction": round(float(curve.reduction(hours)[0]), 1),
        "reduction_interval": _round(drawn.reduction(hours)),
        "paper_reduction": PAPER_REDUCTION,
        "far": hours > FARTHEST * float(sizes.max()),
    }
    if target is not None:
        needed = drawn.hours_for(target)
        result["target_wer"] = target
        result["hours_needed"] = _finite(float(curve.hours_for(target)[0]))
        # quantiles of sorted values: those of curves that never reach the target are infinite
        ends = np.sort(needed)[[int(0.025 * len(needed)), int(0.975 * len(needed))]]
        result["hours_needed_interval"] = [_finite(float(end)) for end in ends]
        needed_hours = result["hours_needed"]
        result["target_far"] = needed_hours is None or needed_hours > FARTHEST * float(sizes.max())
    return result


def _round(values: NDArray[np.float64]) -> list[float]:
    return [round(end, 3) for end in interval(values)]


def _finite(value: float) -> float | None:
    """A number for JSON, with 4 digits; None if it is infinite or beyond all data."""
    return float(f"{value:.4g}") if value < 1e12 else None
