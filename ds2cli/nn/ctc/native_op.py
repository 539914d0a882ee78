"""CTC in the native library as operators of torch: autograd, torch.compile and autocast see one call.

T steps, N utterances, V symbols, L labels. native/include/ds2_native.h has the contract.
"""

from __future__ import annotations

import ctypes as c
from typing import Any

import torch
from torch import Tensor

from ds2cli import native

PRECISIONS = {torch.float32: 0, torch.bfloat16: 1}
"""What the library reads, and its numbers for it."""

DEVICES = ("cpu", "cuda")


@torch.library.custom_op("ds2cli::ctc", mutates_args=(), device_types=DEVICES)
def ctc(
    logits: Tensor, targets: Tensor, input_lengths: Tensor, target_lengths: Tensor, blank: int, save: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Costs, verdicts and what the gradient needs; the last is empty unless `save`.

    logits: (T, N, V) float32 or bfloat16, laid out as `suits` says. targets: (N, L) integers.
    input_lengths, target_lengths: (N,) integers. Returns (N,) float32, (N,) int32 and bytes.
    ValueError when the shapes do not fit.
    """
    rows = logits.shape[1:2]
    check(logits, targets.dim() == 2 and rows == targets.shape[:1] == input_lengths.shape == target_lengths.shape)
    (T, N, V), L, device = logits.shape, targets.shape[1], logits.device
    shape = shape_of(logits, L, blank)
    saved_bytes, cost_bytes, forward_bytes = sizes(shape, device)
    saved = torch.empty(saved_bytes if save else 0, dtype=torch.uint8, device=device)
    workspace = torch.empty(forward_bytes if save else cost_bytes, dtype=torch.uint8, device=device)
    costs = torch.empty(N, dtype=torch.float32, device=device)
    verdicts = torch.empty(N, dtype=torch.int32, device=device)
    labels, steps, counts = (
        narrow(x, most, device) for x, most in ((targets, V), (input_lengths, T), (target_lengths, L))
    )
    arrays = (logits, labels, steps, counts, costs, verdicts, saved if save else None, workspace)
    call("forward", device, shape, *map(address, arrays), workspace.numel())
    return costs, verdicts, saved


@torch.library.custom_op("ds2cli::ctc_backward", mutates_args=(), device_types=DEVICES)
def ctc_backward(logits: Tensor, saved: Tensor, dcosts: Tensor, labels: int, blank: int) -> Tensor:
    """The gradient of the logits, of their strides and type. dcosts: (N,); labels: the width L of the targets.

    saved: what `ctc` returned for these logits, not looked at. ValueError when the shapes do not fit.
    """
    check(logits, logits.shape[1:2] == dcosts.shape)
    dlogits = torch.empty_strided(logits.shape, logits.stride(), dtype=logits.dtype, device=logits.device)
    arrays = (logits, saved, dcosts.float().contiguous(), dlogits)
    call("backward", logits.device, shape_of(logits, labels, blank), *map(address, arrays))
    return dlogits


@ctc.register_fake
def _(
    logits: Tensor, targets: Tensor, input_lengths: Tensor, target_lengths: Tensor, blank: int, save: bool
) -> tuple[Tensor, Tensor, Tensor]:
    N, L = targets.shape
    numbers = (*logits.shape, *logits.stride(), L)
    saved_bytes: int | torch.SymInt = 0
    if save and all(type(number) is int for number in numbers):
        saved_bytes = sizes(shape_of(logits, L, blank), logits.device)[0]
    elif save:
        saved_bytes = torch.library.get_ctx().new_dynamic_size()
    saved = logits.new_empty(saved_bytes, dtype=torch.uint8)
    return logits.new_empty(N, dtype=torch.float32), logits.new_empty(N, dtype=torch.int32), saved


@ctc_backward.register_fake
def _(logits: Tensor, saved: Tensor, dcosts: Tensor, labels: int, blank: int) -> Tensor:
    return torch.empty_strided(logits.shape, logits.stride(), dtype=logits.dtype, device=logits.device)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    logits, targets, _, _, ctx.blank, _ = inputs
    ctx.labels = targets.shape[1]
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(logits, output[2])


def _backward(ctx: Any, dcosts: Tensor | None, *_: Tensor | None) -> tuple[Tensor | None, ...]:
    logits, saved = ctx.saved_tensors
    dlogits = None if dcosts is None else ctc_backward(logits, saved, dcosts, ctx.labels, ctx.blank)
    return dlogits, None, None, None, None, None


ctc.register_autograd(_backward, setup_context=_setup)


def check(logits: Tensor, others_fit: bool) -> None:
    """ValueError unless the library can read the logits, and as much of the other arrays as it will."""
    if logits.dim() != 3 or logits.dtype not in PRECISIONS or not others_fit or not suits(logits):
        raise ValueError(
            "ctc: the operator takes logits (T, N, V) float32 or bfloat16 as `suits` says and N rows of all else, got "
            f"{tuple(logits.shape)} {logits.dtype} of strides {logits.stride()}"
        )


def suits(logits: Tensor) -> bool:
    """Whether the library can read logits (T, N, V) where they lie: symbols side by side, rows that do not overlap."""
    (T, N, V), (t, n) = logits.shape, row_strides(logits)
    near, far, size = (t, n, T) if t < n else (n, t, N)
    return (V <= 1 or logits.stride(2) == 1) and near >= V and far >= near * (size - 1) + V


def row_strides(logits: Tensor) -> tuple[int, int]:
    """From a step to the next and from an utterance to the next, in elements; where there is but one, what fits."""
    (T, N, V), (t, n, _) = logits.shape, logits.stride()
    if T <= 1:
        return max(n, V) * max(N, 1), n if N > 1 else V
    return t, n if N > 1 else max(t, V) * T


def shape_of(logits: Tensor, labels: int, blank: int) -> native.CtcShape:
    """The library's description of a batch."""
    T, N, V = logits.shape
    return native.CtcShape(T, N, V, labels, blank, PRECISIONS[logits.dtype], *row_strides(logits))


def sizes(shape: native.CtcShape, device: torch.device) -> list[int]:
    """Bytes of what forward saves, and of its workspace without and with that."""
    out = [c.c_size_t() for _ in range(3)]
    references = map(c.byref, out)
    if device.type == "cuda":
        native.load("cuda").ds2_ctc_cuda_sizes(c.byref(shape), *references)
    else:
        native.load().ds2_ctc_sizes(c.byref(shape), torch.get_num_threads(), *references)
    return [size.value for size in out]


def call(name: str, device: torch.device, shape: native.CtcShape, *arguments: int | None) -> None:
    """Run `ds2_ctc_<name>` on torch's threads, or queue its CUDA form on the device's current stream."""
    if device.type == "cpu":
        getattr(native.load(), f"ds2_ctc_{name}")(c.byref(shape), *arguments, torch.get_num_threads())
        return
    with torch.cuda.device(device):
        stream = torch.cuda.current_stream().cuda_stream
        getattr(native.load("cuda"), f"ds2_ctc_cuda_{name}")(c.byref(shape), *arguments, stream)


def narrow(x: Tensor, most: int, device: torch.device) -> Tensor:
    """Integers as the library reads them; what an int32 cannot hold stays wrong, below 0 or above `most`."""
    if x.dtype != torch.int32:
        x = x.long().clamp(-1, most + 1)
    return x.to(device, torch.int32, non_blocking=True).contiguous()


def address(tensor: Tensor | None) -> int | None:
    """Where the tensor's first element is."""
    return None if tensor is None else tensor.data_ptr()
