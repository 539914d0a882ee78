"""The recurrence of a simple cell with few torch calls per frame, where autograd would make a dozen.

torch has no fused kernel with a clipped ReLU. Here a frame takes a matrix product and the nonlinearity, forward and
backward, and the gradient of the weights is one product over all frames.

T frames, N utterances sorted longest first, H hidden units, D directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ds2cli.nn.rnn.cells import CLIP


def rnn_simple(x: Tensor, recurrent: Tensor, active: Sequence[int], clipped: bool) -> Tensor:
    """h_t = f(x_t + U h_{t-1}) (paper eq. 3), f the clipped ReLU or tanh.

    x: (T, D, N, H) projections. recurrent: (D, H, H). active: valid rows per frame, not increasing.
    Each direction runs forward over t, so x of the backward direction must be reversed.
    Returns (T, D, N, H), zero past the end of a row. Under torch.autocast products and states have its dtype.
    """
    device = x.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
    active = [rows for rows in active if rows]
    with torch.autocast(device, enabled=False):  # otherwise every frame would cast the weights again
        h = SimpleRecurrence.apply(x.to(dtype), recurrent.to(dtype), active, clipped)  # type: ignore[no-untyped-call]
    return h.to(x.dtype)  # type: ignore[no-any-return]


class SimpleRecurrence(torch.autograd.Function):
    """`rnn_simple` as a differentiable function."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, recurrent: Tensor, active: Sequence[int], clipped: bool) -> Tensor:
        """See `rnn_simple`."""
        h, transposed = torch.zeros_like(x), recurrent.mT
        for t, rows in enumerate(active):
            total = x[t, :, :rows] if t == 0 else torch.baddbmm(x[t, :, :rows], h[t - 1, :, :rows], transposed)
            h[t, :, :rows] = total.clamp(0.0, CLIP) if clipped else total.tanh()
        ctx.save_for_backward(recurrent, h)
        ctx.active, ctx.clipped = active, clipped
        return h

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, dh: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of x and the recurrent weights."""
        recurrent, h = ctx.saved_tensors
        slope = ((h > 0) & (h < CLIP)).to(h.dtype) if ctx.clipped else 1 - h * h
        dx = torch.zeros_like(h)
        next_rows = 0  # rows of the following frame
        for t in reversed(range(len(ctx.active))):
            rows = ctx.active[t]
            dstate = dh[t, :, :rows].clone()
            if next_rows:
                dstate[:, :next_rows] += torch.bmm(dx[t + 1, :, :next_rows], recurrent)
            torch.mul(dstate, slope[t, :, :rows], out=dx[t, :, :rows])
            next_rows = rows
        D, H = recurrent.shape[:2]
        dx_rows, h_rows = (part.transpose(0, 1).reshape(D, -1, H) for part in (dx[1:], h[:-1]))
        return dx, torch.bmm(dx_rows.mT, h_rows), None, None
