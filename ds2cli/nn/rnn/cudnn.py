"""A recurrent layer as one call of torch's fused kernel (cuDNN on a GPU), with its batch norm folded into the weights.

The kernel computes the input projection itself, so the normalized projection B(Wx) must be given as a matrix and a
bias. With μ and C the mean and covariance of x over the valid frames, row j of Wx has mean (Wμ)_j and variance
w_j C w_j; hence W' = diag(γ/σ) W and b' = β - (γ/σ) Wμ, with gradients through both.
M rows, G gates, H units, D directions.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from ds2cli.nn.norm import SequenceNorm
from ds2cli.nn.rnn.cells import Cell

DEVICES = ("cuda",)
"""Devices on which layers run fused; on the CPU, where a test does so too, the native library is faster."""


def can_run_fused(cell: Cell, norm: nn.Module, x: Tensor) -> bool:
    """Whether a layer can run fused: on a GPU, torch has the cell, and the norm spans this process only."""
    local_norm = not isinstance(norm, SequenceNorm) or not norm.training or norm.group is None or norm.group.size == 1
    return x.device.type in DEVICES and cell.fused is not None and local_norm


def fold_norm(project: nn.Linear, norm: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """The matrix (GH, inputs) and bias (GH,) that map x (M, inputs) to norm(project(x)), in float32.

    In training the norm uses the statistics of x, and its running averages are updated as when it is called.
    """
    weight = project.weight
    if not isinstance(norm, SequenceNorm):
        return weight, project.bias
    assert norm.running_mean is not None and norm.running_var is not None and norm.num_batches_tracked is not None
    mean, var = norm.running_mean, norm.running_var
    with torch.autocast(x.device.type, enabled=False):
        if norm.training:
            rows = len(x)
            x = x.to(weight.dtype)
            x_mean = x.mean(0)
            centered = x - x_mean
            mean = weight @ x_mean
            var = (weight @ (centered.T @ centered / rows) * weight).sum(1)
            with torch.no_grad():
                norm.running_mean.lerp_(mean, norm.momentum or 0.0)
                norm.running_var.lerp_(var * (rows / max(rows - 1, 1)), norm.momentum or 0.0)
                norm.num_batches_tracked += 1
        scale = norm.weight / (var + norm.eps).sqrt()
        return scale[:, None] * weight, norm.bias - scale * mean


def run_fused(cell: Cell, x: Tensor, weight: Tensor, bias: Tensor, recurrent: Tensor, active: Tensor) -> Tensor:
    """Hidden states (M, H), summed over the directions.

    x: (M, inputs), packed: for each frame in turn, the utterances that reach it, longest first. weight: (GH, inputs),
    bias: (GH,), shared by the directions. recurrent: (D, GH, H). active: (T,) int64 on the CPU, rows per frame.
    """
    D, _, H = recurrent.shape
    state = x.new_zeros(cell.states, D, int(active[0]), H)
    out = _run(cell, x, weight, bias, recurrent, active, state)[0]
    return out.view(len(x), D, H).sum(1)


def advance_fused(
    cell: Cell, x: Tensor, weight: Tensor, bias: Tensor, recurrent: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """`recurrence.rnn_advance` with the input projection: x (T, N, inputs), recurrent (1, GH, H), state (states, N, H).

    Returns h (T, N, H) and the state after the last frame.
    """
    T, N, _ = x.shape
    out, *end = _run(cell, x.flatten(0, 1), weight, bias, recurrent, torch.full((T,), N), state.unsqueeze(1))
    return out.view(T, N, -1), torch.cat(end).to(state.dtype)


def _run(
    cell: Cell, x: Tensor, weight: Tensor, bias: Tensor, recurrent: Tensor, active: Tensor, state: Tensor
) -> tuple[Tensor, ...]:
    """Hidden states (M, DH), then each state (D, N, H) after the last frame. state: (states, D, N, H)."""
    no_bias = torch.zeros_like(bias)
    parameters = [p for matrix in recurrent for p in (weight, matrix, bias, no_bias)]
    state = state.to(x.dtype)
    start = tuple(state) if cell.states == 2 else state[0]
    with warnings.catch_warnings():
        # the weights are recomputed in every step, so they cannot be in cuDNN's contiguous buffer
        warnings.filterwarnings("ignore", message="RNN module weights are not part of single contiguous chunk")
        kernel = getattr(torch, cell.fused or "")
        bidirectional = len(recurrent) == 2
        return kernel(x, active, start, parameters, True, 1, 0.0, torch.is_grad_enabled(), bidirectional)  # type: ignore[no-any-return]
