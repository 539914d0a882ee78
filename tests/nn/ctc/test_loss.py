from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from ds2cli import native
from ds2cli.kernels.viterbi import steps_needed
from ds2cli.nn.ctc import native_op
from ds2cli.nn.ctc.loss import Verdict, ctc, ctc_loss
from ds2cli.nn.ctc.reference import ctc_ref

NATIVE = pytest.mark.skipif(not native.available(), reason="the native library is not built")
both_implementations = pytest.mark.parametrize(
    "implementation", ["torch", pytest.param("native", marks=[NATIVE, pytest.mark.native])]
)


def cost(logits, label, implementation="torch", blank=0):
    """The cost of one utterance by `ctc`. logits: (T, V)."""
    targets = torch.tensor([label], dtype=torch.int64).reshape(1, -1)
    lengths = torch.tensor([len(logits)]), torch.tensor([len(label)])
    return ctc(logits.unsqueeze(1), targets, *lengths, blank, implementation=implementation).costs[0]


def batch(seed=0, T=23, N=6, V=7, L=8, scale=3.0, blank=0):
    """Utterances of different lengths whose labels fit: logits, targets, input_lengths, target_lengths."""
    rng = np.random.default_rng(seed)
    logits = torch.tensor(scale * rng.normal(size=(T, N, V)), dtype=torch.float32)
    targets = torch.tensor((blank + rng.integers(1, V, (N, L))) % V)
    target_lengths = torch.tensor([L, *rng.integers(0, L + 1, N - 1)])
    input_lengths = torch.tensor([T, *rng.integers(2 * L, T + 1, N - 1)])
    return logits, targets, input_lengths, target_lengths


def costs_and_gradients(logits, *others, **options):
    """The costs, the verdicts as a list, and the gradients of their sum with weights 1, 2, 3 …"""
    leaf = logits.detach().clone().requires_grad_()
    costs, verdicts = ctc(leaf, *others, **options)
    costs.backward(torch.arange(1.0, len(costs) + 1).to(costs.dtype))
    return costs.detach(), verdicts.tolist(), leaf.grad


def expected(logits, targets, input_lengths, target_lengths, blank=0):
    """The costs and weighted gradients of `costs_and_gradients`, by the reference."""
    costs, gradients = ctc_ref(
        logits.double().numpy(), targets.numpy(), input_lengths.numpy(), target_lengths.numpy(), blank
    )
    return torch.from_numpy(costs), torch.from_numpy(gradients * np.arange(1, len(costs) + 1)[:, None])


@both_implementations
def test_costs_of_the_warp_ctc_tutorial(implementation):
    assert float(cost(torch.ones(1, 5), [1], implementation)) == pytest.approx(1.6094379, abs=1e-6)
    # one alignment (3 blank 3) through rows of softmax(1 … 5); the tutorial prints 7.3522 from rounded factors
    rising = torch.arange(1.0, 16.0).view(3, 5)
    assert float(cost(rising, [3, 3], implementation)) == pytest.approx(7.35574, abs=1e-5)


@both_implementations
@pytest.mark.parametrize("label", [[], [1], [1, 2], [2, 2], [1, 2, 1]])
def test_cost_equals_the_sum_over_all_alignments(implementation, label):
    torch.manual_seed(len(label))
    logits = torch.randn(5, 3)
    probabilities = logits.softmax(-1)
    total = sum(
        math.prod(float(probabilities[t, s]) for t, s in enumerate(path))
        for path in itertools.product(range(3), repeat=5)
        if [k for k, _ in itertools.groupby(path) if k] == label
    )
    assert float(cost(logits, label, implementation)) == pytest.approx(-math.log(total), rel=1e-5)


@both_implementations
@pytest.mark.parametrize("label", [[1], [1, 1], [1, 2, 2, 1], [2, 2, 2]])
def test_a_label_with_one_step_too_few_costs_infinity(implementation, label):
    needed = steps_needed(np.array(label))
    assert math.isfinite(cost(torch.zeros(needed, 3), label, implementation))
    assert math.isinf(cost(torch.zeros(needed - 1, 3), label, implementation))


@both_implementations
@pytest.mark.parametrize("blank", [0, 3, 6])
@pytest.mark.parametrize("scale", [0.0, 1.0, 50.0])
def test_costs_and_gradients_match_the_reference(implementation, scale, blank):
    inputs = batch(scale=scale, blank=blank)
    costs, verdicts, gradients = costs_and_gradients(*inputs, blank, implementation=implementation)
    reference_costs, reference_gradients = expected(*inputs, blank)
    assert verdicts == [0] * 6 and costs.dtype == torch.float32
    torch.testing.assert_close(costs.double(), reference_costs, rtol=1e-5, atol=1e-5)
    # torch sums logarithms, so its rounding error grows with the cost
    tolerance = 1e-5 if implementation == "native" or scale < 50 else 1e-3
    assert float(((gradients - reference_gradients).abs() / torch.arange(1.0, 7.0)[:, None]).max()) <= tolerance


@pytest.mark.parametrize("blank", [0, 3])
def test_float64_matches_to_full_precision(blank):
    inputs = batch(blank=blank)
    costs, _, gradients = costs_and_gradients(inputs[0].double(), *inputs[1:], blank)
    reference = expected(*inputs, blank)
    torch.testing.assert_close(costs, reference[0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradients, reference[1], rtol=1e-10, atol=1e-12)


@both_implementations
@pytest.mark.parametrize(("dtype", "ulp"), [(torch.bfloat16, 2**-8), (torch.float16, 2**-10)])
@pytest.mark.parametrize("symbols", [7, 48])  # fewer than the lanes of a vector, and whole vectors
def test_16_bit_logits_are_accurate_to_their_rounding(implementation, dtype, ulp, symbols):
    inputs = batch(V=symbols)
    rounded = inputs[0].to(dtype)
    costs, _, gradients = costs_and_gradients(rounded, *inputs[1:], implementation=implementation)
    reference_costs, reference_gradients = expected(rounded, *inputs[1:])
    torch.testing.assert_close(costs.double(), reference_costs, rtol=1e-5, atol=1e-5)
    assert costs.dtype == torch.float32 and gradients.dtype == dtype
    torch.testing.assert_close(gradients.double(), reference_gradients, rtol=ulp, atol=1e-4)


ONE_OF_EACH = {
    Verdict.OK: (6, [1, 2]),
    Verdict.TOO_SHORT: (2, [1, 1]),
    Verdict.IMPOSSIBLE: (6, [3]),
    Verdict.NOT_FINITE: (6, [1]),
    Verdict.BAD_LABEL: (6, [1, 5]),
    Verdict.BAD_LENGTH: (7, [1]),
}


def mixed_batch():
    """One utterance per verdict; then infinite logits, blanks and negative symbols as labels, and unusual lengths."""
    rows = [
        *ONE_OF_EACH.values(),
        (6, [1]),
        (6, [1]),
        (6, [0]),
        (6, [-1]),
        (-1, [1]),
        (0, []),
        (0, [1]),
        (6, []),
        (6, [2]),
    ]
    torch.manual_seed(5)
    logits = torch.randn(6, len(rows), 5)
    logits[:, 2, 3] = -math.inf
    logits[2, 3, 1] = math.nan
    logits[3, 6, 4] = math.inf
    logits[3, 7] = -math.inf
    logits[:4, -1, 2] = logits[4:, -1, 0] = -30_000
    logits[2:, 1] = math.nan  # past its length: not read
    targets = torch.zeros(len(rows), 2, dtype=torch.int64)
    for n, (_, label) in enumerate(rows):
        targets[n, : len(label)] = torch.tensor(label)
    return logits, targets, torch.tensor([r[0] for r in rows]), torch.tensor([len(r[1]) for r in rows])


@both_implementations
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_an_invalid_utterance_does_not_affect_the_others(implementation, dtype):
    logits, *others = mixed_batch()
    costs, verdicts, gradients = costs_and_gradients(logits.to(dtype), *others, implementation=implementation)
    v = Verdict
    assert verdicts == [
        *ONE_OF_EACH, v.NOT_FINITE, v.NOT_FINITE, v.BAD_LABEL, v.BAD_LABEL, v.BAD_LENGTH, v.OK, v.TOO_SHORT, v.OK, v.OK
    ]  # fmt: skip
    assert [math.isinf(c) for c in costs] == [x in (v.TOO_SHORT, v.IMPOSSIBLE) for x in verdicts]
    assert [math.isnan(c) for c in costs] == [x >= v.NOT_FINITE for x in verdicts]
    ok = torch.tensor(verdicts) == 0
    assert float(costs[11]) == 0 and not gradients[:, ~ok].any() and not gradients[:, 11].any()
    reference_costs, reference = expected(logits[:, ok].to(dtype), *(x[ok] for x in others))
    torch.testing.assert_close(costs[ok].double(), reference_costs, rtol=1e-5, atol=1e-5)
    reference *= (torch.arange(1, len(ok) + 1)[ok] / torch.arange(1, int(ok.sum()) + 1))[:, None]
    torch.testing.assert_close(gradients[:, ok].double(), reference, rtol=2**-8, atol=1e-4)
    single = ctc(logits[:, :1].to(dtype), *(x[:1] for x in others), implementation=implementation)
    assert torch.equal(single.costs, costs[:1])


@both_implementations
def test_invalid_utterances_and_padding_have_no_gradient(implementation):
    logits, targets, steps, sizes = batch()
    steps[1], targets[2, 0], sizes[1:3] = 3, 0, 8
    _, verdicts, gradients = costs_and_gradients(logits, targets, steps, sizes, implementation=implementation)
    assert verdicts == [0, Verdict.TOO_SHORT, Verdict.BAD_LABEL, 0, 0, 0]
    assert not gradients[:, 1:3].any() and not any(gradients[length:, n].any() for n, length in enumerate(steps))


def test_every_verdict_has_a_code_and_a_sentence():
    assert [v.value for v in Verdict] == list(range(6)) == list(map(int, Verdict))
    assert len({v.code for v in Verdict}) == len({v.sentence for v in Verdict}) == 6


@both_implementations
def test_reductions_and_padding(implementation):
    torch.manual_seed(0)
    logits, lengths = torch.randn(6, 2, 4), torch.tensor([6, 4])
    targets, sizes = torch.tensor([[1, 2, 3], [2, 9, 9]]), torch.tensor([3, 1])
    options = {"implementation": implementation}
    each = ctc_loss(logits, targets, lengths, sizes, reduction="none", **options)
    assert float(each[1]) == pytest.approx(float(cost(logits[:4, 1], [2])), rel=1e-6)
    assert float(ctc_loss(logits, targets, lengths, sizes, reduction="sum", **options)) == pytest.approx(
        float(each.sum())
    )
    mean = ctc_loss(logits, targets, lengths, sizes, **options)
    assert float(mean) == pytest.approx(float((each / sizes).mean()))
    with pytest.raises(ValueError, match="none, sum or mean, got 'max'"):
        ctc_loss(logits, targets, lengths, sizes, reduction="max", **options)


@both_implementations
def test_reductions_match_torch_with_empty_labels_and_zero_infinity(implementation):
    logits, targets, steps, sizes = batch()
    steps[1], sizes[1:3] = 3, torch.tensor([8, 0])
    for options in ({}, {"reduction": "none"}, {"reduction": "sum"}):
        found = ctc_loss(logits, targets, steps, sizes, zero_infinity=True, implementation=implementation, **options)
        reference = torch.nn.functional.ctc_loss(
            logits.log_softmax(-1), targets, steps, sizes, zero_infinity=True, **options
        )
        torch.testing.assert_close(found, reference, rtol=1e-5, atol=1e-5)
    assert math.isinf(ctc_loss(logits, targets, steps, sizes, implementation=implementation))


@both_implementations
def test_a_loss_that_is_not_a_number_is_not_counted_as_zero(implementation):
    logits, targets, steps, sizes = batch()
    logits = logits.detach().clone()
    logits[0, 0] = math.nan
    options = {"reduction": "none", "zero_infinity": True, "implementation": implementation}
    losses = ctc_loss(logits, targets, steps, sizes, **options)
    assert losses.isnan().tolist() == [True] + [False] * (len(sizes) - 1)


@both_implementations
def test_the_loss_has_the_blank_and_the_layout_that_are_given(implementation):
    logits, *others = batch(blank=3)
    costs = ctc(logits, *others, 3, implementation=implementation).costs
    turned = logits.transpose(0, 1).contiguous()
    options = {"blank": 3, "batch_first": True, "reduction": "sum", "implementation": implementation}
    assert float(ctc_loss(turned, *others, **options)) == pytest.approx(float(costs.sum()), rel=1e-6)


@both_implementations
def test_gradients_match_finite_differences(implementation):
    logits, *others = batch(T=12, N=2, V=4, L=3)
    if implementation == "torch":
        assert torch.autograd.gradcheck(lambda x: ctc(x, *others).costs, (logits.double().requires_grad_(),))
    gradients = costs_and_gradients(logits, *others, implementation=implementation)[2]
    for t, n, v in itertools.product(range(0, 12, 3), range(2), range(4)):
        step = torch.zeros_like(logits)
        step[t, n, v] = 0.02
        up, down = (float(ctc(x, *others).costs[n]) for x in (logits.double() + step, logits.double() - step))
        assert float(gradients[t, n, v]) == pytest.approx((n + 1) * (up - down) / 0.04, abs=1e-3)


@both_implementations
@pytest.mark.parametrize("dtype", [torch.int16, torch.int32, torch.int64, torch.uint8], ids=str)
def test_integers_of_any_dtype(implementation, dtype):
    logits, *others = batch()
    reference = ctc(logits, *others, implementation=implementation).costs
    assert torch.equal(ctc(logits, *(x.to(dtype) for x in others), implementation=implementation).costs, reference)


@both_implementations
def test_values_beyond_int32_are_invalid(implementation):
    logits, targets, steps, sizes = batch()
    targets[0, 0], steps[1], sizes[2] = 2**32 + 1, 2**32 + 5, -(2**32)
    verdicts = ctc(logits, targets, steps, sizes, implementation=implementation).verdicts.tolist()
    assert verdicts[:3] == [Verdict.BAD_LABEL, Verdict.BAD_LENGTH, Verdict.BAD_LENGTH] and not any(verdicts[3:])


@both_implementations
@pytest.mark.parametrize(("T", "N", "L"), [(0, 3, 0), (5, 0, 2), (0, 0, 0), (5, 2, 0), (1, 1, 1)])
def test_empty_batches(implementation, T, N, L):
    targets, sizes = torch.ones(N, L, dtype=torch.int64), torch.full((N,), L)
    costs, verdicts, gradients = costs_and_gradients(
        torch.zeros(T, N, 4), targets, torch.full((N,), T), sizes, implementation=implementation
    )
    assert costs.tolist() == pytest.approx([T * math.log(4)] * N, abs=1e-6) and verdicts == [0] * N
    assert gradients.shape == (T, N, 4)


LAYOUTS = {
    "frame-major": lambda x: x,
    "utterance-major": lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
    "part of longer utterances": lambda x: torch.cat([x, x]).transpose(0, 1).contiguous().transpose(0, 1)[: len(x)],
    "part of more symbols": lambda x: torch.cat([x, x], -1)[..., : x.shape[-1]],
    "one utterance of many": lambda x: torch.stack([x, x], 2)[:, :, 0],
}
COPIED = {
    "symbols not contiguous": lambda x: x.transpose(0, 2).contiguous().transpose(0, 2),
    "overlapping rows": lambda x: x[:, :1].expand_as(x),
}


@pytest.mark.native
@NATIVE
@pytest.mark.parametrize("layout", [*LAYOUTS, *COPIED])
@pytest.mark.parametrize(("T", "N"), [(23, 6), (1, 6), (23, 1), (1, 1)])
def test_strided_logits_are_read_without_a_copy(layout, T, N):
    logits, *others = batch()
    logits, others = logits[:T, :N].contiguous(), [x[:N] for x in others]
    others = [others[0], others[1].clamp_max(T), others[2].clamp_max(T)]
    view = {**LAYOUTS, **COPIED}[layout](logits).requires_grad_()
    costs, verdicts = ctc(view, *others)
    (gradients,) = torch.autograd.grad(costs[torch.isfinite(costs)].sum(), view)
    reference = ctc(view.detach().contiguous(), *others)
    assert torch.equal(costs, reference.costs) and torch.equal(verdicts, reference.verdicts)
    assert layout in COPIED or (native_op.has_native_layout(view) and gradients.stride() == view.stride())
    plain = view.detach().contiguous().requires_grad_()
    costs = ctc(plain, *others).costs
    assert torch.equal(gradients, torch.autograd.grad(costs[torch.isfinite(costs)].sum(), plain)[0])


@both_implementations
def test_batch_first_logits(implementation):
    logits, *others = batch()
    costs = ctc(logits, *others, implementation=implementation).costs
    turned = ctc(logits.transpose(0, 1).contiguous(), *others, batch_first=True, implementation=implementation).costs
    assert torch.equal(costs, turned)


@pytest.mark.native
@NATIVE
def test_results_depend_on_neither_threads_nor_row_order():
    inputs = batch(N=9, T=60)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one_thread = costs_and_gradients(*inputs)
        torch.set_num_threads(3)
        three_threads = costs_and_gradients(*inputs)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(one_thread[0], three_threads[0]) and torch.equal(one_thread[2], three_threads[2])
    assert torch.equal(one_thread[0], ctc(*inputs).costs), "without a gradient the costs are the same"
    reverse = ctc(inputs[0].flip(1), *(x.flip(0) for x in inputs[1:])).costs.flip(0)
    assert torch.equal(one_thread[0], reverse)
    with torch.no_grad():
        saved = native_op.ctc(*inputs, 0, False)[2]
    assert saved.numel() == 0


@both_implementations
def test_backward_twice_gives_the_same_gradient(implementation):
    logits, *others = batch()
    leaf = logits.requires_grad_()
    loss = ctc_loss(leaf, *others, implementation=implementation)
    loss.backward(retain_graph=True)
    once = leaf.grad.clone()
    loss.backward()
    assert torch.equal(leaf.grad, 2 * once)


def test_mismatched_shapes_are_refused():
    logits, targets, steps, sizes = batch()
    for bad in ((logits[0], targets), (logits, targets[0]), (logits, targets[1:])):
        with pytest.raises(ValueError, match=r"ctc: shapes do not fit: expected logits \(T, N, V\), targets \(N, L\)"):
            ctc(*bad, steps, sizes)
    with pytest.raises(ValueError, match="do not fit"):
        ctc(logits, targets, steps[1:], sizes)
    for blank in (7, -1):
        with pytest.raises(ValueError, match=rf"blank below 7 .*, got {blank}"):
            ctc(logits, targets, steps, sizes, blank)


@both_implementations
@pytest.mark.parametrize("i", range(3))
def test_lengths_without_data_are_refused(implementation, i):
    logits, *others = batch()
    others[i] = others[i].to("meta")
    with pytest.raises(ValueError, match=r"on the meta device \(no data\) but the logits on cpu"):
        ctc(logits, *others, implementation=implementation)


@pytest.mark.parametrize("offset", [1e30, -1e30])
def test_the_reference_is_exact_far_from_zero(offset):
    logits = np.full((4, 2, 3), offset)
    others = np.array([[1, 2], [1, 1]]), np.array([4, 4]), np.array([2, 2])
    for found, reference in zip(ctc_ref(logits, *others), ctc_ref(np.zeros_like(logits), *others), strict=True):
        np.testing.assert_array_equal(found, reference)


def test_without_the_library_torch_is_used(monkeypatch):
    inputs = batch()
    reference = ctc(*inputs, implementation="torch").costs
    monkeypatch.setattr(native, "available", lambda name: False)
    assert torch.equal(ctc(*inputs).costs, reference)
