"""Batches as arrays: those of a plain loop over sorted positions."""

from __future__ import annotations

import numpy as np
import pytest

from ds2cli.kernels.batch_cuts import cut_batches_ref, find_cuts
from ds2cli.train.batch_plan import Steps
from ds2cli.train.batching import plan_batches


def plan_batches_ref(lengths, max_frames, seed, epoch, *, ascending=False, max_utterances=None):
    """The batches as lists, sorted and cut in Python."""
    rng = np.random.default_rng((seed, epoch))
    tie_breaker = rng.permutation(len(lengths))
    order = sorted(range(len(lengths)), key=lambda i: (lengths[i], tie_breaker[i]))
    limit = max_frames if ascending else int(max_frames * rng.uniform(0.2, 1.0))
    batches, current = [], []
    for i in order:
        if current and ((len(current) + 1) * lengths[i] > limit or len(current) == max_utterances):
            batches.append(current[::-1])
            current, limit = [], max_frames
        current.append(i)
    if current:
        batches.append(current[::-1])
    return batches if ascending else [batches[i] for i in rng.permutation(len(batches))]


@pytest.mark.parametrize("longest", [1, 12, 300, 100_000])
@pytest.mark.parametrize("count", [0, 1, 2, 50, 1000])
@pytest.mark.parametrize("ascending", [True, False])
def test_batches_are_those_of_the_plain_loop(count, longest, ascending):
    lengths = np.random.default_rng(count).integers(0, longest, count).tolist()
    for limit, most in ((900, None), (1, None), (10**6, 7), (longest, 1), (10**12, 10**9)):
        arguments = (lengths, limit, 3, 5)
        expected = plan_batches_ref(*arguments, ascending=ascending, max_utterances=most)
        found = plan_batches(*arguments, ascending=ascending, max_utterances=most)
        assert found == expected and list(found) == expected and all(type(i) is int for b in found for i in b)
        assert found.sizes.tolist() == [len(batch) for batch in expected]
        assert found.longest.tolist() == [batch[0] for batch in expected]


def test_cuts_are_those_of_the_reference():
    lengths = np.sort(np.random.default_rng(0).integers(1, 90, 500)).astype(np.int32)
    for first, limit, most in ((100, 700, None), (10, 10, 3), (700, 100, 500)):
        expected = cut_batches_ref(lengths.tolist(), first, limit, most or 10**9)
        assert find_cuts(lengths, np.arange(500, dtype=np.int32), first, limit, most).tolist() == expected


@pytest.mark.parametrize("size", [1, 2, 3, 50])
def test_steps_are_consecutive_batches(size):
    batches = plan_batches(list(range(10, 40)), 100, 0, 1)
    expected = [list(batches)[i : i + size] for i in range(0, len(batches), size)]
    steps = Steps(batches, size)
    assert list(steps) == expected and len(steps) == len(expected) and steps[-1] == expected[-1]
    for begin in range(len(steps) + 1):
        assert list(steps[begin:]) == expected[begin:] and len(steps[begin:]) == len(expected) - begin
    with pytest.raises(ValueError, match="consecutive"):
        steps[::2]
