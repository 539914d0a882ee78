"""The CTC loss, native or by torch (Graves et al. 2006; Deep Speech 2, eq. 9).

T steps, N utterances, V symbols, L labels.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from ds2cli import native
from ds2cli.nn.ctc import native_op
from ds2cli.nn.ctc.torch_loss import ctc_torch
from ds2cli.nn.ctc.verdict import Verdict

__all__ = ["CtcCosts", "Verdict", "ctc", "ctc_loss"]

Implementation = Literal["native", "torch"]


class CtcCosts(NamedTuple):
    """CTC costs and outcomes of a batch.

    costs: (N,) negative log-probabilities in nats, float32 (float64 for float64 logits).
    verdicts: (N,) int32, values of `Verdict`.
    """

    costs: Tensor
    verdicts: Tensor


def ctc_loss(
    logits: Tensor,
    targets: Tensor,
    input_lengths: Tensor,
    target_lengths: Tensor,
    blank: int = 0,
    reduction: Literal["none", "sum", "mean"] = "mean",
    zero_infinity: bool = False,
    batch_first: bool = False,
    implementation: Implementation = "native",
) -> Tensor:
    """The costs of `ctc` reduced to a loss.

    Returns (N,) for "none", the sum for "sum", the mean over utterances of cost / max(labels, 1) for "mean".
    zero_infinity: count infinite costs as zero; their gradient is zero in any case.
    """
    costs = ctc(logits, targets, input_lengths, target_lengths, blank, batch_first, implementation).costs
    if zero_infinity:
        costs = costs.masked_fill(costs.isinf(), 0)
    if reduction == "none":
        return costs
    if reduction == "sum":
        return costs.sum()
    if reduction != "mean":
        raise ValueError(f"ctc: expected reduction none, sum or mean, got {reduction!r}")
    return (costs / target_lengths.to(costs.device, non_blocking=True).clamp_min(1)).mean()


def ctc(
    logits: Tensor,
    targets: Tensor,
    input_lengths: Tensor,
    target_lengths: Tensor,
    blank: int = 0,
    batch_first: bool = False,
    implementation: Implementation = "native",
) -> CtcCosts:
    """Negative log-probability of each label, summed over all alignments, with a verdict per utterance.

    logits: (T, N, V) unnormalized, or (N, T, V) with `batch_first`; strided layouts are read without a copy.
    targets: (N, L) integers, ignored past the length of a row.  input_lengths, target_lengths: (N,) integers.
    Raises ValueError when the shapes do not fit. An invalid utterance affects no other: its cost is infinite where no
    alignment is possible, NaN where its logits, labels or lengths are invalid, and its gradient is exactly zero.

    float32 and bfloat16 run in the native library of their device (float16 as float32), on the CPU with
    torch.get_num_threads() threads; results depend neither on their number nor on the rest of the batch. Other dtypes
    and devices, and installations without the library, use torch's loss. Second derivatives and torch.func.grad are
    not supported.
    """
    if batch_first:
        logits = logits.transpose(0, 1)
    check_shapes(logits, targets, input_lengths, target_lengths, blank)
    if logits.dtype == torch.float16:
        logits = logits.float()
    native_dtype = logits.dtype in native_op.PRECISIONS
    if implementation != "native" or not native_dtype or not is_native_available(logits.device.type):
        wide = logits if logits.dtype == torch.float64 else logits.float()
        return CtcCosts(*ctc_torch(wide, targets, input_lengths, target_lengths, blank))
    if not native_op.has_native_layout(logits):
        logits = logits.contiguous()
    save = torch.is_grad_enabled() and logits.requires_grad
    costs, verdicts, _ = native_op.ctc(logits, targets, input_lengths, target_lengths, blank, save)
    return CtcCosts(costs, verdicts)


def check_shapes(logits: Tensor, targets: Tensor, input_lengths: Tensor, target_lengths: Tensor, blank: int) -> None:
    """Raise ValueError unless the shapes fit and, where the logits have data, so do targets and lengths."""
    N, V = logits.shape[1:] if logits.dim() == 3 else (-1, 0)
    lengths = (N,)
    if targets.dim() != 2 or not (len(targets), *input_lengths.shape, *target_lengths.shape) == lengths * 3:
        raise ValueError(
            "ctc: shapes do not fit: expected logits (T, N, V), targets (N, L), lengths (N,) and (N,), got "
            f"{', '.join(str(tuple(x.shape)) for x in (logits, targets, input_lengths, target_lengths))}"
        )
    if not 0 <= blank < V:
        raise ValueError(f"ctc: expected a blank below {V} (the number of symbols), got {blank}")
    others = targets, input_lengths, target_lengths
    # torch would call the fake operator, whose costs are uninitialized memory
    if logits.device.type != "meta" and any(x.device.type == "meta" for x in others):
        raise ValueError(f"ctc: targets or lengths are on the meta device (no data) but the logits on {logits.device}")


def is_native_available(device: str) -> bool:
    """Whether a native library can be used for tensors on `device`."""
    return native.available(device)


# what torch.compiler.assume_constant_result does, which loads the compiler: two seconds
is_native_available._dynamo_marked_constant = True  # type: ignore[attr-defined]
