"""Sequence-wise batch norm (paper §3.2, eq. 8): statistics over all valid frames of a batch. M frames, C channels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ds2cli.nn.distributed.process_group import ProcessGroup


class SequenceNorm(nn.BatchNorm1d):
    """torch's batch norm over packed frames; in training with a process group, over the frames of all processes."""

    group: ProcessGroup | None = None

    def forward(self, x: Tensor) -> Tensor:
        """x: (M, C). With a group M may be 0: every process must take part in the all-reduce."""
        if not self.training or self.group is None or self.group.size == 1:
            return super().forward(x)
        y, mean, variance, count = _SyncBatchNorm.apply(x, self.weight, self.bias, self.eps, self.group)  # type: ignore[no-untyped-call]
        with torch.no_grad():
            share = self.momentum or 0.1
            self.running_mean.lerp_(mean, share)  # type: ignore[union-attr, operator]
            self.running_var.lerp_(variance * (count / (count - 1).clamp_min(1)), share)  # type: ignore[union-attr, operator]
            self.num_batches_tracked.add_(1)  # type: ignore[union-attr, operator]
        return y  # type: ignore[no-any-return]


def has_batch_norm(model: nn.Module) -> bool:
    """Whether a model has batch norms, which need at least two output steps in training."""
    return any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules())


def synchronize_norms(model: nn.Module, group: ProcessGroup) -> None:
    """Let the norms of a model compute their statistics over all processes of the group."""
    for module in model.modules():
        if isinstance(module, SequenceNorm):
            module.group = group


def synchronized_norms(model: nn.Module) -> list[SequenceNorm]:
    """The norms of a model whose statistics span several processes, in the order in which it calls them."""
    norms = [m for m in model.modules() if isinstance(m, SequenceNorm)]
    return [norm for norm in norms if norm.group is not None and norm.group.size > 1]


class _SyncBatchNorm(torch.autograd.Function):
    """Normalize by the mean and variance over the frames of all processes."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, group: ProcessGroup
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        wide = x.double()
        sums = group.all_reduce(torch.cat([wide.sum(0), wide.square().sum(0), wide.new_tensor([len(x)])]))
        total, squares = sums[:-1].chunk(2)
        count = sums[-1].clamp_min(1)
        mean = total / count
        variance = (squares / count - mean.square()).clamp_min(0)
        scale = (variance + eps).rsqrt().to(weight.dtype)
        normal = (x - mean.to(weight.dtype)) * scale
        ctx.save_for_backward(normal, weight, scale, count)
        ctx.group = group
        ctx.mark_non_differentiable(mean := mean.to(weight.dtype), variance := variance.to(weight.dtype), count)
        return torch.addcmul(bias, normal, weight), mean, variance, count

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, dy: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        normal, weight, scale, count = ctx.saved_tensors
        dbias, dweight = dy.sum(0), (dy * normal).sum(0)
        mean_dy, mean_dot = (ctx.group.all_reduce(torch.cat([dbias, dweight])) / count).to(dy.dtype).chunk(2)
        dx = (dy - mean_dy - normal * mean_dot) * (weight * scale)
        return dx, dweight, dbias, None, None
