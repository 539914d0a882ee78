"""How much partial results change, and how late they are: by construction."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from ds2cli.metrics.stability import (
    Changes,
    Quantiles,
    WordDelay,
    count_changes,
    summarize_delays,
    word_delays,
)


def changes(*texts):
    return count_changes([[(float(i), text) for i, text in enumerate(texts)]])


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        # words, unstable, added, revoked, results
        ((), (0, 0, 0, 0, 0)),
        (("",), (0, 0, 0, 0, 1)),
        (("a b",), (2, 0, 2, 0, 1)),
        (("a", "a b", "a b", "a b c"), (3, 0, 3, 0, 4)),
        # the last word grows
        (("he", "hell", "hello", "hello w", "hello world"), (2, 0, 2, 0, 5)),
        # another word; a shorter one
        (("i want", "eye want"), (2, 1, 4, 2, 2)),
        (("hello", "hell"), (1, 1, 2, 1, 2)),
        # only the last word can grow: an earlier one changes
        (("he wo", "hello wo"), (2, 1, 4, 2, 2)),
        # a word before the others: they stay, but are written again
        (("b c", "a b c"), (3, 0, 5, 2, 2)),
        (("a x", "a", "a b"), (2, 1, 3, 1, 3)),
        # to and fro
        (("a", "b", "a", "b"), (1, 3, 4, 3, 4)),
        (("a b", ""), (0, 2, 2, 2, 2)),
        (("你 好", "你 们"), (2, 1, 3, 1, 2)),
    ],
)
def test_changes(texts, expected):
    assert changes(*texts) == Changes(*expected)


def test_ratios():
    found = changes("i want", "eye want")
    assert (found.unstable_ratio, found.unstable_share, found.edit_overhead) == (1 / 2, 1 / 3, 2 / 3)
    steady = changes("a", "a b")
    assert (steady.unstable_ratio, steady.unstable_share, steady.edit_overhead) == (0.0, 0.0, 0.0)
    nothing = changes("")
    assert (nothing.unstable_ratio, nothing.unstable_share, nothing.edit_overhead) == (None, None, None)


def test_utterances_add_up():
    first, second = [(0.0, "a"), (1.0, "b")], [(0.0, "a b"), (1.0, "a c"), (2.0, "a c d")]
    assert count_changes([first, second]) == count_changes([first]) + count_changes([second])
    assert count_changes([]) == Changes()


def plain(texts):
    """The same counts by an edit distance of lists."""
    unstable = added = revoked = 0
    for before, after in pairwise([[], *(text.split() for text in texts)]):
        before = list(before)
        if before and len(after) >= len(before) and after[len(before) - 1].startswith(before[-1]):
            before[-1] = after[len(before) - 1]
        same = 0
        while same < min(len(before), len(after)) and before[same] == after[same]:
            same += 1
        added, revoked = added + len(after) - same, revoked + len(before) - same
        cost = list(range(len(after) + 1))
        for i, word in enumerate(before, start=1):
            diagonal, cost[0] = cost[0], i
            for j, other in enumerate(after, start=1):
                diagonal, cost[j] = cost[j], min(cost[j] + 1, cost[j - 1] + 1, diagonal + (word != other))
        unstable += cost[-1]
    return unstable, added, revoked


@pytest.mark.parametrize("seed", range(20))
def test_edits_agree_with_a_plain_reference(seed):
    rng = random.Random(seed)
    texts = [" ".join(rng.choices(["a", "ab", "b", "c"], k=rng.randrange(5))) for _ in range(10)]
    found = changes(*texts)
    errors, added, revoked = plain(texts)
    assert (found.added, found.revoked) == (added, revoked)
    # words that are only added are errors, but not unstable
    assert found.unstable <= min(errors, revoked)
    assert found.added - found.revoked == found.words == len(texts[-1].split())


@pytest.mark.parametrize(
    ("shown", "ends", "expected"),
    [
        ([], [], []),
        ([(1.0, "")], [], []),
        # only in the final result
        ([(2.0, "a b")], [0.5, 1.0], [(1.5, 1.5), (1.0, 1.0)]),
        # a growing word counts when it is complete; a word may be guessed early
        ([(1.0, "hel"), (1.25, "hello"), (3.0, "hello")], [1.5], [(-0.25, -0.25)]),
        # shown, changed, shown for good
        ([(1.0, "a"), (2.0, "b"), (3.0, "a b"), (4.0, "a b")], [0.5, 2.5], [(0.5, 2.5), (0.5, 0.5)]),
        # in its place
        ([(1.0, "b"), (2.0, "a b")], [0.0, 0.5], [(2.0, 2.0), (1.5, 1.5)]),
        # a word whose end is not known is left out
        ([(1.0, "a b")], [None, 0.5], [(0.5, 0.5)]),
    ],
)
def test_delays(shown, ends, expected):
    assert word_delays(shown, ends) == [WordDelay(*delay) for delay in expected]


def test_each_word_needs_its_end():
    with pytest.raises(ValueError, match="expected the ends of 2 words, got 1"):
        word_delays([(1.0, "a b")], [0.5])


def test_quantiles():
    assert summarize_delays([]) is None
    assert summarize_delays([0.25]) == Quantiles(250.0, 250.0)
    assert summarize_delays([i / 100 for i in range(101)]) == pytest.approx((500.0, 950.0))
