"""The grid and its best point."""

from __future__ import annotations

from ds2cli.metrics.wer import Counts
from ds2cli.search.tune import Trial, at_the_edge, best_of, grid


def test_every_point_is_tried_once_and_the_best_is_found():
    tried = []

    def decode(alpha, beta):
        tried.append((alpha, beta))
        return ["a b", "c"] if (alpha, beta) == (1.0, 2.0) else ["a b", "x"]

    trials = list(grid(decode, ["a b", "c"], [0.5, 1.0, 1.5], [1.0, 2.0], "word"))
    assert tried == [(a, b) for a in (0.5, 1.0, 1.5) for b in (1.0, 2.0)]
    best = best_of(trials)
    assert (best.alpha, best.beta, best.counts.errors) == (1.0, 2.0, 0)
    assert trials[0].counts == Counts(hits=2, subs=1)


def test_the_first_of_equals_wins():
    trials = [Trial(a, 0.0, Counts(subs=1)) for a in (0.2, 0.4)]
    assert best_of(trials).alpha == 0.2


def test_a_best_value_at_the_edge_is_told():
    at = Trial(1.0, 2.0, Counts())
    assert at_the_edge(at, [0.5, 1.0, 1.5], [1.0, 2.0, 3.0]) == []
    assert at_the_edge(at, [0.5, 1.0], [2.0, 3.0]) == ["alpha", "beta"]
    assert at_the_edge(at, [1.0], [2.0]) == []
    assert at_the_edge(Trial(0.0, 1.0, Counts()), [0.0, 1.0], [0.0, 1.0, 2.0]) == []
