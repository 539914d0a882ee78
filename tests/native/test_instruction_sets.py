"""The instruction sets of the recurrence against its formulas, in float32 and bfloat16, and DS2_NATIVE_ISA."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ds2cli import native
from ds2cli.errors import UsageError
from ds2cli.nn.rnn.cells import CELLS

ROOT = Path(__file__).parents[2]
LENGTHS = [9, 9, 6, 4, 1]
STATES = f"""
import sys, torch
from ds2cli import native
from ds2cli.nn.rnn.cells import CELLS
from ds2cli.nn.rnn.recurrence import rnn_padded
arrays = []
for cell in CELLS.values():
    for bfloat16 in (False, True):
        torch.manual_seed(0)
        width = cell.gates * 37
        x, u = torch.randn(9, 5, width).requires_grad_(), (torch.randn(2, width, 37) / 12).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            h = rnn_padded(cell, x, u, torch.tensor({LENGTHS}))
        h.square().sum().backward()
        arrays.append([a.detach() for a in (x, u, h, x.grad, u.grad)])
torch.save([native.instruction_set(), arrays[::2], arrays[1::2]], sys.argv[1])
"""
"""Saves, for every cell, inputs, states and gradients: in float32, then in bfloat16."""

pytestmark = pytest.mark.native
needs_library = pytest.mark.skipif(not native.available(), reason="the native library is not built")


def states(isa, file):
    """What STATES saves with this instruction set; None if the processor does not have it."""
    env = {**os.environ, "DS2_NATIVE_ISA": isa, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", STATES, str(file)], env=env, capture_output=True, text=True)
    if "not on this processor" in done.stderr:
        return None
    assert done.returncode == 0, done.stderr
    return torch.load(file)


class RoundedProduct(torch.autograd.Function):
    """h Uᵀ; the factors of this product and of those for its gradients are rounded to bfloat16."""

    @staticmethod
    def forward(ctx, h, u):
        h, u = h.bfloat16().double(), u.bfloat16().double()
        ctx.save_for_backward(h, u)
        return h @ u.T

    @staticmethod
    def backward(ctx, du):
        (h, u), du = ctx.saved_tensors, du.bfloat16().double()
        return du @ u, du.T @ h


def formulas(cell, x, u, product):
    """States and gradients that STATES saves, by the formulas in float64."""
    x, u = x.double().requires_grad_(), u.double().requires_grad_()
    h = torch.zeros(2, 9, 5, 37, dtype=torch.float64)
    for d in range(2):
        for n, length in enumerate(LENGTHS):
            state = (torch.zeros(1, 37, dtype=torch.float64),) * cell.states
            for t in range(length) if d == 0 else reversed(range(length)):
                state = cell.step(x[t, n : n + 1], product(state[0], u[d]), state)
                h[d, t, n] = state[0][0]
    return h.detach(), *torch.autograd.grad(h.square().sum(), (x, u))


@pytest.fixture(scope="module")
def base_states(tmp_path_factory):
    return states("base", tmp_path_factory.mktemp("base") / "base.pt")[1]


@needs_library
@pytest.mark.parametrize("isa", ["base", "avx2", "avx512", "avx512bf16"])
def test_each_instruction_set_agrees_with_the_plain_one_and_with_the_formulas(isa, base_states, tmp_path):
    """In bfloat16 the formulas round the same factors.

    What remains is the error of float32, and that it moves a few factors to the other of two bfloat16 values
    (native/tests/test_rnn.cpp): less than half of what rounding changes.
    """
    found = states(isa, tmp_path / "states.pt")
    if found is None:
        pytest.skip(f"{isa} is not in this build or not on this processor")
    name, single, half = found
    assert name == isa
    for cell, plain, (x, u, *arrays), (*_, h, dx, du) in zip(CELLS.values(), base_states, single, half, strict=True):
        exact = formulas(cell, x, u, lambda h, u: h @ u.T)
        for array, other, expected in zip(arrays, plain[2:], exact, strict=True):
            torch.testing.assert_close(array, other, rtol=1e-5, atol=2e-6)
            assert float((array - expected).norm()) < 2e-6 * float(expected.norm())
        rounded = formulas(cell, x, u, RoundedProduct.apply)
        for array, same, expected, unrounded in zip((h, dx, du), arrays, rounded, exact, strict=True):
            if isa == "avx512bf16":
                assert float((array - expected).norm()) < 0.5 * float((expected - unrounded).norm())
            else:
                assert torch.equal(array, same), "computed in float32"


@pytest.mark.parametrize(
    ("isa", "problem"),
    [
        ("avx3", "expected one of base, avx2, avx512, avx512bf16"),
        ("avx512", r"not in this build or not on this processor \(expected avx2 or lower\)$"),
    ],
)
def test_an_instruction_set_that_cannot_be_used_is_refused(monkeypatch, isa, problem):
    monkeypatch.setenv("DS2_NATIVE_ISA", isa)
    with pytest.raises(UsageError, match=rf"^DS2_NATIVE_ISA={isa}: {problem}"):
        native._check_instruction_set(["avx2", "avx2"])


def test_a_command_refuses_an_unknown_instruction_set(ds2, monkeypatch):
    monkeypatch.setenv("DS2_NATIVE_ISA", "sse")
    done = ds2("doctor", "ctc")
    assert (done.returncode, done.stderr) == (
        2, "ds2: DS2_NATIVE_ISA=sse: expected one of base, avx2, avx512, avx512bf16\n"
    )  # fmt: skip
