"""The torch operators' calls into the CUDA library."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ds2cli import native
from ds2cli.nn.ctc import native_op
from ds2cli.nn.ctc.reference import ctc_ref

pytestmark = pytest.mark.native


def test_torch_operators_call_the_cuda_library(build_host_kernels, monkeypatch):
    # with the kernels compiled for the CPU, device memory is host memory and the stream is ignored
    library = build_host_kernels("cuda/ctc_cuda.cu", "cuda/host_shim.cpp", "status.cpp")
    monkeypatch.setenv("DS2_NATIVE_CUDA_LIB", str(library))
    monkeypatch.setattr(torch.cuda, "device", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: SimpleNamespace(cuda_stream=0))
    native.load_library.cache_clear()
    torch.manual_seed(0)
    logits, targets = torch.randn(9, 3, 5), torch.randint(1, 5, (3, 3))
    steps, sizes = torch.full((3,), 9), torch.arange(3)
    shape, device = native_op.make_ctc_shape(logits, 3, 0), torch.device("cuda")
    try:
        saved, _, workspace = (torch.empty(size, dtype=torch.uint8) for size in native_op.query_sizes(shape, device))
        costs, verdicts, dlogits = torch.empty(3), torch.empty(3, dtype=torch.int32), torch.empty_like(logits)
        arrays = [logits, *(x.int() for x in (targets, steps, sizes)), costs, verdicts, saved, workspace]
        native_op.call_library("forward", device, shape, *map(native.pointer, arrays), workspace.numel())
        arrays = [logits, saved, torch.ones(3), dlogits]
        native_op.call_library("backward", device, shape, *map(native.pointer, arrays))
    finally:
        native.load_library.cache_clear()
    expected = ctc_ref(*(x.numpy() for x in (logits, targets, steps, sizes)))
    np.testing.assert_allclose(costs, expected[0], rtol=1e-5)
    np.testing.assert_allclose(dlogits, expected[1], atol=1e-5)
    assert not verdicts.any()
