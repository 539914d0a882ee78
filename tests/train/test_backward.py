from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ds2cli.memory import OUT_OF_MEMORY, is_out_of_memory
from ds2cli.train.batches import halve_batch

TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def distributed_cases():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(TESTS)
        import distributed_cases

        yield distributed_cases


def assert_same(result, expected):
    for a, b in zip(result[:2], expected[:2], strict=True):
        for name in a:
            torch.testing.assert_close(a[name], b[name], rtol=1e-9, atol=1e-9, msg=lambda m, n=name: f"{n}: {m}")
    assert result[2][:2] == pytest.approx(expected[2][:2])


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_a_batch_too_large_for_memory_is_computed_in_halves(distributed_cases, where):
    large, other = distributed_cases.make_batch(40, 33, 21, 12, 9), distributed_cases.make_batch(30, 22)
    # earlier batches are computed again, without the gradients of the first pass
    for batches in ([large], [other, large], [large, other]):
        process = distributed_cases.TrainingProcess(double=True)
        steps = [n for batch in batches for n in ([batch] if batch is other else halve_batch(batch))]
        expected = distributed_cases.TrainingProcess(double=True).gradients(steps)
        distributed_cases.run_out_of_memory(process.model, 1, where, rows=5)
        result = process.gradients(batches)
        assert_same(result, expected)
        assert result[2][2] == 1 and process.skipped == {}


def test_a_batch_is_halved_until_it_fits(distributed_cases):
    large = distributed_cases.make_batch(40, 33, 21, 12, 9)
    first, second = halve_batch(large)
    expected = distributed_cases.TrainingProcess(double=True).gradients(
        [*halve_batch(halve_batch(first)[0]), halve_batch(first)[1], second]
    )
    process = distributed_cases.TrainingProcess(double=True)
    distributed_cases.run_out_of_memory(process.model, 3, rows=2, at_least=True)
    result = process.gradients([large])
    assert_same(result, expected)
    assert result[2][2] == 3


def test_an_utterance_too_large_on_its_own_is_skipped_and_named(distributed_cases):
    process = distributed_cases.TrainingProcess(double=True)
    distributed_cases.run_out_of_memory(process.model, 99, frames=40)
    result = process.gradients([distributed_cases.make_batch(40, 21), distributed_cases.make_batch(33, 12)])
    assert_same(
        result,
        distributed_cases.TrainingProcess(double=True).gradients(
            [distributed_cases.make_batch(21), distributed_cases.make_batch(33, 12)]
        ),
    )
    assert process.skipped == {"40": OUT_OF_MEMORY} and result[2][1] == 3


def test_other_errors_are_raised(distributed_cases):
    process = distributed_cases.TrainingProcess()
    process.model.rnns[0].register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        process.gradients([distributed_cases.make_batch(21)])
    assert not is_out_of_memory(RuntimeError("could not create a primitive descriptor")) and is_out_of_memory(
        MemoryError()
    )
    assert is_out_of_memory(RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED"))


def test_the_running_statistics_of_a_skipped_step_can_be_restored(distributed_cases):
    process = distributed_cases.TrainingProcess()
    before = {name: value.clone() for name, value in process.model.named_buffers()}
    batch = distributed_cases.make_batch(21, 12)
    batch.feats[0, 3] = torch.inf
    sums = process.backward([batch], seed=1)
    assert sums.non_finite
    after = dict(process.model.named_buffers())
    assert not all(torch.equal(after[name], before[name]) for name in before)
    process.backward.restore_statistics()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_a_loss_that_is_not_finite_counts_in_whichever_batch_it_is(distributed_cases):
    bad, good = distributed_cases.make_batch(21, 12), distributed_cases.make_batch(30)
    bad.feats[0, 3] = torch.inf
    for batches in ([bad, good], [good, bad]):
        assert distributed_cases.TrainingProcess().backward(batches, seed=1).non_finite
    assert not distributed_cases.TrainingProcess().backward([good, good], seed=1).non_finite


@pytest.mark.parametrize(
    "message",
    [
        "DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes",
        "DefaultCPUAllocator: not enough memory: you tried to allocate 99 bytes",
        "CUDA out of memory. Tried to allocate 2.00 GiB",
        "std::bad_alloc",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "could not create a primitive",
        "could not execute a primitive",
    ],
)
def test_messages_of_a_lack_of_memory_are_known(message):
    assert is_out_of_memory(RuntimeError(message))


MEMORY_LIMIT_SCRIPT = """
import json, resource, sys
sys.path.insert(0, sys.argv[1])
import torch, distributed_cases
from ds2cli.config.model import ModelConfig

wide = ModelConfig(channels=(64,), kernels=(3,), strides=(1,), rnn_layers=1, rnn_size=64, dropout=0.0)
process = distributed_cases.TrainingProcess(config=wide)
process.gradients([distributed_cases.make_batch(12)])
piece_sizes = []
process.model.register_forward_hook(lambda _model, inputs, _outputs: piece_sizes.append(len(inputs[1])))
batch = distributed_cases.make_batch(*range(1_000, 1_016))
virtual_bytes = int(next(line for line in open("/proc/self/status") if line.startswith("VmSize")).split()[1]) << 10
old_limits = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (virtual_bytes + (int(sys.argv[2]) << 20), old_limits[1]))
result = process.gradients([batch])
final_sizes = piece_sizes[-int(result[2][2]) - 1 :]
process.gradients([distributed_cases.make_batch(10_000, 12)])
resource.setrlimit(resource.RLIMIT_AS, old_limits)
other = distributed_cases.TrainingProcess(config=wide)
other.gradients([distributed_cases.make_batch(12)])
pieces, start = [], 0
for rows in final_sizes:
    lengths = [1_015 - i for i in range(start, start + rows)]
    pieces.append(distributed_cases.make_batch(*lengths))
    start += rows
expected = other.gradients(pieces)
deviation = max(float((a - expected[0][n]).abs().max() / expected[0][n].abs().max()) for n, a in result[0].items())
report = {"pieces": result[2][2] + 1, "sizes": final_sizes, "counted": result[2][1], "skipped": process.skipped}
print(json.dumps({**report, "deviation": deviation}))
"""


def test_a_real_memory_limit_halves_the_batch():
    command = [sys.executable, "-c", MEMORY_LIMIT_SCRIPT, str(TESTS), "64"]
    env = {**os.environ, "PYTHONPATH": str(TESTS.parent), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["pieces"] == len(result["sizes"]) > 1 and sum(result["sizes"]) == result["counted"] == 16
    assert result["deviation"] < 1e-4 and result["skipped"] == {"10000": OUT_OF_MEMORY}
