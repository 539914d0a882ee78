"""Tuning of search weights: the grid, the local search, and the grid shown around the best point."""

from __future__ import annotations

import numpy as np
import pytest

from ds2cli.metrics.wer import Counts
from ds2cli.search.tune import PLOT_STEPS, Axis, Trial, TrialHistory, Weights, plot_grid, tune_weights

ALPHA = Axis("alpha", (0.4, 0.8, 1.2), minimum=0.0)
BETA = Axis("beta", (-1.0, 1.0, 3.0))
LETTER = Axis("unknown_letter", (0.0, -1.0), maximum=0.0)
START = Weights(0.8, 1.0, -4.0, -1.0)


def quadratic_errors(weights, optimum=(1.03, 2.4)):
    """Errors that grow with the distance from a point off the grid."""
    return int(1000 * ((weights.alpha - optimum[0]) ** 2 + 0.05 * (weights.beta - optimum[1]) ** 2))


def make_history(errors, char_errors=lambda w: 0):
    """A trial history with these errors per point, and the list of points that it evaluates."""
    evaluated = []

    def evaluate(points):
        for point in points:
            evaluated.append(point)
            yield Trial(point, Counts(hits=9, subs=errors(point)), char_errors(point), np.zeros((1, 2), np.int64))

    return TrialHistory(evaluate), evaluated


def test_grid_comes_first_then_the_local_search_finds_the_minimum():
    history, evaluated = make_history(quadratic_errors)
    trials = list(tune_weights([ALPHA, BETA], START, history))
    grid = [(a, b) for a in ALPHA.values for b in BETA.values]
    assert [(w.alpha, w.beta) for w in evaluated[:9]] == [(0.8, 1.0), *[p for p in grid if p != (0.8, 1.0)]]
    assert all((w.unknown, w.unknown_letter) == (-4.0, -1.0) for w in evaluated)
    best = history.best()[0].weights
    assert best.alpha == pytest.approx(1.03, abs=0.03) and best.beta == pytest.approx(2.4, abs=0.15)
    assert [t.weights for t in trials] == evaluated
    assert len(evaluated) == len(set(evaluated)) == len(history) < 60


def test_the_order_of_an_axis_and_repeated_values_do_not_change_its_step():
    for values in ((0.0, 0.5, 2.0), (2.0, 0.5, 0.0), (0.5, 2.0, 0.0, 0.5)):
        assert Axis("alpha", values).step == 0.25
    assert Axis("alpha", (1.0, 1.0)).step == 0


def test_tuning_is_deterministic():
    first, second = make_history(quadratic_errors)[0], make_history(quadratic_errors)[0]
    assert [t.weights for t in tune_weights([ALPHA, BETA], START, first)] == [
        t.weights for t in tune_weights([ALPHA, BETA], START, second)
    ]


def test_best_point_may_be_outside_the_grid_but_not_outside_the_bounds():
    history, _ = make_history(lambda w: quadratic_errors(w, (2.6, 9.0)))
    list(tune_weights([ALPHA, BETA], START, history))
    best = history.best()[0].weights
    assert best.alpha == pytest.approx(2.6, abs=0.1) and best.beta == pytest.approx(9.0, abs=0.3)
    history, evaluated = make_history(lambda w: quadratic_errors(w, (-3.0, 0.0)))
    list(tune_weights([ALPHA, BETA, LETTER], START, history))
    assert history.best()[0].weights.alpha == 0.0
    assert min(w.alpha for w in evaluated) == 0.0
    assert max(w.unknown_letter for w in evaluated) == 0.0


def test_weight_with_a_single_value_is_fixed():
    history, evaluated = make_history(quadratic_errors)
    list(tune_weights([Axis("alpha", (0.7,)), BETA], START, history))
    assert {w.alpha for w in evaluated} == {0.7, START.alpha}
    history, evaluated = make_history(quadratic_errors)
    list(tune_weights([Axis("alpha", (0.8,)), Axis("beta", (1.0,))], START, history))
    assert evaluated == [START]


def test_ties_are_broken_by_character_errors_then_by_order():
    history, _ = make_history(lambda w: 1, lambda w: 5 if w.alpha == 1.2 and w.beta == 1.0 else 7)
    list(tune_weights([ALPHA, BETA], START, history))
    assert history.best()[0].weights == Weights(1.2, 1.0, -4.0, -1.0)
    history, _ = make_history(lambda w: 1)
    list(tune_weights([ALPHA, BETA], START, history))
    assert history.best()[0].weights == START


def test_plot_grid():
    rows = plot_grid(Weights(1.0, 2.0), ALPHA, BETA)
    assert [row[0].alpha for row in rows] == pytest.approx([0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6])
    assert [w.beta for w in rows[0]] == [-1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert rows[PLOT_STEPS][PLOT_STEPS] == Weights(1.0, 2.0)
    # a bound leaves fewer values
    assert [row[0].alpha for row in plot_grid(Weights(0.2, 2.0), ALPHA, BETA)] == pytest.approx(
        [0.0, 0.2, 0.4, 0.6, 0.8]
    )
    assert len(plot_grid(Weights(0.2, 2.0), Axis("alpha", (0.2,)), BETA)) == 1


def test_a_local_search_starts_from_several_points_of_the_grid():
    """The best point on the grid has only worse neighbors; a better point lies near the second best."""

    def errors(weights):
        at = weights.alpha, weights.beta
        return {(0.4, -1.0): 10, (1.2, 3.0): 11, (1.2, 2.0): 5}.get(at, 50)

    history, _ = make_history(errors)
    list(tune_weights([ALPHA, BETA], START, history))
    assert (history.best()[0].weights.alpha, history.best()[0].weights.beta) == (1.2, 2.0)


def test_local_searches_halve_their_steps_three_times_where_nothing_is_better():
    history, evaluated = make_history(lambda w: 1)
    list(tune_weights([ALPHA], START, history))
    steps = [sign * 0.2 / 2**halvings for halvings in range(4) for sign in (-1, 1)]
    around = {round(center + step, 6) for center in ALPHA.values for step in steps}
    assert {w.alpha for w in evaluated} == {*ALPHA.values, *around}


def test_points_have_six_decimals_and_zero_has_no_sign():
    (point,) = ALPHA.points_around(Weights(0.1, 0.0), (2,), 0.1)
    assert point.alpha == 0.3
    (point,) = LETTER.points_around(Weights(0.0, 0.0, unknown_letter=-1e-7), (0,), 0.5)
    assert str(point.unknown_letter) == "0.0"
