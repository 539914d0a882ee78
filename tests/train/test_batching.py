from __future__ import annotations

import numpy as np
import pytest
import torch

from ds2cli.errors import BadUtterance
from ds2cli.train.batches import halve_batch, load_batch
from ds2cli.train.batching import plan_batches
from ds2cli.train.examples import Utterance

LENGTHS = [int(n) for n in np.random.default_rng(0).integers(10, 300, 101)]


def features_from(arrays):
    """Train features from a dict; those missing from it are unreadable."""

    def train_features(utterance, _epoch):
        if utterance.feats not in arrays:
            raise BadUtterance("missing-archive", "no such file")
        return arrays[utterance.feats]

    return train_features


def utterance(name, frames, labels=(1, 2)):
    return Utterance(name, name, frames, np.array(labels, np.int32), "ab")


@pytest.mark.parametrize("ascending", [True, False])
def test_every_utterance_is_in_one_batch_within_the_limit(ascending):
    batches = plan_batches(LENGTHS, 900, 0, 1, ascending=ascending)
    assert sorted(i for batch in batches for i in batch) == list(range(101))
    for batch in batches:
        lengths = [LENGTHS[i] for i in batch]
        assert lengths == sorted(lengths, reverse=True) and len(batch) * lengths[0] <= 900


def test_sorta_grad_goes_from_short_to_long_and_later_epochs_do_not():
    longest = [LENGTHS[batch[0]] for batch in plan_batches(LENGTHS, 900, 0, 0, ascending=True)]
    assert longest == sorted(longest)
    later = [LENGTHS[batch[0]] for batch in plan_batches(LENGTHS, 900, 0, 1)]
    assert later != sorted(later)


def test_batches_follow_from_seed_and_epoch():
    assert plan_batches(LENGTHS, 900, 5, 3) == plan_batches(LENGTHS, 900, 5, 3)
    assert plan_batches(LENGTHS, 900, 5, 3) != plan_batches(LENGTHS, 900, 5, 4)
    assert plan_batches(LENGTHS, 900, 5, 3) != plan_batches(LENGTHS, 900, 6, 3)


def test_an_utterance_longer_than_the_limit_is_a_batch_of_its_own():
    assert sorted(map(len, plan_batches([10, 5000, 10], 100, 0, 0, ascending=True))) == [1, 2]
    assert plan_batches([], 100, 0, 1) == []


def test_there_is_little_padding():
    batches = plan_batches(LENGTHS, 3000, 0, 1)
    padded = sum(len(b) * LENGTHS[b[0]] for b in batches)
    assert padded < 1.15 * sum(LENGTHS)


def test_a_batch_is_padded_longest_first():
    arrays = {"a": np.ones((2, 3), np.float32), "b": np.full((4, 3), 2, np.float32)}
    batch = load_batch([utterance("a", 2, (1,)), utterance("b", 4, (3, 4))], features_from(arrays))
    assert batch.ids == ["b", "a"] and batch.lengths.tolist() == [4, 2]
    assert batch.feats[:, :, 0].tolist() == [[2, 2, 2, 2], [1, 1, 0, 0]]
    assert batch.targets.tolist() == [[3, 4], [1, 0]] and batch.target_lengths.tolist() == [2, 1]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite_are_left_out_by_name(value):
    arrays = {"a": np.ones((2, 3), np.float32), "b": np.full((4, 3), value, np.float32)}
    batch = load_batch([utterance("a", 2), utterance("b", 4)], features_from(arrays))
    assert batch.ids == ["a"] and batch.unusable == {"b": "features-not-finite"}


def test_unreadable_and_empty_utterances_are_left_out_by_name():
    arrays = {"a": np.ones((2, 3), np.float32), "b": np.zeros((0, 3), np.float32)}
    batch = load_batch([utterance("a", 2), utterance("b", 4), utterance("c", 4)], features_from(arrays))
    assert batch.ids == ["a"] and batch.unusable == {"b": "no-frames", "c": "missing-archive"}


@pytest.mark.parametrize("count", [2, 3, 4])
def test_halves_have_the_rows_of_the_batch_with_less_padding(count):
    arrays = {str(i): np.full((i + 1, 3), i + 1, np.float32) for i in range(count)}
    batch = load_batch([utterance(str(i), i + 1, [1] * (i + 1)) for i in range(count)], features_from(arrays))
    long, short = halve_batch(batch)
    assert long.ids + short.ids == batch.ids and len(long.ids) - len(short.ids) in (0, 1)
    for part in (long, short):
        single = load_batch([utterance(i, int(i) + 1, [1] * (int(i) + 1)) for i in part.ids], features_from(arrays))
        assert torch.equal(part.feats, single.feats) and torch.equal(part.targets, single.targets)
        assert torch.equal(part.lengths, single.lengths) and part.unusable == {}


def test_an_unusable_batch_gives_a_reason_for_each_utterance():
    batch = load_batch([utterance("a", 2), utterance("b", 2)], features_from({"a": np.ones((2, 3), np.float32)}))
    assert batch.all_unusable("single-step").unusable == {"a": "single-step", "b": "missing-archive"}


def test_the_number_of_utterances_is_limited():
    batches = plan_batches(LENGTHS, 10**6, 0, 1, max_utterances=7)
    assert max(map(len, batches)) == 7 and sorted(i for b in batches for i in b) == list(range(101))


def test_an_empty_batch_has_no_rows():
    batch = load_batch([], features_from({}))
    assert batch.ids == [] and batch.feats.shape[0] == 0
    assert batch.lengths.dtype == torch.int64


def test_halves_keep_the_whole_label_of_the_shorter_utterance():
    labels = {8: (1,), 7: (1, 2, 3, 1), 4: (2,), 2: (2, 1)}
    arrays = {str(frames): np.ones((frames, 3), np.float32) for frames in labels}
    batch = load_batch([utterance(str(n), n, given) for n, given in labels.items()], features_from(arrays))
    halves = halve_batch(batch)
    assert [part.targets.tolist() for part in halves] == [[[1, 0, 0, 0], [1, 2, 3, 1]], [[2, 0], [2, 1]]]
    assert [part.target_lengths.tolist() for part in halves] == [[1, 4], [1, 2]]


def test_a_batch_may_have_exactly_as_many_frames_as_the_limit():
    assert [len(b) for b in plan_batches([10] * 25, 100, 0, 0, ascending=True)] == [10, 10, 5]


def test_the_boundaries_of_batches_change_from_epoch_to_epoch():
    lengths = list(range(100, 200))
    batches = [frozenset(map(frozenset, plan_batches(lengths, 1000, 0, epoch))) for epoch in range(6)]
    assert len(set(batches)) > 3
    sizes = [len(b) for b in plan_batches([10] * 200, 100, 0, 1)]
    assert sizes.count(10) >= len(sizes) - 2, "only the first and the last batch are smaller"


def test_utterances_of_the_same_length_are_mixed_anew_in_each_epoch():
    first, second = (plan_batches([10] * 40, 100, 0, epoch, ascending=True) for epoch in (0, 1))
    assert set(map(frozenset, first)) != set(map(frozenset, second))
