"""The CUDA kernels of CTC, compiled for the CPU, compared with the formulas in float64."""

from __future__ import annotations

import ctypes
import os
import runpy
from pathlib import Path

import numpy as np
import pytest

from ds2cli.nn.ctc.reference import ctc_ref

cases = runpy.run_path(str(Path(__file__).with_name("ctc_cases.py")))
EVERY = 5 if os.environ.get("DS2_TEST_SANITIZE") else 1  # with sanitizers, which are slow, one case in five
EDGES = [*cases["edges"]()][::EVERY]
LONG_EDGES = [*cases["edges"](cases["LONG_EDGES"])]
OTHERS = [case for group in ("wide", "frames", "alphabets", "labels", "numbers") for case in cases[group]()][::EVERY]
FINE, TOO_SHORT, IMPOSSIBLE, NOT_FINITE, BAD_LABEL, BAD_LENGTH = range(6)
GUARD = 256  # bytes after each buffer that must not be written

pytestmark = pytest.mark.native


class Shape(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int32) for name in ("T", "N", "V", "L", "blank", "precision")),
        *((name, ctypes.c_int64) for name in ("stride_t", "stride_n")),
    )


class Result:
    """costs (N,), verdicts (N,) and gradients (T, N, V), or None if they were not computed."""

    def __init__(self, costs, verdicts, gradients):
        self.costs, self.verdicts, self.gradients = costs, verdicts, gradients

    def assert_same(self, other):
        for value, other_value in zip(vars(self).values(), vars(other).values(), strict=True):
            if value is not None and other_value is not None:
                np.testing.assert_array_equal(value, other_value)


class Buffer:
    """Memory filled with a pattern, `shift` bytes after a multiple of 256; `check` fails if its end was overwritten."""

    def __init__(self, size, shift=0, pattern=0xA5):
        self.pattern, self.bytes = pattern, np.full(size + 2 * GUARD + shift, pattern, np.uint8)
        start = -self.bytes.ctypes.data % 256 + shift
        self.used, self.guard = self.bytes[start : start + size], self.bytes[start + size :]
        self.address = self.used.ctypes.data

    def check(self):
        assert (self.guard == self.pattern).all(), "a kernel wrote beyond the end of a buffer"


class Kernels:
    def __init__(self, file):
        self.library = ctypes.CDLL(str(file))
        self.library.ds2_last_error.restype = ctypes.c_char_p

    def call(self, name, *arguments):
        if getattr(self.library, name)(*arguments):
            raise RuntimeError(self.library.ds2_last_error().decode())

    def solve(
        self, case, dcosts=None, keep=True, utterance_major=False, bfloat16=False, shift=0, order=0, pattern=0xA5
    ):
        """Run the library on a case. dcosts: ones by default; shift: bytes from an aligned address to the logits."""
        self.library.ds2_shim_set_order(order)
        T, N, V = case.logits.shape
        order_of_axes = (1, 0, 2) if utterance_major else (0, 1, 2)
        logits = case.logits.transpose(order_of_axes)
        dtype = np.uint16 if bfloat16 else np.float32
        elements = (logits.copy().view(np.uint32) >> 16).astype(np.uint16) if bfloat16 else logits.astype(np.float32)
        memory, dlogits = (Buffer(elements.nbytes, shift) for _ in range(2))
        memory.used[:] = np.frombuffer(elements.tobytes(), np.uint8)
        strides = (V, T * V) if utterance_major else (N * V, V)
        shape = Shape(T, N, V, case.targets.shape[1], case.blank, int(bfloat16), *strides)
        sizes = [ctypes.c_size_t() for _ in range(3)]
        self.call("ds2_ctc_cuda_sizes", ctypes.byref(shape), *map(ctypes.byref, sizes))
        saved = Buffer(sizes[0].value, pattern=pattern)
        workspace = Buffer(sizes[2 if keep else 1].value, pattern=pattern)
        costs, verdicts = np.full(N, -1, np.float32), np.full(N, -1, np.int32)
        inputs = [np.ascontiguousarray(x) for x in (case.targets, case.input_lengths, case.target_lengths)]
        pointers = [memory.address, *(x.ctypes.data for x in (*inputs, costs, verdicts))]
        pointers += [saved.address if keep else None, workspace.address]
        pointers = [ctypes.c_void_p(p) for p in pointers]
        size = ctypes.c_size_t(len(workspace.used))
        self.call("ds2_ctc_cuda_forward", ctypes.byref(shape), *pointers, size, None)
        gradients = None
        if keep:
            dcosts = np.ones(N, np.float32) if dcosts is None else dcosts
            addresses = memory.address, saved.address, dcosts.ctypes.data, dlogits.address
            self.call("ds2_ctc_cuda_backward", ctypes.byref(shape), *map(ctypes.c_void_p, addresses), None)
            gradients = dlogits.used.view(dtype).reshape(elements.shape).transpose(order_of_axes)
            if bfloat16:
                gradients = (gradients.astype(np.uint32) << 16).view(np.float32)
        for buffer in (memory, dlogits, saved, workspace):
            buffer.check()
        return Result(costs, verdicts, gradients)


@pytest.fixture(scope="session")
def kernels(build_host_kernels):
    return Kernels(build_host_kernels("cuda/ctc_cuda.cu", "cuda/host_shim.cpp", "status.cpp"))


def expected(case):
    return ctc_ref(case.logits, case.targets, case.input_lengths, case.target_lengths, case.blank)


def assert_solved(result, case, gradient_rtol=0.0):
    costs, gradients = expected(case)
    np.testing.assert_allclose(result.costs, costs, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(result.gradients, gradients, rtol=gradient_rtol, atol=1e-5)
    fine = np.isfinite(costs)
    assert (result.gradients[:, ~fine] == 0).all()
    np.testing.assert_array_equal(result.verdicts == FINE, fine)
    np.testing.assert_array_equal(result.verdicts == NOT_FINITE, np.isnan(costs))


def alone(case, n):
    """Utterance n as a batch by itself, without padding."""
    T, L = case.input_lengths[n], case.target_lengths[n]
    return type(case)(
        case.name,
        case.logits[:T, n : n + 1],
        case.targets[n : n + 1, :L],
        case.input_lengths[n : n + 1],
        case.target_lengths[n : n + 1],
        case.blank,
    )


@pytest.mark.parametrize("case", EDGES + OTHERS, ids=lambda case: case.name)
def test_costs_and_gradients_agree_with_the_formulas(kernels, case):
    assert_solved(kernels.solve(case), case)


@pytest.mark.parametrize("case", LONG_EDGES, ids=lambda case: case.name)
def test_long_labels(kernels, case):
    assert_solved(kernels.solve(case), case)


def test_long_utterances(kernels):
    for case in cases["long"]():
        assert_solved(kernels.solve(case), case)


@pytest.mark.parametrize("case", EDGES[::3] + OTHERS[::3] + [*cases["wide"]()], ids=lambda case: case.name)
def test_results_do_not_depend_on_thread_order_or_memory_contents(kernels, case):
    first = kernels.solve(case)
    for order in (1, 2, 3):
        first.assert_same(kernels.solve(case, order=order, pattern=0xFF if order == 1 else 0))


@pytest.mark.parametrize("case", EDGES[::4] + OTHERS[::4], ids=lambda case: case.name)
def test_an_utterance_has_bit_identical_results_alone(kernels, case):
    together = kernels.solve(case)
    for n in range(len(case.input_lengths)):
        T = case.input_lengths[n]
        by_itself = kernels.solve(alone(case, n))
        parts = together.costs[n : n + 1], together.verdicts[n : n + 1], together.gradients[:T, n : n + 1]
        by_itself.assert_same(Result(*parts))


@pytest.mark.parametrize("L", [31, 60, 100, 250, 600])
def test_padding_that_selects_another_kernel_does_not_change_the_result(kernels, L):
    case = cases["draw"]("wide", [(L + 40, L)], L, 29, 7, size=20.0)
    wide = case._replace(targets=np.pad(case.targets, ((0, 0), (0, 1000 - L)), constant_values=-1))
    kernels.solve(case).assert_same(kernels.solve(wide))


@pytest.mark.parametrize("V", [29, 32, 129, 1000])
@pytest.mark.parametrize("bfloat16", [False, True], ids=["float32", "bfloat16"])
def test_layout_and_alignment_do_not_change_the_result(kernels, V, bfloat16):
    case = cases["draw"]("layout", [(23, 9), (11, 2), (20, 0), (3, 8)], 9, V, V)
    first = kernels.solve(case, bfloat16=bfloat16)
    for options in ({"utterance_major": True}, {"shift": 4}, {"utterance_major": True, "shift": 12}, {"order": 1}):
        first.assert_same(kernels.solve(case, bfloat16=bfloat16, **options))


@pytest.mark.parametrize("case", OTHERS[1::2], ids=lambda case: case.name)
def test_bfloat16(kernels, case):
    rounded = (case.logits.view(np.uint32) & 0xFFFF0000).view(np.float32)
    case = case._replace(logits=rounded)
    assert_solved(kernels.solve(case, bfloat16=True), case, gradient_rtol=2**-8)


@pytest.mark.parametrize("case", EDGES[::2] + OTHERS[1::2], ids=lambda case: case.name)
def test_costs_are_the_same_without_a_gradient(kernels, case):
    kernels.solve(case).assert_same(kernels.solve(case, keep=False))


def test_the_upstream_gradient_scales_the_gradient(kernels):
    case = cases["draw"]("scaled", [(30, 8), (30, 8), (8, 20), (30, 8)], 20, 29, 1)
    dcosts = np.array([2.0, -0.5, np.nan, 0.0], np.float32)
    unscaled, scaled = kernels.solve(case), kernels.solve(case, dcosts)
    dcosts[2] = 0  # too short: exactly zero, whatever the upstream gradient
    np.testing.assert_allclose(scaled.gradients, unscaled.gradients * dcosts[:, None], rtol=1e-6, atol=1e-7)
    assert (scaled.gradients[:, 2:] == 0).all()


def test_verdicts_name_invalid_utterances(kernels):
    case = cases["draw"]("bad", [(10, 4)] * 10, 4, 6, 3, blank=2)
    case.targets[:] = [0, 1, 3, 4]
    case.targets[1, 3], case.targets[2, 0], case.targets[3, 1] = 6, -1, 2
    case.input_lengths[4:7] = 11, -1, 3
    case.target_lengths[7:9] = 5, -1
    case.targets[9, 3] = 99
    case.target_lengths[9] = 3  # targets beyond the length are not read
    case.logits[4:, 6] = np.nan  # nor logits beyond the last frame
    result = kernels.solve(case)
    bad = [FINE, BAD_LABEL, BAD_LABEL, BAD_LABEL, BAD_LENGTH, BAD_LENGTH, TOO_SHORT, BAD_LENGTH, BAD_LENGTH, FINE]
    assert result.verdicts.tolist() == bad
    assert np.isnan(result.costs[[1, 2, 3, 4, 5, 7, 8]]).all()
    assert np.isposinf(result.costs[6])
    assert (result.gradients[:, 1:9] == 0).all()
    for n in (0, 9):
        assert_solved(kernels.solve(alone(case, n)), alone(case, n))


def test_impossible_differs_from_too_short(kernels):
    case = cases["draw"]("no", [(20, 5), (4, 5), (20, 5), (20, 5)], 5, 9, 3)
    case.logits[:, 0, case.targets[0, 2]] = -np.inf
    case.logits[:, 2, case.targets[2, 2]] = -30_000  # more than 22,000 nats below the largest: probability zero
    case.logits[:, 3, case.targets[3, 2]] = -21_000
    result = kernels.solve(case)
    assert result.verdicts.tolist() == [IMPOSSIBLE, TOO_SHORT, IMPOSSIBLE, FINE]
    assert result.costs[3] > 20_000


def test_gradients_agree_with_central_differences(kernels):
    case = cases["draw"]("differences", [(9, 3)], 3, 4, 11)
    gradients, step = kernels.solve(case).gradients, np.float32(2**-5)
    for t in range(0, 9, 4):
        for v in range(4):
            costs = []
            for sign in (1, -1):
                moved = case._replace(logits=case.logits.copy())
                moved.logits[t, 0, v] += sign * step
                costs.append(kernels.solve(moved, keep=False).costs[0])
            assert (costs[0] - costs[1]) / (2 * step) == pytest.approx(gradients[t, 0, v], abs=3e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"V": 0}, "V > 0, got T=1 N=1 V=0"),
        ({"N": -1}, "N=-1"),
        ({"L": -1}, "L=-1"),
        ({"blank": 3}, r"blank in 0\.\.2, got 3"),
        ({"precision": 2}, "got 2"),
    ],
    ids=str,
)
def test_an_invalid_shape_is_rejected_with_a_message(kernels, change, message):
    shape = Shape(*({"T": 1, "N": 1, "V": 3, "L": 1, "blank": 0, "precision": 0, "t": 3, "n": 3} | change).values())
    sizes = [ctypes.byref(ctypes.c_size_t()) for _ in range(3)]
    with pytest.raises(RuntimeError, match=message):
        kernels.call("ds2_ctc_cuda_sizes", ctypes.byref(shape), *sizes)


def test_a_small_workspace_or_a_missing_array_is_rejected(kernels):
    shape = ctypes.byref(Shape(1, 1, 3, 1, 0, 0, 3, 3))
    pointer = ctypes.c_void_p(np.zeros(64).ctypes.data)
    with pytest.raises(RuntimeError, match=r"expected a workspace of \d+ bytes, got 9"):
        kernels.call("ds2_ctc_cuda_forward", shape, *[pointer] * 8, ctypes.c_size_t(9), None)
    with pytest.raises(RuntimeError, match="an array is NULL"):
        kernels.call("ds2_ctc_cuda_forward", shape, None, *[pointer] * 7, ctypes.c_size_t(1 << 20), None)
    with pytest.raises(RuntimeError, match="an array is NULL"):
        kernels.call("ds2_ctc_cuda_backward", shape, pointer, pointer, None, pointer, None)
