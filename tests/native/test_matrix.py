"""Packed matrices and the recurrences of streams through the binding; native/tests/test_matrix.cpp has the formulas."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ds2cli import native

ROOT = Path(__file__).parents[2]
GRU = 0
PRODUCTS = """
import sys, numpy as np
from tests.native.test_matrix import Matrix
rng = np.random.default_rng(0)
weights, x = rng.standard_normal((37, 530), np.float32), rng.standard_normal((9, 530), np.float32)
np.save(sys.argv[1], Matrix(weights, "int8").apply(x))
"""

pytestmark = [
    pytest.mark.native,
    pytest.mark.skipif(not native.available(), reason="the native library is not built"),
]


class Matrix:
    """A packed matrix (J, K)."""

    def __init__(self, weights, weight_format):
        self.shape = native.MatrixShape(native.WEIGHTS.index(weight_format), *weights.shape)
        self.packed = np.zeros(self.sizes(1)[0], np.uint8)
        native.load_library().ds2_matrix_pack(self.shape, weights.ctypes.data, self.packed.ctypes.data)

    def sizes(self, M):
        out = ctypes.c_size_t(), ctypes.c_size_t()
        native.load_library().ds2_matrix_sizes(self.shape, M, *map(ctypes.byref, out))
        return [size.value for size in out]

    def apply(self, x, bias=None, activation=0, workspace_bytes=None):
        """x: (M, K), with any stride between rows. Returns (M, J)."""
        rows = x.ctypes.data + np.arange(len(x), dtype=np.int64) * x.strides[0]
        y, workspace = np.full((len(x), self.shape.J), np.nan, np.float32), np.zeros(self.sizes(len(x))[1], np.uint8)
        native.load_library().ds2_matrix_apply(
            self.shape, self.packed.ctypes.data, None if bias is None else bias.ctypes.data, activation, len(x),
            rows.ctypes.data, y.ctypes.data, workspace.ctypes.data,
            workspace.size if workspace_bytes is None else workspace_bytes,
        )  # fmt: skip
        return y


@pytest.mark.parametrize(("weight_format", "tolerance"), [("float32", 1e-6), ("bfloat16", 5e-3), ("int8", 2e-2)])
def test_a_product_is_that_of_numpy(weight_format, tolerance):
    rng = np.random.default_rng(0)
    samples = rng.standard_normal(400, np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(samples, 80)[::20]
    weights, bias = rng.standard_normal((29, 80), np.float32), rng.standard_normal(29, np.float32) * 10
    exact = windows.astype(np.float64) @ weights.T.astype(np.float64) + bias
    matrix = Matrix(weights, weight_format)
    np.testing.assert_allclose(matrix.apply(windows, bias), exact, atol=tolerance * abs(exact).max())
    found = matrix.apply(windows, bias, activation=1)
    np.testing.assert_allclose(found, exact.clip(0, 20), atol=tolerance * abs(exact).max())
    assert found.min() == 0 and found.max() == 20


@pytest.mark.parametrize("weight_format", native.WEIGHTS)
def test_a_row_with_nan_has_outputs_of_nan_and_leaves_the_others_alone(weight_format):
    x = np.ones((3, 5), np.float32)
    x[1, 4] = np.nan
    y = Matrix(np.full((4, 5), 0.5, np.float32), weight_format).apply(x)
    assert np.isnan(y[1]).all()
    np.testing.assert_allclose(y[[0, 2]], 2.5, rtol=1e-4)


@pytest.mark.parametrize("weight_format", native.WEIGHTS)
def test_streams_advance_as_if_alone(weight_format):
    """Three streams of 4, 0 and 2 frames through a GRU, together and one by one."""
    rng = np.random.default_rng(0)
    H, lengths = 11, np.array([4, 0, 2], np.int32)
    matrix = Matrix(rng.standard_normal((3 * H, H), np.float32) / 3, weight_format)
    gates = [rng.standard_normal((T, 3 * H), np.float32) for T in lengths]

    def advance(streams):
        state, h = np.zeros((3, 1, H), np.float32), [np.full((T, H), np.nan, np.float32) for T in lengths]
        pointers = [np.array([array[n].ctypes.data for n in streams], np.int64) for array in (gates, state, h)]
        workspace, some = np.zeros(matrix.sizes(len(streams))[1], np.uint8), lengths[streams]
        native.load_library().ds2_rnn_advance(
            matrix.shape, GRU, matrix.packed.ctypes.data, len(streams), some.ctypes.data,
            *(p.ctypes.data for p in pointers), workspace.ctypes.data, workspace.size,
        )  # fmt: skip
        return state, h

    state, h = advance([0, 1, 2])
    for n in range(3):
        alone_state, alone = advance([n])
        assert np.array_equal(h[n], alone[n]) and np.array_equal(state[n], alone_state[n])
        assert np.array_equal(state[n, 0], h[n][-1] if lengths[n] else np.zeros(H))


def test_int8_is_the_same_on_every_instruction_set(tmp_path):
    results = []
    for isa in native.INSTRUCTION_SETS:
        file = tmp_path / f"{isa}.npy"
        env = {**os.environ, "DS2_NATIVE_ISA": isa, "PYTHONPATH": str(ROOT)}
        done = subprocess.run([sys.executable, "-c", PRODUCTS, str(file)], env=env, capture_output=True, text=True)
        if "not on this processor" not in done.stderr:
            assert done.returncode == 0, done.stderr
            results.append(np.load(file))
    assert len(results) >= 1
    assert all(np.array_equal(result, results[0]) for result in results)


def test_mistakes_are_refused():
    library, size = native.load_library(), ctypes.c_size_t()
    for shape, M, message in [
        ((3, 1, 1), 1, r"expected format = 0 \(float32\), 1 \(bfloat16\) or 2 \(int8\), got 3"),
        ((0, 0, 5), 1, "got J=0 K=5"),
        ((0, 5, 1 << 18), 1, "got J=5 K=262144"),
        ((0, 5, 5), -1, "expected M >= 0, got -1"),
    ]:
        with pytest.raises(native.NativeError, match=f"ds2_matrix_sizes: .*{message}"):
            library.ds2_matrix_sizes(native.MatrixShape(*shape), M, ctypes.byref(size), ctypes.byref(size))
    matrix, x = Matrix(np.ones((2, 3), np.float32), "int8"), np.ones((2, 3), np.float32)
    with pytest.raises(native.NativeError, match=r"expected activation = 0 \(none\) or 1"):
        matrix.apply(x, activation=2)
    with pytest.raises(native.NativeError, match=r"expected a workspace of \d+ bytes, got 10"):
        matrix.apply(x, workspace_bytes=10)
    assert matrix.apply(x[:0]).shape == (0, 2)
