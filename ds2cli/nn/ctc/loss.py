"""The CTC loss behind one call (Graves et al. 2006; Deep Speech 2, eq. 9).

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
    """costs: (N,) nats, float32 unless the logits are float64.  verdicts: (N,) int32, see `Verdict`."""

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
    """The cost of `ctc` as a loss.

    Returns (N,) for "none", their sum, or for "mean" the mean over utterances of cost / max(labels, 1).
    zero_infinity: an infinite cost counts as zero; its gradient is zero in any case.
    """
    costs = ctc(logits, targets, input_lengths, target_lengths, blank, batch_first, implementation).costs
    if zero_infinity:
        costs = costs.masked_fill(costs.isinf(), 0)
    if reduction == "none":
        return costs
    if reduction == "sum":
        return costs.sum()
    if reduction != "mean":
        raise ValueError(f"ctc: expected the reduction none, sum or mean, got {reduction!r}")
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
    """Negative log-probability of each label, summed over its alignments, and what became of each utterance.

    logits: (T, N, V) raw scores, or (N, T, V) with `batch_first`; normalised here, read where they lie.
    targets: (N, L) integers, what lies past a row's length is ignored.  input_lengths, target_lengths: (N,) integers.
    Raises ValueError when the shapes do not fit. What is wrong with one utterance costs that one only: infinity where
    no alignment can spell its label, NaN where its logits, labels or lengths make no sense, gradients exactly zero.

    float32 and bfloat16 run in the native library of their device (float16 as float32), on the CPU on
    torch.get_num_threads() threads; a result depends neither on their number nor on the other rows of the batch.
    Everything else, and everything where the library is missing, takes torch's loss. Gradients of gradients: none.
    torch.func.grad and its kin: not supported.
    """
    if batch_first:
        logits = logits.transpose(0, 1)
    check(logits, targets, input_lengths, target_lengths, blank)
    if logits.dtype == torch.float16:
        logits = logits.float()
    if implementation != "native" or logits.dtype not in native_op.PRECISIONS or not has_library(logits.device.type):
        wide = logits if logits.dtype == torch.float64 else logits.float()
        return CtcCosts(*ctc_torch(wide, targets, input_lengths, target_lengths, blank))
    if not native_op.suits(logits):
        logits = logits.contiguous()
    save = torch.is_grad_enabled() and logits.requires_grad
    costs, verdicts, _ = native_op.ctc(logits, targets, input_lengths, target_lengths, blank, save)
    return CtcCosts(costs, verdicts)


def check(logits: Tensor, targets: Tensor, input_lengths: Tensor, target_lengths: Tensor, blank: int) -> None:
    """Raise ValueError unless the shapes fit, and the tensors that belong to logits with data have data."""
    N, V = logits.shape[1:] if logits.dim() == 3 else (-1, 0)
    lengths = (N,)
    if targets.dim() != 2 or not (len(targets), *input_lengths.shape, *target_lengths.shape) == lengths * 3:
        raise ValueError(
            f"ctc: logits (T, N, V), targets (N, L) and two times N lengths do not fit: {tuple(logits.shape)}, "
            f"{tuple(targets.shape)}, {tuple(input_lengths.shape)} and {tuple(target_lengths.shape)}"
        )
    if not 0 <= blank < V:
        raise ValueError(f"ctc: the blank is one of the {V} symbols, got {blank}")
    others = targets, input_lengths, target_lengths
    # torch would take the operator that makes up shapes, and its costs are whatever lay in memory
    if logits.device.type != "meta" and any(x.device.type == "meta" for x in others):
        raise ValueError(f"ctc: targets or lengths on the meta device have no data, the logits are on {logits.device}")


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def has_library(device: str) -> bool:
    """Whether there is a native library for tensors on `device`."""
    return native.available(device)
