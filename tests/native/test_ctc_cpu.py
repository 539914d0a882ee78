"""The CPU kernels of CTC compared with the formulas: alphabets and labels of all sizes, extreme logits."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from ds2cli import native
from ds2cli.nn.ctc.loss import Verdict, ctc
from ds2cli.nn.ctc.reference import ctc_ref

cases = runpy.run_path(str(Path(__file__).with_name("ctc_cases.py")))
GROUPS = ("frames", "alphabets", "labels", "numbers", "wide")
# labels around the lanes of a vector and of several vectors
EDGES = [*cases["edges"]((0, 1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 129))]
CASES = [*EDGES, *(case for group in GROUPS for case in cases[group]())]

pytestmark = [
    pytest.mark.native,
    pytest.mark.skipif(not native.available(), reason="the native library is not built"),
]


def assert_solved(case, dtype=torch.float32, gradient_rtol=0.0):
    """Costs, verdicts and the gradients of the sum of the costs with weights 1, 2, 3 …"""
    leaf = torch.tensor(case.logits).to(dtype).requires_grad_()
    others = [torch.tensor(x) for x in (case.targets, case.input_lengths, case.target_lengths)]
    found, verdicts = ctc(leaf, *others, case.blank)
    weights = torch.arange(1.0, len(found) + 1)
    found.backward(weights)
    logits = leaf.detach().float().numpy()
    costs, gradients = ctc_ref(logits, case.targets, case.input_lengths, case.target_lengths, case.blank)
    np.testing.assert_allclose(found.detach().numpy(), costs, rtol=1e-5, atol=1e-5)
    gradient = leaf.grad.float().numpy() / weights.numpy()[:, None]
    np.testing.assert_allclose(gradient, gradients, rtol=gradient_rtol, atol=1e-5)
    np.testing.assert_array_equal(verdicts.numpy() == Verdict.OK, np.isfinite(costs))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_costs_and_gradients_agree_with_the_formulas(case):
    assert_solved(case)


@pytest.mark.parametrize("case", [*cases["alphabets"]()], ids=lambda case: case.name)
def test_bfloat16_alphabets_of_all_sizes(case):
    assert_solved(case, torch.bfloat16, gradient_rtol=2**-8)


def test_the_cost_of_an_almost_certain_label_keeps_its_digits_over_thousands_of_frames():
    case = cases["draw"]("certain", [(3000, 20)], 20, 29, 91, size=0.0)
    case.logits[:, :, 0] = 10
    for i, symbol in enumerate(case.targets[0]):
        case.logits[100 * i + 50, 0, [0, symbol]] = 0, 10
    others = case.targets, case.input_lengths, case.target_lengths
    found = ctc(torch.tensor(case.logits), *map(torch.tensor, others), case.blank).costs
    np.testing.assert_allclose(found, ctc_ref(case.logits, *others, case.blank)[0], rtol=5e-7)
