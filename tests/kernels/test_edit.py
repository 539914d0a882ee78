"""Edit distance: known cases, the reference, and jiwer for the total."""

from __future__ import annotations

import jiwer
import numpy as np
import pytest

from ds2cli.kernels.edit import edit_counts, edit_counts_ref, edit_ops, edit_ops_ref


def ids(text):
    return np.array([ord(c) for c in text], dtype=np.int32)


def random_pair(seed, symbols=4, longest=12):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, symbols, rng.integers(0, longest)).astype(np.int32) for _ in range(2)]


@pytest.mark.parametrize(
    ("ref", "hyp", "counts"),
    [
        ("", "", (0, 0, 0, 0)),
        ("a", "", (0, 0, 0, 1)),
        ("", "a", (0, 0, 1, 0)),
        ("a", "a", (1, 0, 0, 0)),
        ("a", "b", (0, 1, 0, 0)),
        ("aaa", "aa", (2, 0, 0, 1)),
        ("kitten", "sitting", (4, 2, 1, 0)),
        ("жук", "жуки", (3, 0, 1, 0)),
        (
            "ab",
            "bc",
            (1, 0, 1, 1),
        ),  # not two substitutions: compute-wer takes the diagonal only when it is strictly cheaper
    ],
)
def test_known_counts(ref, hyp, counts):
    assert tuple(edit_counts(ids(ref), ids(hyp))) == counts
    assert tuple(edit_counts_ref(ids(ref), ids(hyp))) == counts


@pytest.mark.parametrize("seed", range(200))
def test_kernels_equal_the_reference(seed):
    ref, hyp = random_pair(seed)
    np.testing.assert_array_equal(edit_ops(ref, hyp), edit_ops_ref(ref, hyp))
    np.testing.assert_array_equal(edit_counts(ref, hyp), edit_counts_ref(ref, hyp))


@pytest.mark.parametrize("seed", range(50))
def test_alignment_uses_every_unit_once_and_in_order(seed):
    ref, hyp = random_pair(seed)
    ops = edit_ops(ref, hyp)
    assert [i for i, _ in ops if i >= 0] == list(range(len(ref)))
    assert [j for _, j in ops if j >= 0] == list(range(len(hyp)))


@pytest.mark.parametrize("seed", range(50))
def test_number_of_errors_equals_jiwer(seed):
    ref, hyp = random_pair(seed, symbols=5, longest=20)
    ref = np.append(ref, np.int32(0))  # jiwer refuses an empty reference
    peer = jiwer.process_words(" ".join(map(str, ref)), " ".join(map(str, hyp)))
    assert edit_counts(ref, hyp)[1:].sum() == peer.substitutions + peer.insertions + peer.deletions
