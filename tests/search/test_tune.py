"""The grid and its best point."""

from __future__ import annotations

from ds2cli.metrics.wer import Counts
from ds2cli.search.tune import Grid, Trial, Weights, at_the_edge, best_of, try_all

GRID = Grid(alphas=[0.5, 1.0, 1.5], betas=[1.0, 2.0], unknowns=[0.0, -3.0])


def test_every_point_is_tried_once_and_the_best_is_found():
    tried = []

    def decode(weights):
        tried.append(weights)
        return ["a b", "c"] if weights == Weights(1.0, 2.0, -3.0) else ["a b", "x"]

    trials = list(try_all(GRID, decode, ["a b", "c"], "word"))
    assert len(GRID) == len(tried) == len(set(tried)) == 12
    best = best_of(trials)
    assert (best.weights, best.counts.errors) == (Weights(1.0, 2.0, -3.0), 0)
    assert trials[0].counts == Counts(hits=2, subs=1)


def test_of_equals_the_first_wins():
    trials = [Trial(Weights(a, 0.0, 0.0), Counts(subs=1)) for a in (0.2, 0.4)]
    assert best_of(trials).weights.alpha == 0.2


def test_a_best_value_at_the_edge_is_told():
    wide = Grid([0.5, 1.0, 1.5], [1.0, 2.0, 3.0], [0.0, -3.0, -6.0])
    assert at_the_edge(Weights(1.0, 2.0, -3.0), wide) == []
    assert at_the_edge(Weights(1.0, 2.0, 0.0), wide) == []
    assert at_the_edge(Weights(1.5, 1.0, -6.0), wide) == ["alpha", "beta", "unknown"]
    assert at_the_edge(Weights(1.5, 1.0, -6.0), Grid([1.5], [1.0], [-6.0])) == []
    assert at_the_edge(Weights(0.0, 2.0, 0.0), Grid([0.0, 1.0], [1.0, 2.0, 3.0], [0.0])) == []
