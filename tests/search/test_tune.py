"""Weights found by trying: the grid, the steps from it, and what is shown around the best."""

from __future__ import annotations

import numpy as np
import pytest

from ds2cli.metrics.wer import Counts
from ds2cli.search.tune import AROUND, Axis, Trial, Tried, Weights, optimise, plane

ALPHA = Axis("alpha", (0.4, 0.8, 1.2), least=0.0)
BETA = Axis("beta", (-1.0, 1.0, 3.0))
LETTER = Axis("unknown_letter", (0.0, -1.0), most=0.0)
START = Weights(0.8, 1.0, -4.0, -1.0)


def bowl(weights, at=(1.03, 2.4)):
    """Errors that grow with the distance from a point between those of the grid."""
    return int(1000 * ((weights.alpha - at[0]) ** 2 + 0.05 * (weights.beta - at[1]) ** 2))


def trying(errors, letters=lambda w: 0):
    asked = []

    def evaluate(points):
        for point in points:
            asked.append(point)
            yield Trial(point, Counts(hits=9, subs=errors(point)), letters(point), np.zeros((1, 2), np.int64))

    return Tried(evaluate), asked


def test_the_grid_comes_first_then_steps_lead_to_where_errors_are_few():
    tried, asked = trying(bowl)
    trials = list(optimise([ALPHA, BETA], START, tried))
    grid = [(a, b) for a in ALPHA.values for b in BETA.values]
    assert [(w.alpha, w.beta) for w in asked[:9]] == [(0.8, 1.0), *[p for p in grid if p != (0.8, 1.0)]]
    assert all((w.unknown, w.unknown_letter) == (-4.0, -1.0) for w in asked)
    best = tried.best()[0].weights
    assert best.alpha == pytest.approx(1.03, abs=0.03) and best.beta == pytest.approx(2.4, abs=0.15)
    assert [t.weights for t in trials] == asked
    assert len(asked) == len(set(asked)) == len(tried) < 60


def test_the_same_again():
    first, second = trying(bowl)[0], trying(bowl)[0]
    assert [t.weights for t in optimise([ALPHA, BETA], START, first)] == [
        t.weights for t in optimise([ALPHA, BETA], START, second)
    ]


def test_the_best_may_lie_outside_the_grid_but_not_outside_the_bounds():
    tried, _ = trying(lambda w: bowl(w, (2.6, 9.0)))
    list(optimise([ALPHA, BETA], START, tried))
    best = tried.best()[0].weights
    assert best.alpha == pytest.approx(2.6, abs=0.1) and best.beta == pytest.approx(9.0, abs=0.3)
    tried, asked = trying(lambda w: bowl(w, (-3.0, 0.0)))
    list(optimise([ALPHA, BETA, LETTER], START, tried))
    assert tried.best()[0].weights.alpha == 0.0
    assert min(w.alpha for w in asked) == 0.0
    assert max(w.unknown_letter for w in asked) == 0.0


def test_one_value_is_kept():
    tried, asked = trying(bowl)
    list(optimise([Axis("alpha", (0.7,)), BETA], START, tried))
    assert {w.alpha for w in asked} == {0.7, START.alpha}
    tried, asked = trying(bowl)
    list(optimise([Axis("alpha", (0.8,)), Axis("beta", (1.0,))], START, tried))
    assert asked == [START]


def test_of_equals_the_fewer_wrong_letters_win_then_the_first():
    tried, _ = trying(lambda w: 1, lambda w: 5 if w.alpha == 1.2 and w.beta == 1.0 else 7)
    list(optimise([ALPHA, BETA], START, tried))
    assert tried.best()[0].weights == Weights(1.2, 1.0, -4.0, -1.0)
    tried, _ = trying(lambda w: 1)
    list(optimise([ALPHA, BETA], START, tried))
    assert tried.best()[0].weights == START


def test_what_lies_around_the_best():
    rows = plane(Weights(1.0, 2.0), ALPHA, BETA)
    assert [row[0].alpha for row in rows] == pytest.approx([0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6])
    assert [w.beta for w in rows[0]] == [-1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert rows[AROUND][AROUND] == Weights(1.0, 2.0)
    # a bound leaves fewer
    assert [row[0].alpha for row in plane(Weights(0.2, 2.0), ALPHA, BETA)] == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8])
    assert len(plane(Weights(0.2, 2.0), Axis("alpha", (0.2,)), BETA)) == 1
