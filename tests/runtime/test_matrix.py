"""Packed matrices and their rounding."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ds2cli import native
from ds2cli.runtime.matrix import (
    MOST_KEPT_ROWS,
    MOST_STEPS,
    Matrix,
    Rows,
    from_bfloat16,
    round_weights,
    to_bfloat16,
    to_int8,
)


def test_bfloat16_is_that_of_torch():
    values = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    # ties, zeros, the smallest and the largest
    values[:6] = [0.0, -0.0, 1.00390625, 1.01171875, 1e-38, 3e38]
    expected = torch.from_numpy(values).bfloat16().float().numpy()
    np.testing.assert_array_equal(from_bfloat16(to_bfloat16(values)), expected)


def test_int8_has_a_scale_per_output():
    weights = np.array([[1.0, -127.0, 63.4], [0.0, 0.0, 0.0], [1e-6, 2e-6, -2.54e-6]], np.float32)
    integers, scale = to_int8(weights)
    assert integers.tolist() == [[1, -127, 63], [0, 0, 0], [50, 100, -127]]
    np.testing.assert_allclose(scale, [1, 0, 2e-8], rtol=1e-4)


def test_rounding_to_int8_twice_is_rounding_once():
    weights = np.random.default_rng(0).normal(size=(500, 40)).astype(np.float32)
    integers, scale = to_int8(weights)
    again, same_scale = to_int8(integers * scale[:, None])
    np.testing.assert_array_equal(again, integers)
    np.testing.assert_array_equal(same_scale, scale)


@pytest.mark.parametrize("kind", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize(("J", "K", "M"), [(1, 1, 1), (7, 5, 2), (33, 64, 9), (29, 448, 4)])
def test_native_products_are_those_of_numpy(kind, J, K, M, monkeypatch):
    if not native.available():
        pytest.skip(native.unavailable_reason())
    rng = np.random.default_rng(J)
    weights, bias, x = (rng.normal(size=size).astype(np.float32) for size in ((J, K), J, (M, K)))
    blocks = [Rows(x, 1, K), Rows(x[1:], M - 1, K)]
    found = Matrix(weights, bias, kind).apply(blocks, relu=True)
    monkeypatch.setattr(native, "available", lambda *_: False)
    plain = Matrix(weights, bias, kind).apply(blocks, relu=True)
    expected = np.clip(x.astype(np.float64) @ round_weights(weights, kind).T + bias, 0, 20)
    np.testing.assert_allclose(plain, expected, rtol=1e-5, atol=1e-5 * K**0.5)
    # int8 products also round the activations, to 13 bits or more
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=(1e-3 if kind == "int8" else 1e-5) * K**0.5)


def test_rows_may_overlap_and_be_none():
    weights = np.arange(12, dtype=np.float32).reshape(2, 6)
    samples = np.arange(10, dtype=np.float32)
    rows = Rows(samples, 3, 2)
    matrix = Matrix(weights, None, "float32")
    expected = np.lib.stride_tricks.sliding_window_view(samples, 6)[::2] @ weights.T
    np.testing.assert_array_equal(matrix.apply([rows]), expected)
    np.testing.assert_array_equal(matrix.apply([rows, Rows(samples, 0, 2), rows]), np.tile(expected, (2, 1)))
    assert matrix.apply([Rows(samples, 0, 2)]).shape == (0, 2)


def test_what_is_kept_of_the_numbers_of_rows_is_bounded():
    if not native.available():
        pytest.skip(native.unavailable_reason())
    matrix, rng = Matrix(np.ones((3, 2), np.float32), None, "float32"), np.random.default_rng(0)
    for length in (*range(1, 200), MOST_KEPT_ROWS, MOST_KEPT_ROWS + 1, 100_000):
        x = rng.normal(size=(length, 2)).astype(np.float32)
        found = matrix.apply([Rows(x, length, 2)])
        np.testing.assert_allclose(found, np.repeat(x.sum(axis=1, keepdims=True), 3, 1), rtol=1e-5, atol=1e-6)
    assert len(matrix._steps) <= MOST_STEPS
    assert sum(steps.nbytes for steps in matrix._steps.values()) <= 8 * MOST_STEPS * MOST_KEPT_ROWS
    assert (100_000, 2) not in matrix._steps
