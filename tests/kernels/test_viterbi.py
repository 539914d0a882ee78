"""The best path of a text: brute force over all paths, the reference, and parts of every size."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest

from ds2cli.kernels import viterbi as module
from ds2cli.kernels.viterbi import steps_needed, viterbi, viterbi_ref
from ds2cli.kernels.viterbi_steps import Target


def labels(*values):
    return np.array(values, dtype=np.int32)


def emission(rng, T, V):
    return np.log(rng.dirichlet(np.full(V, 0.5), size=T) + 1e-9).astype(np.float32)


def collapse(path):
    return [s for s, _ in itertools.groupby(path) if s]


def random_case(seed, longest=30, V=5):
    """A random emission and a text that fits; every fifth seed gives the minimum number of steps."""
    rng = np.random.default_rng(seed)
    target = rng.integers(1, V, rng.integers(0, longest // 2)).astype(np.int32)
    spare = 0 if seed % 5 == 0 else int(rng.integers(0, longest // 2))
    return emission(rng, max(1, steps_needed(target) + spare), V), target


TARGETS = [labels(), labels(1), labels(1, 1), labels(1, 2), labels(2, 1, 2), labels(1, 2, 1, 2)]


def with_gap_column(lp, gap_logp=-0.1):
    """The scores of the kernel: the emission, what a gap emits, and what nothing emits."""
    extra = np.full((len(lp), 2), -np.inf, np.float32)
    extra[:, 0] = gap_logp
    return np.concatenate([lp, extra], axis=1)


def make_target(text, V, word_lengths=None, skip_costs=None, gap_cost=0.0):
    """word_lengths: of the words between which gaps are allowed; None for no gaps."""
    places = np.append(text, V + 1).astype(np.int32)
    jump = np.full(len(places), -np.inf, np.float32)
    jump[1:-1][np.diff(text) != 0] = 0
    if word_lengths is None:
        return Target(places, jump, labels(), np.empty(0, np.float32), 0.0, V)
    words = np.cumsum([0, *word_lengths]).astype(np.int32)
    costs = np.zeros(len(words), np.float32)
    costs[1:] = skip_costs
    return Target(places, jump, words, costs, float(gap_cost), V)


def gap_case(seed, whole_numbers):
    """A random emission, and a text of words that does not fit it; with scores that are whole numbers, exact in both
    precisions, paths are the same where scores are equal."""
    rng, V = np.random.default_rng(seed), 5
    lengths = rng.integers(1, 4, rng.integers(0, 5))
    text = rng.integers(1, V, lengths.sum()).astype(np.int32)
    T = int(rng.integers(1, 30))
    if whole_numbers:
        lp, costs = -rng.integers(0, 4, (T, V)).astype(np.float32), rng.integers(1, 4, len(lengths))
        return with_gap_column(lp, -1.0), make_target(text, V, lengths, costs, 2.0)
    return with_gap_column(emission(rng, T, V)), make_target(text, V, lengths, 5 * rng.random(len(lengths)), 3.0)


def path_score(scores, target, path):
    """The score of a path, by its own steps; -inf if it makes one that does not exist."""
    L, total, previous = len(target.labels) - 1, 0.0, 0

    def gap(state):
        return state - 2 * L - 1

    for row, state in zip(scores, path.tolist(), strict=True):
        if state > 2 * L:
            total += row[target.gap_column]
            before = gap(previous) if previous > 2 * L else int(np.searchsorted(target.words, (previous + 1) // 2))
            if previous <= 2 * L:
                total -= target.gap_cost
                if target.words[before] != (previous + 1) // 2:
                    return -np.inf
            if gap(state) < before:
                return -np.inf
            total -= target.skip_costs[before + 1 : gap(state) + 1].sum()
        else:
            total += row[target.labels[state // 2] if state % 2 else 0]
            allowed = [state, state - 1]
            if state % 2 and state > 1 and target.jump[state // 2] == 0:
                allowed.append(state - 2)
            if state % 2 and len(target.words):
                allowed += (2 * L + 1 + np.flatnonzero(target.words[:-1] == state // 2)).tolist()
            if previous not in allowed:
                return -np.inf
        previous = state
    return total if previous >= 2 * L - 1 and (previous <= 2 * L or gap(previous) == len(target.words) - 1) else -np.inf


@pytest.fixture(params=[(1 << 26, 1 << 20, 48, 1 << 25), (240, 240, 4, 7), (8, 8, 1, 1), (800, 8, 3, 100)], ids=str)
def part_sizes(request, monkeypatch):
    """From the usual sizes, with which a case here is one part, to parts of two marks and calls for single steps."""
    for name, value in zip(("MARK_BYTES", "PART_BYTES", "LEAST_SPACING", "CHECK_STATES"), request.param, strict=True):
        monkeypatch.setattr(module, name, value)
    # memory that was not written has values that would win
    monkeypatch.setattr(module.np, "empty", lambda shape, dtype: np.full(shape, 1e9, dtype))


@pytest.mark.parametrize("text", TARGETS, ids=str)
@pytest.mark.parametrize("T", [1, 2, 3, 4, 5])
def test_brute_force_over_every_path(T, text):
    lp = emission(np.random.default_rng(T), T, 3)
    spelling_paths = [p for p in itertools.product(range(3), repeat=T) if collapse(p) == list(text)]
    assert bool(spelling_paths) == (steps_needed(text) <= T)
    if not spelling_paths:
        return
    scores, target = with_gap_column(lp), make_target(text, 3)
    path = viterbi(scores, target)
    best = max(sum(lp[t, s] for t, s in enumerate(path)) for path in spelling_paths)
    assert path_score(scores, target, path) == pytest.approx(best, abs=1e-5)


@pytest.mark.parametrize("T", [1, 2, 3, 4])
def test_brute_force_over_every_path_with_gaps(T):
    scores = with_gap_column(emission(np.random.default_rng(T), T, 5))
    target = make_target(labels(1, 2, 1), 5, [2, 1], [0.5, 4.0], 1.0)
    states = range(2 * 3 + 1 + 3)
    best = max(path_score(scores, target, np.array(path)) for path in itertools.product(states, repeat=T))
    assert path_score(scores, target, viterbi(scores, target)) == pytest.approx(best, abs=1e-5)
    assert path_score(scores, target, viterbi_ref(scores, target)) == pytest.approx(best, abs=1e-5)


@pytest.mark.parametrize("seed", range(60))
def test_kernel_equals_the_reference(seed, part_sizes):
    lp, text = random_case(seed)
    scores, target = with_gap_column(lp), make_target(text, lp.shape[1])
    np.testing.assert_array_equal(viterbi(scores, target), viterbi_ref(scores, target))


@pytest.mark.parametrize("text", TARGETS, ids=str)
def test_ties_are_broken_like_those_of_the_reference(text, part_sizes):
    rng = np.random.default_rng(0)
    for T in range(steps_needed(text), 12):
        scores = with_gap_column(-rng.integers(0, 2, (T, 3)).astype(np.float32))
        target = make_target(text, 3)
        np.testing.assert_array_equal(viterbi(scores, target), viterbi_ref(scores, target))


@pytest.mark.parametrize("seed", range(60))
def test_ties_with_gaps(seed, part_sizes):
    scores, target = gap_case(seed, True)
    np.testing.assert_array_equal(viterbi(scores, target), viterbi_ref(scores, target))


@pytest.mark.parametrize("seed", range(60))
def test_gaps(seed, part_sizes):
    # words may be left out at any step of a gap, so several paths have the same score but for rounding
    scores, target = gap_case(seed, False)
    best = path_score(scores, target, viterbi_ref(scores, target))
    assert best > -np.inf
    assert path_score(scores, target, viterbi(scores, target)) == pytest.approx(best, abs=1e-4)


@pytest.mark.parametrize("seed", range(20))
def test_path_moves_forward_and_spells_the_text(seed):
    lp, text = random_case(seed)
    path = viterbi(with_gap_column(lp), make_target(text, lp.shape[1]))
    assert path[0] <= 1 and path[-1] >= 2 * len(text) - 1
    assert (np.diff(path) >= 0).all() and (np.diff(path) <= 2).all()
    assert collapse(np.where(path % 2 == 1, np.append(text, 0)[path // 2], 0)) == list(text)


def test_a_word_that_was_not_said_and_one_that_is_not_in_the_text():
    # said: 1 2, then 3 3 3, then 4; text: 1 2, 5 5, 4
    said = [1, 0, 2, 0, 3, 0, 3, 0, 3, 0, 4]
    lp = np.full((len(said), 6), -9.0, np.float32)
    lp[np.arange(len(said)), said] = 0
    target = make_target(labels(1, 2, 5, 5, 4), 6, [2, 2, 1], [3.0, 3.0, 3.0], 2.0)
    path = viterbi(with_gap_column(lp), target)
    gap_before_4 = 2 * 5 + 1 + 2
    assert path.tolist() == [1, 2, 3, 4, *[gap_before_4] * 6, 9]


def test_a_text_that_was_not_said_at_all_is_one_gap():
    lp = np.full((4, 3), -50.0, np.float32)
    lp[:, 0] = 0
    target = make_target(labels(1, 2), 3, [1, 1], [1.0, 1.0], 2.0)
    path = viterbi(with_gap_column(lp), target)
    assert path[-1] == 2 * 2 + 1 + 2 and (path > 4).any()


@pytest.mark.parametrize("gaps", [False, True])
def test_no_steps(gaps):
    target = make_target(labels(1), 3, [1] if gaps else None, [1.0])
    assert viterbi(np.empty((0, 5), np.float32), target).shape == (0,)


def test_an_empty_text():
    scores = with_gap_column(emission(np.random.default_rng(0), 4, 3))
    assert viterbi(scores, make_target(labels(), 3)).tolist() == [0, 0, 0, 0]
    assert viterbi(scores[:1], make_target(labels(), 3)).tolist() == [0]
    noise = scores.copy()
    noise[:, 0] = -30
    assert viterbi(noise, make_target(labels(), 3, [], [], 1.0)).tolist() == [1, 1, 1, 1]


def test_scores_stay_exact_over_many_steps():
    # 90,000 nats have steps of 0.008 in float32, and the paths at the end differ by less
    T, rng = 30_000, np.random.default_rng(0)
    lp = np.tile(np.array([[-3.0, -9.0, -9.0]], np.float32), (T, 1))
    lp[-10:] = rng.normal(-9, 0.001, (10, 3))
    lp[-10:, 0] = -9
    target = make_target(labels(1, 2), 3)
    whole, end = (viterbi(with_gap_column(part), target) for part in (lp, lp[-10:]))
    np.testing.assert_array_equal(whole[-10:], end)


def test_memory_grows_with_steps_and_labels_and_not_with_their_product():
    T, L = 12_000, 6_000
    rng = np.random.default_rng(0)
    text = rng.integers(1, 5, L).astype(np.int32)
    scores = with_gap_column(emission(rng, T, 5))
    for target in (make_target(text, 5), make_target(text, 5, [6] * (L // 6), [9.0] * (L // 6), 9.0)):
        tracemalloc.start()
        path = viterbi(scores, target)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        # a byte per label and step are 72 MB, and the limit of the marks alone 67 MB
        assert peak < 72e6
        assert path_score(scores, target, path) > -np.inf


def test_the_share_that_is_done_is_reported_and_work_can_be_stopped(monkeypatch):
    monkeypatch.setattr(module, "CHECK_STATES", 100)
    shares = []
    scores, target = with_gap_column(emission(np.random.default_rng(0), 60, 5)), make_target(labels(1, 2, 3), 5)
    viterbi(scores, target, shares.append)
    assert shares == sorted(shares) and shares[0] == 0 and len(shares) > 3 and shares[-1] < 1

    def stop(share):
        if share:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        viterbi(scores, target, stop)


def test_repeats_need_a_blank_between_them():
    assert steps_needed(labels()) == 0
    assert steps_needed(labels(1, 1, 1)) == 5
    lp = np.log(np.full((5, 2), 0.5, dtype=np.float32))
    np.testing.assert_array_equal(viterbi(with_gap_column(lp), make_target(labels(1, 1, 1), 2)), [1, 2, 3, 4, 5])


def test_many_symbols():
    rng = np.random.default_rng(0)
    lp, text = emission(rng, 40, 1200), rng.integers(1, 1200, 15).astype(np.int32)
    target = make_target(text, 1200)
    np.testing.assert_array_equal(viterbi(lp, target), viterbi_ref(lp, target))


def best_score(log_probs, text):
    """The score of the best path without gaps, in float64, a whole step at a time."""
    blank, label = np.full(len(text) + 1, -np.inf), np.full(len(text) + 1, -np.inf)
    blank[0] = 0
    jump = np.where(np.append([False], text[1:] != text[:-1]), 0, -np.inf)
    for row in log_probs.astype(np.float64):
        # label[j + 1] is that of label j
        step = np.maximum(np.maximum(label[1:], blank[:-1]), label[:-1] + jump) + row[text]
        blank, label = np.maximum(blank, label) + row[0], np.append([-np.inf], step)
    return max(blank[-1], label[-1])


@pytest.mark.parametrize("mark_bytes", [1 << 26, 1 << 16])
def test_scores_stay_exact_where_a_text_barely_fits(mark_bytes, monkeypatch):
    # states that can no longer be on a path have better scores: they have no part in the rebasing
    monkeypatch.setattr(module, "MARK_BYTES", mark_bytes)
    T, rng = 8000, np.random.default_rng(0)
    text = (1 + np.arange(T - 3) % 3).astype(np.int32)
    lp = np.full((T, 4), -9.0, np.float32)
    lp[:, 0] = 0
    lp[:, 1:] += rng.normal(0, 0.0005, (T, 3)).astype(np.float32)
    target = make_target(text, 4)
    path = viterbi(with_gap_column(lp), target)
    found = path_score(with_gap_column(lp).astype(np.float64), target, path)
    assert found == pytest.approx(best_score(lp, text), abs=2e-3)
