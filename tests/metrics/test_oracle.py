"""The oracle error rate of n-best lists."""

from __future__ import annotations

from ds2cli.metrics.oracle import Oracle
from ds2cli.metrics.wer import Counts


def test_the_best_of_more_is_never_worse():
    oracle = Oracle()
    oracle.add([Counts(subs=3), Counts(subs=2), Counts(dels=2), Counts(hits=3)])
    oracle.add([Counts(subs=1, hits=1)])
    rates = dict(oracle.rates())
    assert {n: c.errors for n, c in rates.items()} == {1: 4, 2: 3, 4: 1}
    # the first of equally good hypotheses counts
    assert rates[2] == Counts(subs=3, hits=1)


def test_n_above_the_longest_list_is_left_out():
    oracle = Oracle()
    assert list(oracle.rates()) == []
    oracle.add([Counts(subs=1)])
    assert list(oracle.rates()) == [(1, Counts(subs=1))]
    oracle.add([Counts(subs=1)] * 6 + [Counts(hits=1)])
    assert [n for n, _ in oracle.rates()] == [1, 2, 5, 7]
    assert dict(oracle.rates())[7] == Counts(hits=1, subs=1)
    oracle.add([Counts(hits=1)] * 3000)
    assert [n for n, _ in oracle.rates()] == [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 3000]
