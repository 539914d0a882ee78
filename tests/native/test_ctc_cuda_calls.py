"""The calls that torch's operators make to the CUDA library."""

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


def test_the_calls_for_cuda_are_those_of_its_library(kernels_for_the_processor, monkeypatch):
    # the kernels compiled for the processor: their memory is its own, and a stream is no matter
    library = kernels_for_the_processor("cuda/ctc_cuda.cu", "cuda/host_shim.cpp", "status.cpp")
    monkeypatch.setenv("DS2_NATIVE_CUDA_LIB", str(library))
    monkeypatch.setattr(torch.cuda, "device", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: SimpleNamespace(cuda_stream=0))
    native.load.cache_clear()
    torch.manual_seed(0)
    logits, targets = torch.randn(9, 3, 5), torch.randint(1, 5, (3, 3))
    steps, sizes = torch.full((3,), 9), torch.arange(3)
    shape, device = native_op.shape_of(logits, 3, 0), torch.device("cuda")
    try:
        saved, _, workspace = (torch.empty(size, dtype=torch.uint8) for size in native_op.sizes(shape, device))
        costs, verdicts, dlogits = torch.empty(3), torch.empty(3, dtype=torch.int32), torch.empty_like(logits)
        arrays = [logits, *(x.int() for x in (targets, steps, sizes)), costs, verdicts, saved, workspace]
        native_op.call("forward", device, shape, *map(native_op.address, arrays), workspace.numel())
        arrays = [logits, saved, torch.ones(3), dlogits]
        native_op.call("backward", device, shape, *map(native_op.address, arrays))
    finally:
        native.load.cache_clear()
    right = ctc_ref(*(x.numpy() for x in (logits, targets, steps, sizes)))
    np.testing.assert_allclose(costs, right[0], rtol=1e-5)
    np.testing.assert_allclose(dlogits, right[1], atol=1e-5)
    assert not verdicts.any()
