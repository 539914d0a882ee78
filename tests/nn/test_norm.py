from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ds2cli.nn.distributed.process_group import ProcessGroup
from ds2cli.nn.norm import SequenceNorm, synchronized_norms

TESTS = Path(__file__).parents[1]
ROWS = {"even": (6, 6), "uneven": (9, 2), "an empty share": (7, 0), "one row each": (1, 1), "one row": (1, 0)}
OUTPUTS = ["y", "dx", "dweight", "dbias", "running mean", "running variance", "batches", "y in evaluation"]


@pytest.fixture(scope="module")
def distributed_cases():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(TESTS)
        import distributed_cases

        yield distributed_cases


def assert_equal_to_one_process(results, rows):
    """Compare the results of several processes with the formula over all their rows."""
    generator = torch.Generator().manual_seed(3)
    x = (torch.randn(sum(rows), 4, generator=generator, dtype=torch.float64) * 3 + 1).requires_grad_()
    dy = torch.randn(sum(rows), 4, generator=generator, dtype=torch.float64)
    mean, var = x.detach().mean(0), x.detach().var(0, unbiased=False)
    weight = torch.tensor([1.0, 2.0, -1.0, 0.5], dtype=torch.float64, requires_grad=True)
    bias = torch.tensor([0.0, 1.0, 2.0, 3.0], dtype=torch.float64, requires_grad=True)
    # the formula, because torch's norm refuses a batch of a single row
    centered = x - x.mean(0)
    y = centered / (centered.square().mean(0) + 1e-5).sqrt() * weight + bias
    y.backward(dy)
    running = [0.1 * mean, 0.9 + 0.1 * var * (len(x) / max(len(x) - 1, 1))]
    used = (x.detach() - running[0]) / (running[1] + 1e-5).sqrt() * weight.detach() + bias.detach()
    y_all, dx, dw, db, *statistics, tracked, y_used = zip(*results, strict=True)
    expected = [y.detach(), x.grad, weight.grad, bias.grad, used]
    for name, a, b in zip(
        [*OUTPUTS[:4], OUTPUTS[7]],
        [torch.cat(y_all), torch.cat(dx), sum(dw), sum(db), torch.cat(y_used)],
        expected,
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9, msg=lambda m, name=name: f"{name}, {rows}: {m}")
    for name, values, expected_value in zip(OUTPUTS[4:6], statistics, running, strict=True):
        for a in values:
            torch.testing.assert_close(
                a, expected_value, rtol=1e-9, atol=1e-9, msg=lambda m, name=name: f"{name}, {rows}: {m}"
            )
    assert all(int(n) == 1 for n in tracked)


@pytest.mark.parametrize("size", [2, 3])
def test_processes_normalize_as_one_process_with_all_their_rows(distributed_cases, tmp_path, size):
    rows = {name: (*values, *[4] * (size - 2)) for name, values in ROWS.items()}
    results = distributed_cases.run_processes(
        size, {name: ("norms", values) for name, values in rows.items()}, tmp_path
    )
    for name, values in rows.items():
        assert_equal_to_one_process([part[name] for part in results], values)


def test_a_single_process_uses_torchs_norm(distributed_cases):
    assert_equal_to_one_process([distributed_cases.compute_norms(ProcessGroup(), (5, 4))], (5, 4))
    torch.manual_seed(0)
    sequence_norm, torch_norm = SequenceNorm(3), torch.nn.BatchNorm1d(3)
    x = torch.randn(8, 3)
    assert torch.equal(sequence_norm(x), torch_norm(x)) and torch.equal(
        sequence_norm.running_var, torch_norm.running_var
    )


def test_synchronized_norms_are_those_with_a_group_in_call_order():
    model = torch.nn.Sequential(SequenceNorm(2), torch.nn.ReLU(), SequenceNorm(3), SequenceNorm(4))
    assert synchronized_norms(model) == []
    for norm in (model[0], model[2]):
        norm.group = ProcessGroup(0, 2)
    model[3].group = ProcessGroup()
    assert synchronized_norms(model) == [model[0], model[2]]
