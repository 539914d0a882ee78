from __future__ import annotations

from pathlib import Path

import pytest
import torch

TESTS = Path(__file__).parents[2]
WHOLE = [[40, 33, 21, 12], [30, 22, 9]]
"""Utterances of two batches, of which processes have shares."""

PAIRS = [[(40, 21), (33, 12)], [(30, 9), (22,)]]
EMPTY = [[(40, 21, 33, 12), ()], [(), (30, 22, 9)]]
LAST_EMPTY = [[(40, 21), (33, 12)], [(30, 22, 9), ()]]
NOBODY = [[(), ()]]
ONE_STEP = [[(40, 33, 21, 12), ()], [(30, 22), (2,)]]
TINY = 300
"""A bucket of so many bytes holds a parameter or two."""

CASES = {
    "local": ("steps", PAIRS),
    "local, small buckets": ("steps", PAIRS, False, TINY),
    "local, empty": ("steps", EMPTY, False, TINY),
    "local, last empty": ("steps", LAST_EMPTY, False, TINY),
    "nobody": ("steps", NOBODY, False, TINY),
    "lacking in forward": ("steps", PAIRS[:1], False, TINY, (1,)),
    "lacking in backward": ("steps", PAIRS[:1], False, TINY, (1,), "backward"),
    "sync": ("steps", PAIRS, True, TINY),
    "sync, empty": ("steps", EMPTY, True, TINY),
    "sync, last empty": ("steps", LAST_EMPTY, True, TINY),
    "sync, nobody": ("steps", NOBODY, True, TINY),
    "sync, one step": ("steps", ONE_STEP, True, TINY),
    "sync, lacking": ("steps", PAIRS, True, TINY, (0, 1)),
}


@pytest.fixture(scope="module")
def distributed_cases():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(TESTS)
        import distributed_cases

        yield distributed_cases


@pytest.fixture(scope="module")
def found(distributed_cases, tmp_path_factory):
    """What each of two processes found in each case."""
    return distributed_cases.together(2, CASES, tmp_path_factory.mktemp("two"))


def close(a, b, name):
    assert a.keys() == b.keys()
    for key in a:
        torch.testing.assert_close(a[key], b[key], rtol=1e-8, atol=1e-9, msg=lambda m, key=key: f"{name}, {key}: {m}")


def expected(distributed_cases, batches):
    """Of one process that has each of the batches for itself."""
    member = distributed_cases.Member(double=True)
    return [member.gradients(batches), member.gradients(batches)]


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("local")])
def test_sums_are_those_of_one_process_that_has_the_shares_as_batches(distributed_cases, found, name):
    shares = [share for batch in CASES[name][1] for share in batch if share]
    for (gradients, _, tail), *both in zip(
        expected(distributed_cases, [distributed_cases.batch(*s) for s in shares]),
        found[0][name],
        found[1][name],
        strict=False,
    ):
        for got, _, numbers in both:
            close(got, gradients, name)
            assert numbers[0] == pytest.approx(tail[0]) and numbers[1:] == [7, 0]
            assert any(g.abs().max() > 0 for g in got.values())


@pytest.mark.parametrize("name", ["sync", "sync, empty", "sync, last empty", "sync, one step"])
def test_with_statistics_of_all_processes_sums_are_those_of_whole_batches(distributed_cases, found, name):
    batches = [[n for share in batch for n in share] for batch in CASES[name][1]]
    for (gradients, statistics, tail), *both in zip(
        expected(distributed_cases, [distributed_cases.batch(*b) for b in batches]),
        found[0][name],
        found[1][name],
        strict=False,
    ):
        for got, running, numbers in both:
            close(got, gradients, name)
            close(running, statistics, name)
            assert numbers[0] == pytest.approx(tail[0], rel=1e-9)


@pytest.mark.parametrize("name", ["nobody", "sync, nobody"])
def test_a_step_of_nobody_is_all_zeros(found, name):
    for part in found:
        gradients, statistics, numbers = part[name][0]
        assert numbers == [0, 0, 0] and not any(g.any() for g in gradients.values())
        assert all(torch.isfinite(v).all() for v in statistics.values())


def test_a_process_that_lacks_memory_in_forward_computes_its_share_in_halves(distributed_cases, found):
    gradients, _, _ = expected(
        distributed_cases, [distributed_cases.batch(40, 21), distributed_cases.batch(33), distributed_cases.batch(12)]
    )[0]
    for part in found:
        got, _, numbers = part["lacking in forward"][0]
        close(got, gradients, "lacking in forward")
        assert numbers[1:] == [4, 1]


def test_of_one_that_lacks_memory_in_backward_what_has_left_counts(distributed_cases, found):
    whole, _, _ = expected(distributed_cases, [distributed_cases.batch(40, 21), distributed_cases.batch(33, 12)])[0]
    cut, _, _ = expected(
        distributed_cases, [distributed_cases.batch(40, 21), distributed_cases.batch(33), distributed_cases.batch(12)]
    )[0]
    mixed = {}
    for part in found:
        for name, got in part["lacking in backward"][0][0].items():
            mixed[name] = next((n for n, e in (("whole", whole), ("cut", cut)) if torch.allclose(got, e[name])), "none")
    assert mixed["output.weight"] == "whole" and mixed["convs.0.conv.weight"] == "cut"
    assert set(mixed.values()) == {"whole", "cut"}, mixed
    again, _, numbers = found[0]["lacking in backward"][1]
    close(again, whole, "the step after it")
    assert numbers[2] == 0


def test_with_statistics_of_all_a_lack_of_memory_is_one_error(found):
    for part in found:
        assert part["sync, lacking"] == (
            "train: memory does not hold a batch (2 utterances, "
            f"{(80, 66)[part is found[1]]} frames), and --sync-norm cannot cut it (fix: --batch-s)"
        )
