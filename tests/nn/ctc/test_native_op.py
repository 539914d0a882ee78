"""The native operators with torch's own checks, torch.compile, autocast, distributed training and CUDA."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ds2cli import native
from ds2cli.nn.ctc import native_op
from ds2cli.nn.ctc.loss import ctc, ctc_loss

pytestmark = [
    pytest.mark.native,
    pytest.mark.skipif(not native.available(), reason="the native library is not built"),
]
ROOT = Path(__file__).parents[3]


def batch(T=9, N=3, V=5, L=3, dtype=torch.float32):
    torch.manual_seed(T)
    logits = torch.randn(T, N, V).to(dtype)
    lengths = torch.full((N,), T), torch.arange(N) % (L + 1)
    return logits, torch.randint(1, V, (N, L)), *lengths


@pytest.fixture
def filled_memory():
    """Fill new memory with a known value, so that saved but unused bytes compare as equal."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("save", [True, False])
def test_opcheck_passes(filled_memory, dtype, save):
    logits, *others = batch(dtype=dtype)
    torch.library.opcheck(native_op.ctc, (logits.requires_grad_(save), *others, 0, save))
    strided = logits.detach().transpose(0, 1).contiguous().transpose(0, 1)
    torch.library.opcheck(native_op.ctc, (strided.requires_grad_(save), *others, 0, save))
    with torch.no_grad():
        saved = native_op.ctc(logits, *others, 0, True)[2]
    torch.library.opcheck(native_op.ctc_backward, (logits.detach(), saved, torch.ones(3), 3, 0))


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_a_compiled_loss_is_one_graph_for_any_size(batch_first, reduction):
    def loss(logits, *others):
        cost = ctc_loss(logits * 2, *others, reduction=reduction, zero_infinity=True, batch_first=batch_first)
        return cost.sum()

    torch.compiler.reset()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    for T, N in ((9, 3), (9, 4), (12, 5), (12, 5)):
        logits, *others = batch(T, N)
        logits = logits.transpose(0, 1).contiguous() if batch_first else logits
        found, reference = (logits.clone().requires_grad_() for _ in range(2))
        a, b = compiled(found, *others), loss(reference, *others)
        a.backward(), b.backward()
        assert torch.equal(a, b) and torch.equal(found.grad, reference.grad)


def test_under_autocast_the_loss_is_float32():
    network, (x, *others) = torch.nn.Linear(5, 5), batch()
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(x)
        loss = ctc_loss(logits, *others)
    assert logits.dtype == torch.bfloat16 and loss.dtype == torch.float32
    loss.backward()
    rounded = logits.detach().float().requires_grad_()
    reference = ctc_loss(rounded, *others)
    reference.backward()
    assert torch.equal(loss, reference)
    torch.testing.assert_close(network.bias.grad, rounded.grad.sum((0, 1)), rtol=0.02, atol=1e-3)


def test_no_gradient_is_computed_unless_required():
    logits, *others = batch()
    with torch.no_grad():
        assert not ctc_loss(logits.requires_grad_(), *others).requires_grad
    assert not ctc_loss(logits.detach(), *others).requires_grad


def test_the_operator_refuses_arrays_that_are_too_small():
    logits, *others = batch()
    for i in range(3):
        shortened = [x[:2] if i == n else x for n, x in enumerate(others)]
        with pytest.raises(ValueError, match="N rows in every other array"):
            native_op.ctc(logits, *shortened, 0, False)
    for bad in (logits[0], logits.double(), logits.transpose(0, 2).contiguous().transpose(0, 2)):
        with pytest.raises(ValueError, match="float32 or bfloat16 in a native layout"):
            native_op.ctc(bad, *others, 0, False)
    saved = native_op.ctc(logits, *others, 0, True)[2]
    assert native_op.ctc_backward(logits, saved, torch.ones(3), 3, 0).shape == logits.shape
    with pytest.raises(ValueError, match="N rows in every other array"):
        native_op.ctc_backward(logits, saved, torch.ones(2), 3, 0)


def test_gradients_of_gradients_are_refused():
    logits, *others = batch()
    (first,) = torch.autograd.grad(ctc_loss(logits.requires_grad_(), *others), logits, create_graph=True)
    with pytest.raises(RuntimeError, match="ctc_backward"):
        first.sum().backward()


SHARED = """
import os, sys, torch
from torch import distributed
from ds2cli.nn.ctc.loss import ctc_loss
rank = int(sys.argv[1])
distributed.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
torch.manual_seed(0)
network, x, targets = torch.nn.Linear(5, 5), torch.randn(9, 4, 5), torch.randint(1, 5, (4, 3))
alone = torch.nn.Linear(5, 5)
alone.load_state_dict(network.state_dict())
lengths = torch.full((4,), 9), torch.tensor([3, 2, 1, 0])
parallel = torch.nn.parallel.DistributedDataParallel(network)
mine = slice(2 * rank, 2 * rank + 2)
ctc_loss(parallel(x[:, mine]), targets[mine], *(y[mine] for y in lengths)).backward()
ctc_loss(alone(x), targets, *lengths).backward()
torch.testing.assert_close(network.weight.grad, alone.weight.grad)
distributed.barrier()
os._exit(0)  # a thread of torch may abort a process that destroys its group
"""


def test_distributed_data_parallel_gives_the_gradient_of_the_full_batch(tmp_path):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    command = [sys.executable, "-c", SHARED]
    running = [subprocess.Popen([*command, str(rank), str(tmp_path / "store")], env=env) for rank in range(2)]
    assert [process.wait(120) for process in running] == [0, 0]


@pytest.mark.skipif(
    not (torch.cuda.is_available() and native.available("cuda")),
    reason="no CUDA device, or the CUDA library is not built",
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_cuda_matches_the_cpu(dtype):
    logits, *others = batch(T=200, N=5, V=30, L=40, dtype=dtype)
    others[0][2, 1] = 30
    found = []
    for device in ("cpu", "cuda", "cuda"):
        leaf = logits.to(device).requires_grad_()
        costs, verdicts = ctc(leaf, *others)
        costs[costs.isfinite()].sum().backward()
        found.append([x.detach().cpu() for x in (costs, verdicts, leaf.grad)])
    assert all(map(torch.equal, found[1][1:], found[2][1:])), "bit-identical from run to run"
    torch.testing.assert_close(found[1][0], found[0][0], rtol=1e-5, atol=1e-5, equal_nan=True)
    torch.testing.assert_close(found[1][2], found[0][2], rtol=2**-7 if dtype == torch.bfloat16 else 0, atol=1e-5)
    assert torch.equal(found[1][1], found[0][1])
