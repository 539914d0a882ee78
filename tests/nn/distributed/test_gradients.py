from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ds2cli.nn.distributed.gradients import _make_buckets

TESTS = Path(__file__).parents[2]
PAIRS = [[(40, 21), (33, 12)], [(30, 9), (22,)]]
"""Two batches divided between two processes: for each batch, the lengths of the utterances of each process."""

EMPTY = [[(40, 21, 33, 12), ()], [(), (30, 22, 9)]]
LAST_EMPTY = [[(40, 21), (33, 12)], [(30, 22, 9), ()]]
NO_UTTERANCES = [[(), ()]]
ONE_STEP = [[(40, 33, 21, 12), ()], [(30, 22), (2,)]]
TINY = 300
"""Bytes of a bucket that holds one or two parameters."""

CASES = {
    "local": ("steps", PAIRS),
    "local, small buckets": ("steps", PAIRS, False, TINY),
    "local, empty": ("steps", EMPTY, False, TINY),
    "local, last empty": ("steps", LAST_EMPTY, False, TINY),
    "no utterances": ("steps", NO_UTTERANCES, False, TINY),
    "out of memory in forward": ("steps", PAIRS[:1], False, TINY, (1,)),
    "out of memory in backward": ("steps", PAIRS[:1], False, TINY, (1,), "backward"),
    "sync": ("steps", PAIRS, True, TINY),
    "sync, empty": ("steps", EMPTY, True, TINY),
    "sync, last empty": ("steps", LAST_EMPTY, True, TINY),
    "sync, no utterances": ("steps", NO_UTTERANCES, True, TINY),
    "sync, one step": ("steps", ONE_STEP, True, TINY),
    "sync, out of memory": ("steps", PAIRS, True, TINY, (0, 1)),
}
"""For each case, the function of `distributed_cases` that computes it, and the arguments of that function."""


@pytest.fixture(scope="module")
def distributed_cases():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(TESTS)
        import distributed_cases

        yield distributed_cases


@pytest.fixture(scope="module")
def results(distributed_cases, tmp_path_factory):
    """The results of each case on each of two processes."""
    return distributed_cases.run_processes(2, CASES, tmp_path_factory.mktemp("two"))


def assert_close(a, b, name):
    assert a.keys() == b.keys()
    for key in a:
        torch.testing.assert_close(a[key], b[key], rtol=1e-8, atol=1e-9, msg=lambda m, key=key: f"{name}, {key}: {m}")


def expected(distributed_cases, batches):
    """The results of two steps on one process that computes all batches."""
    process = distributed_cases.TrainingProcess(double=True)
    return [process.gradients(batches), process.gradients(batches)]


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("local")])
def test_sums_equal_those_of_one_process_with_the_shares_as_batches(distributed_cases, results, name):
    shares = [share for batch in CASES[name][1] for share in batch if share]
    for (gradients, _, totals), *both in zip(
        expected(distributed_cases, [distributed_cases.make_batch(*s) for s in shares]),
        results[0][name],
        results[1][name],
        strict=False,
    ):
        for got, _, numbers in both:
            assert_close(got, gradients, name)
            assert numbers[0] == pytest.approx(totals[0]) and numbers[1:] == [7, 0]
            assert any(g.abs().max() > 0 for g in got.values())


@pytest.mark.parametrize("name", ["sync", "sync, empty", "sync, last empty", "sync, one step"])
def test_with_synchronized_norms_sums_equal_those_of_undivided_batches(distributed_cases, results, name):
    batches = [[n for share in batch for n in share] for batch in CASES[name][1]]
    for (gradients, statistics, totals), *both in zip(
        expected(distributed_cases, [distributed_cases.make_batch(*b) for b in batches]),
        results[0][name],
        results[1][name],
        strict=False,
    ):
        for got, running, numbers in both:
            assert_close(got, gradients, name)
            assert_close(running, statistics, name)
            assert numbers[0] == pytest.approx(totals[0], rel=1e-9)


@pytest.mark.parametrize("name", ["no utterances", "sync, no utterances"])
def test_a_step_without_utterances_gives_zeros(results, name):
    for rank_results in results:
        gradients, statistics, numbers = rank_results[name][0]
        assert numbers == [0, 0, 0] and not any(g.any() for g in gradients.values())
        assert all(torch.isfinite(v).all() for v in statistics.values())


def test_a_process_out_of_memory_in_forward_computes_its_share_in_halves(distributed_cases, results):
    gradients, _, _ = expected(
        distributed_cases,
        [distributed_cases.make_batch(40, 21), distributed_cases.make_batch(33), distributed_cases.make_batch(12)],
    )[0]
    for rank_results in results:
        got, _, numbers = rank_results["out of memory in forward"][0]
        assert_close(got, gradients, "out of memory in forward")
        assert numbers[1:] == [4, 1]


def test_a_process_out_of_memory_in_backward_keeps_the_buckets_already_reduced(distributed_cases, results):
    unsplit, _, _ = expected(
        distributed_cases, [distributed_cases.make_batch(40, 21), distributed_cases.make_batch(33, 12)]
    )[0]
    halved, _, _ = expected(
        distributed_cases,
        [distributed_cases.make_batch(40, 21), distributed_cases.make_batch(33), distributed_cases.make_batch(12)],
    )[0]
    mixed = {}
    for rank_results in results:
        for name, got in rank_results["out of memory in backward"][0][0].items():
            mixed[name] = next(
                (n for n, e in (("unsplit", unsplit), ("halved", halved)) if torch.allclose(got, e[name])), "none"
            )
    assert mixed["output.weight"] == "unsplit" and mixed["convs.0.conv.weight"] == "halved"
    assert set(mixed.values()) == {"unsplit", "halved"}, mixed
    second, _, numbers = results[0]["out of memory in backward"][1]
    assert_close(second, unsplit, "the following step")
    assert numbers[2] == 0


def test_with_synchronized_norms_out_of_memory_is_one_error(results):
    for rank_results in results:
        assert rank_results["sync, out of memory"] == (
            "train: a batch does not fit in memory (2 utterances, "
            f"{(80, 66)[rank_results is results[1]]} frames), and --sync-norm cannot split it (use a smaller --batch-s)"
        )


def test_buckets_hold_at_most_their_bytes_from_the_last_parameter_to_the_first():
    sizes = [10, 10, 10, 30, 5, 15, 10]
    parameters = [torch.nn.Parameter(torch.zeros(n)) for n in sizes]
    buckets = [[len(p) for p in bucket] for bucket in _make_buckets(parameters, 4 * 20)]
    assert buckets == [[10], [15, 5], [30], [10, 10], [10]]
