"""Columns of emissions with few and many symbols."""

from __future__ import annotations

import numpy as np
import pytest

from ds2cli.kernels.columns import WIDE, select_columns, select_columns_ref


@pytest.mark.parametrize("V", [1, 16, 29, WIDE, WIDE + 1, 1000])
@pytest.mark.parametrize("T", [0, 1, 7])
def test_kernel_equals_the_reference(T, V):
    rng = np.random.default_rng(V)
    log_probs = rng.normal(size=(T, V)).astype(np.float32)
    log_probs[rng.random((T, V)) < 0.1] = -np.inf
    columns = np.concatenate([[0, V - 1], rng.integers(0, V, 5)]).astype(np.int32)
    selected = np.full((T, 7), np.nan, np.float32)
    select_columns(log_probs, columns, selected, np.empty(1, np.float32))
    np.testing.assert_array_equal(selected, select_columns_ref(log_probs, columns))
