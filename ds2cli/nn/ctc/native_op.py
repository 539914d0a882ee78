"""CTC of the native library as torch operators, opaque to autograd, torch.compile and autocast.

T steps, N utterances, V symbols, L labels. The contract is in native/include/ds2_native.h.
"""

from __future__ import annotations

import ctypes as c
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ds2cli import native

PRECISIONS = {torch.float32: 0, torch.bfloat16: 1}
"""The dtypes that the library reads, and its codes for them."""

DEVICES = ("cpu", "cuda")


def _operator(function: Callable[..., Any]) -> Callable[..., Any]:
    """Register a function as a torch operator.

    torch.library.custom_op loads torch's compiler at the first call, which takes two seconds.
    """
    name = f"ds2cli::{function.__name__}"
    schema = torch.library.infer_schema(function, mutates_args=())
    torch.library.define(name, schema, tags=torch.Tag.pt2_compliant_tag)
    torch.library.impl(name, DEVICES, function)
    return getattr(torch.ops.ds2cli, function.__name__).default  # type: ignore[no-any-return]


@_operator
def ctc(
    logits: Tensor, targets: Tensor, input_lengths: Tensor, target_lengths: Tensor, blank: int, save: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Costs, verdicts and the buffer for the gradient, which is empty unless `save`.

    logits: (T, N, V) float32 or bfloat16, in a layout that `has_native_layout` accepts. targets: (N, L) integers.
    input_lengths, target_lengths: (N,) integers. Returns (N,) float32, (N,) int32 and (bytes,) uint8.
    ValueError when the shapes do not fit.
    """
    rows = logits.shape[1:2]
    others_fit = targets.dim() == 2 and rows == targets.shape[:1] == input_lengths.shape == target_lengths.shape
    check_arguments(logits, others_fit)
    (T, N, V), L, device = logits.shape, targets.shape[1], logits.device
    shape = make_ctc_shape(logits, L, blank)
    saved_bytes, cost_bytes, forward_bytes = query_sizes(shape, device)
    saved = torch.empty(saved_bytes if save else 0, dtype=torch.uint8, device=device)
    workspace = torch.empty(forward_bytes if save else cost_bytes, dtype=torch.uint8, device=device)
    costs = torch.empty(N, dtype=torch.float32, device=device)
    verdicts = torch.empty(N, dtype=torch.int32, device=device)
    labels, steps, counts = (
        to_int32(x, limit, device) for x, limit in ((targets, V), (input_lengths, T), (target_lengths, L))
    )
    arrays = (logits, labels, steps, counts, costs, verdicts, saved if save else None, workspace)
    call_library("forward", device, shape, *map(native.pointer, arrays), workspace.numel())
    return costs, verdicts, saved


@_operator
def ctc_backward(logits: Tensor, saved: Tensor, dcosts: Tensor, labels: int, blank: int) -> Tensor:
    """The gradient of the logits, with their strides and dtype. dcosts: (N,); labels: the width L of the targets.

    saved: the buffer that `ctc` returned for these logits, not checked. ValueError when the shapes do not fit.
    """
    check_arguments(logits, logits.shape[1:2] == dcosts.shape)
    dlogits = torch.empty_strided(logits.shape, logits.stride(), dtype=logits.dtype, device=logits.device)
    arrays = (logits, saved, dcosts.float().contiguous(), dlogits)
    call_library("backward", logits.device, make_ctc_shape(logits, labels, blank), *map(native.pointer, arrays))
    return dlogits


@torch.library.register_fake("ds2cli::ctc")  # type: ignore[untyped-decorator]
def _(
    logits: Tensor, targets: Tensor, input_lengths: Tensor, target_lengths: Tensor, blank: int, save: bool
) -> tuple[Tensor, Tensor, Tensor]:
    N, L = targets.shape
    numbers = (*logits.shape, *logits.stride(), L)
    saved_bytes: int | torch.SymInt = 0
    if save and all(type(number) is int for number in numbers):
        saved_bytes = query_sizes(make_ctc_shape(logits, L, blank), logits.device)[0]
    elif save:
        saved_bytes = torch.library.get_ctx().new_dynamic_size()
    saved = logits.new_empty(saved_bytes, dtype=torch.uint8)
    return logits.new_empty(N, dtype=torch.float32), logits.new_empty(N, dtype=torch.int32), saved


@torch.library.register_fake("ds2cli::ctc_backward")  # type: ignore[untyped-decorator]
def _(logits: Tensor, saved: Tensor, dcosts: Tensor, labels: int, blank: int) -> Tensor:
    return torch.empty_strided(logits.shape, logits.stride(), dtype=logits.dtype, device=logits.device)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    logits, targets, _, _, ctx.blank, _ = inputs
    ctx.labels = targets.shape[1]
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(logits, output[2])


def _backward(ctx: Any, dcosts: Tensor | None, *_: Tensor | None) -> tuple[Tensor | None, ...]:
    logits, saved = ctx.saved_tensors
    dlogits = None if dcosts is None else ctc_backward(logits, saved, dcosts, ctx.labels, ctx.blank)
    return dlogits, None, None, None, None, None


def _refuse(*_: Any) -> None:
    raise RuntimeError("ds2cli::ctc_backward: the CTC loss has no second derivative")


torch.library.register_autograd("ds2cli::ctc", _backward, setup_context=_setup_context)
torch.library.register_autograd("ds2cli::ctc_backward", _refuse)


def check_arguments(logits: Tensor, others_fit: bool) -> None:
    """Raise ValueError unless the library can read the logits and the other arrays have N rows (`others_fit`)."""
    if logits.dim() != 3 or logits.dtype not in PRECISIONS or not others_fit or not has_native_layout(logits):
        raise ValueError(
            "ctc: expected logits (T, N, V) float32 or bfloat16 in a native layout and N rows in every other array, "
            f"got logits {tuple(logits.shape)} {logits.dtype} with strides {logits.stride()}"
        )


def has_native_layout(logits: Tensor) -> bool:
    """Whether the library can read logits (T, N, V) without a copy: contiguous symbols, rows that do not overlap."""
    (T, N, V), (t, n) = logits.shape, compute_row_strides(logits)
    near, far, size = (t, n, T) if t < n else (n, t, N)
    return (V <= 1 or logits.stride(2) == 1) and near >= V and far >= near * (size - 1) + V


def compute_row_strides(logits: Tensor) -> tuple[int, int]:
    """Elements between steps and between utterances; for a dimension of size 1 any valid stride."""
    (T, N, V), (t, n, _) = logits.shape, logits.stride()
    if T <= 1:
        return max(n, V) * max(N, 1), n if N > 1 else V
    return t, n if N > 1 else max(t, V) * T


def make_ctc_shape(logits: Tensor, labels: int, blank: int) -> native.CtcShape:
    """The shape of a batch as the library takes it."""
    T, N, V = logits.shape
    return native.CtcShape(T, N, V, labels, blank, PRECISIONS[logits.dtype], *compute_row_strides(logits))


def query_sizes(shape: native.CtcShape, device: torch.device) -> list[int]:
    """Bytes of the buffer saved for backward, and of the forward workspace without and with saving."""
    out = [c.c_size_t() for _ in range(3)]
    references = map(c.byref, out)
    if device.type == "cuda":
        native.load_library("cuda").ds2_ctc_cuda_sizes(c.byref(shape), *references)
    else:
        native.load_library().ds2_ctc_sizes(c.byref(shape), torch.get_num_threads(), *references)
    return [size.value for size in out]


def call_library(name: str, device: torch.device, shape: native.CtcShape, *arguments: int | None) -> None:
    """Run `ds2_ctc_<name>` on torch's threads, or queue its CUDA form on the device's current stream."""
    if device.type == "cpu":
        getattr(native.load_library(), f"ds2_ctc_{name}")(c.byref(shape), *arguments, torch.get_num_threads())
        return
    with torch.cuda.device(device):
        stream = torch.cuda.current_stream().cuda_stream
        getattr(native.load_library("cuda"), f"ds2_ctc_cuda_{name}")(c.byref(shape), *arguments, stream)


def to_int32(x: Tensor, limit: int, device: torch.device) -> Tensor:
    """Convert integers to int32; values out of its range stay invalid: below 0 or above `limit`."""
    if x.dtype != torch.int32:
        x = x.long().clamp(-1, limit + 1)
    return x.to(device, torch.int32, non_blocking=True).contiguous()
