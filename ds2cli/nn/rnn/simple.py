"""The recurrence of a simple cell in a few calls of torch a frame; autograd would make a dozen of it.

torch has no fused kernel with a clip. Here a frame is a product and the nonlinearity, backward likewise, and the
gradient of the weights is one product over all frames.

Letters: T frames, N utterances sorted longest first, H hidden units, D directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ds2cli.nn.rnn.cells import CLIP


def rnn_simple(x: Tensor, recurrent: Tensor, active: Sequence[int], clipped: bool) -> Tensor:
    """h_t = f(x_t + U h_{t-1}) (paper eq. 3), f the clipped ReLU or tanh, every direction along its own frames.

    x: (T, D, N, H) projections. recurrent: (D, H, H). active: rows of each frame, never rising.
    Returns (T, D, N, H), zero where a row is over. Under torch.autocast products and states are of its type.
    """
    device = x.device.type
    kind = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
    active = [rows for rows in active if rows]
    with torch.autocast(device, enabled=False):  # or every frame would cast the weights
        h = SimpleRecurrence.apply(x.to(kind), recurrent.to(kind), active, clipped)  # type: ignore[no-untyped-call]
    return h.to(x.dtype)  # type: ignore[no-any-return]


class SimpleRecurrence(torch.autograd.Function):
    """`rnn_simple` with its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, recurrent: Tensor, active: Sequence[int], clipped: bool) -> Tensor:
        """See `rnn_simple`."""
        h, turned = torch.zeros_like(x), recurrent.mT
        for t, rows in enumerate(active):
            now = x[t, :, :rows] if t == 0 else torch.baddbmm(x[t, :, :rows], h[t - 1, :, :rows], turned)
            h[t, :, :rows] = now.clamp(0.0, CLIP) if clipped else now.tanh()
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
        later = 0  # rows of the frame after
        for t in reversed(range(len(ctx.active))):
            rows = ctx.active[t]
            sent = dh[t, :, :rows].clone()
            if later:
                sent[:, :later] += torch.bmm(dx[t + 1, :, :later], recurrent)
            torch.mul(sent, slope[t, :, :rows], out=dx[t, :, :rows])
            later = rows
        D, H = recurrent.shape[:2]
        ahead, behind = (part.transpose(0, 1).reshape(D, -1, H) for part in (dx[1:], h[:-1]))
        return dx, torch.bmm(ahead.mT, behind), None, None
