from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ds2cli.train.backward import OUT_OF_MEMORY, lacks_memory
from ds2cli.train.batches import halves

TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def distributed_cases():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(TESTS)
        import distributed_cases

        yield distributed_cases


def assert_same(found, expected):
    for a, b in zip(found[:2], expected[:2], strict=True):
        for name in a:
            torch.testing.assert_close(a[name], b[name], rtol=1e-9, atol=1e-9, msg=lambda m, n=name: f"{n}: {m}")
    assert found[2][:2] == pytest.approx(expected[2][:2])


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_a_batch_that_memory_does_not_hold_counts_as_its_halves(distributed_cases, where):
    whole, other = distributed_cases.batch(40, 33, 21, 12, 9), distributed_cases.batch(30, 22)
    member = distributed_cases.Member(double=True)
    # both batches before it are computed again, and the gradients of the first time are forgotten
    for batches in ([whole], [other, whole], [whole, other]):
        member = distributed_cases.Member(double=True)
        steps = [n for batch in batches for n in ([batch] if batch is other else halves(batch))]
        expected = distributed_cases.Member(double=True).gradients(steps)
        distributed_cases.lacks(member.model, 1, where, rows=5)
        found = member.gradients(batches)
        assert_same(found, expected)
        assert found[2][2] == 1 and member.out == {}


def test_as_often_as_it_takes(distributed_cases):
    whole = distributed_cases.batch(40, 33, 21, 12, 9)
    first, second = halves(whole)
    expected = distributed_cases.Member(double=True).gradients([*halves(halves(first)[0]), halves(first)[1], second])
    member = distributed_cases.Member(double=True)
    distributed_cases.lacks(member.model, 3, rows=2, at_least=True)
    found = member.gradients([whole])
    assert_same(found, expected)
    assert found[2][2] == 3


def test_an_utterance_too_large_alone_is_named_and_left_out(distributed_cases):
    member = distributed_cases.Member(double=True)
    distributed_cases.lacks(member.model, 99, frames=40)
    found = member.gradients([distributed_cases.batch(40, 21), distributed_cases.batch(33, 12)])
    assert_same(
        found,
        distributed_cases.Member(double=True).gradients([distributed_cases.batch(21), distributed_cases.batch(33, 12)]),
    )
    assert member.out == {"40": OUT_OF_MEMORY} and found[2][1] == 3


def test_another_error_is_an_error(distributed_cases):
    member = distributed_cases.Member()
    member.model.rnns[0].register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        member.gradients([distributed_cases.batch(21)])
    assert not lacks_memory(RuntimeError("could not create a primitive descriptor")) and lacks_memory(MemoryError())
    assert lacks_memory(RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED"))


def test_a_step_that_is_not_taken_leaves_no_running_statistics(distributed_cases):
    member = distributed_cases.Member()
    before = {name: value.clone() for name, value in member.model.named_buffers()}
    spoiled = distributed_cases.batch(21, 12)
    spoiled.feats[0, 3] = torch.inf
    costs = member.backward([spoiled], seed=1)
    assert costs.spoiled
    after = dict(member.model.named_buffers())
    assert not all(torch.equal(after[name], before[name]) for name in before)
    member.backward.undo()
    assert all(torch.equal(after[name], before[name]) for name in before)


LIMITED = """
import json, resource, sys
sys.path.insert(0, sys.argv[1])
import torch, distributed_cases
from ds2cli.config.model import ModelConfig

wide = ModelConfig(channels=(64,), kernels=(3,), strides=(1,), rnn_layers=1, rnn_size=64, dropout=0.0)
member = distributed_cases.Member(config=wide)
member.gradients([distributed_cases.batch(12)])
seen = []
member.model.register_forward_hook(lambda _model, given, _made: seen.append(len(given[1])))
batch = distributed_cases.batch(*range(3_000, 3_016))
now = int(next(line for line in open("/proc/self/status") if line.startswith("VmSize")).split()[1]) << 10
before = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (now + (int(sys.argv[2]) << 20), before[1]))
found = member.gradients([batch])
last = seen[-int(found[2][2]) - 1 :]
member.gradients([distributed_cases.batch(30_000, 12)])
resource.setrlimit(resource.RLIMIT_AS, before)
other = distributed_cases.Member(config=wide)
other.gradients([distributed_cases.batch(12)])
parts, at = [], 0
for rows in last:
    lengths = [3_015 - i for i in range(at, at + rows)]
    parts.append(distributed_cases.batch(*lengths))
    at += rows
expected = other.gradients(parts)
away = max(float((a - expected[0][n]).abs().max() / expected[0][n].abs().max()) for n, a in found[0].items())
print(json.dumps({"pieces": found[2][2] + 1, "sizes": last, "away": away, "counted": found[2][1], "huge": member.out}))
"""


def test_memory_that_is_really_out_cuts_the_batch():
    command = [sys.executable, "-c", LIMITED, str(TESTS), "160"]
    env = {**os.environ, "PYTHONPATH": str(TESTS.parent), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["pieces"] == len(found["sizes"]) > 1 and sum(found["sizes"]) == found["counted"] == 16
    assert found["away"] < 1e-4 and found["huge"] == {"30000": OUT_OF_MEMORY}
