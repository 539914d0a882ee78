"""The recurrence of a layer over input projections that its directions share (paper eq. 3 and 10), for every cell.

Letters: D directions, T frames, N utterances sorted longest first, H hidden units, G gates of the cell, M rows.

The projections come in ready: the layer's matrix, its bias and its sequence-wise batch norm are products over whole
utterances, and the paper lets both directions share them. Only what must go frame by frame is here.
"""

from __future__ import annotations

import ctypes as c
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ds2cli import native
from ds2cli.nn.rnn.cells import CELLS, Cell
from ds2cli.nn.rnn.simple import rnn_simple

CLIPPED = CELLS["rnn", "relu"]


def rnn_padded(cell: Cell, gates: Tensor, recurrent: Tensor, lengths: Tensor) -> Tensor:
    """Hidden states of a recurrent layer.

    gates: (T, N, GH) input projections with their biases. recurrent: (D, GH, H), D = 1 (forward) or 2 (forward,
    backward from each row's own last frame). lengths: (N,) integers, 0..T, longest first.
    Returns (D, T, N, H), zero beyond a row's length. Raises ValueError when shapes or lengths do not fit.

    float32 on the CPU runs in the native library, on torch.get_num_threads() threads; the result depends neither on
    their number nor on the other rows of the batch. Under torch.autocast("cpu") gates may be bfloat16, and the factors
    of the products are rounded to it where the processor is quicker with them; sums and the result stay float32.
    Everything else takes `rnn_torch`.
    """
    T, N, width = gates.shape
    check(cell, width, recurrent, lengths)
    if lengths.shape != (N,) or (N and int(lengths[0]) > T):
        raise ValueError(f"recurrence: need {N} lengths in 0..{T}, got {lengths.tolist()}")
    gates = gates.to(recurrent.dtype)
    if not suits_native(gates):
        return rnn_torch(cell, gates, recurrent, lengths)
    return rnn_native(cell, gates.reshape(T * N, width), recurrent, lengths, T).view(-1, T, N, recurrent.shape[2])


def rnn_packed(cell: Cell, gates: Tensor, recurrent: Tensor, lengths: Tensor) -> Tensor:
    """`rnn_padded` without padding, its directions added up.

    gates: (M, GH), M the sum of lengths: frame after frame, each with the utterances that reach it, longest first.
    recurrent, lengths: as for `rnn_padded`.
    Returns (M, H) in the same order. Raises ValueError as `rnn_padded` does.
    """
    check(cell, gates.shape[1], recurrent, lengths)
    if len(gates) != int(lengths.sum()):
        raise ValueError(f"recurrence: need a row of gates for each of {int(lengths.sum())} frames, got {len(gates)}")
    T = int(lengths[0]) if len(lengths) else 0
    gates = gates.to(recurrent.dtype)
    if suits_native(gates):
        return rnn_native(cell, gates, recurrent, lengths, T, summed=True)
    valid = torch.arange(T, device=gates.device)[:, None] < lengths.to(gates.device)
    padded = gates.new_zeros(*valid.shape, gates.shape[1]).index_put(torch.where(valid), gates)
    return rnn_torch(cell, padded, recurrent, lengths).sum(0)[valid]


def check(cell: Cell, width: int, recurrent: Tensor, lengths: Tensor) -> None:
    """Raise ValueError unless gates `width` wide fit the recurrent weights and the lengths are in order."""
    (D, rows, H), G = recurrent.shape, cell.gates
    if D not in (1, 2) or rows != G * H or width != G * H:
        raise ValueError(f"recurrence: gates of width {width} do not fit recurrent {tuple(recurrent.shape)}, G = {G}")
    values = lengths.tolist()
    if values != sorted(values, reverse=True) or (values and values[-1] < 0):
        raise ValueError(f"recurrence: lengths must be sorted longest first and not negative, got {values}")


def suits_native(gates: Tensor) -> bool:
    """Whether the native library can take these gates."""
    return gates.device.type == "cpu" and gates.dtype == torch.float32 and gates.numel() > 0 and native.available()


def rnn_reference(cell: Cell, gates: Tensor, recurrent: Tensor, lengths: Tensor) -> Tensor:
    """`rnn_padded` a row and a frame at a time: what every other way must agree with."""
    T, N, _ = gates.shape
    D, _, H = recurrent.shape
    directions = []
    for d in range(D):
        rows = []
        for n in range(N):
            length = int(lengths[n])
            states = [gates.new_zeros(H)] * T
            state = (gates.new_zeros(H),) * cell.states
            for t in range(length) if d == 0 else reversed(range(length)):
                state = cell.step(gates[t, n], state[0] @ recurrent[d].T, state)
                states[t] = state[0]
            rows.append(torch.stack(states))
        directions.append(torch.stack(rows, dim=1))
    return torch.stack(directions)


def rnn_torch(cell: Cell, gates: Tensor, recurrent: Tensor, lengths: Tensor) -> Tensor:
    """`rnn_padded` on any device and dtype: all rows and both directions of a frame at once."""
    T, N, _ = gates.shape
    D, _, H = recurrent.shape
    frames = torch.arange(T, device=gates.device)[:, None]
    lengths = lengths.to(gates.device)
    valid = (frames < lengths).unsqueeze(-1)
    own_last_first = torch.where(frames < lengths, lengths - 1 - frames, frames)[:, :, None]
    inputs = [gates, gates.gather(0, own_last_first.expand_as(gates))][:D]
    x = torch.stack(inputs, dim=1)
    if cell.gates == 1:
        out = rnn_simple(x, recurrent, valid.sum((1, 2)).tolist(), cell is CLIPPED).transpose(0, 1)
    else:
        transposed, states = recurrent.transpose(1, 2), []
        state = (gates.new_zeros(D, N, H),) * cell.states
        for t in range(T):
            new = cell.step(x[t], torch.bmm(state[0], transposed), state)
            state = tuple(torch.where(valid[t], part, 0) for part in new)
            states.append(state[0])
        out = torch.stack(states, dim=1) if states else gates.new_zeros(D, 0, N, H)
    if D == 1:
        return out
    return torch.stack([out[0], out[1].gather(0, own_last_first.expand_as(out[1]))])


def rnn_native(
    cell: Cell, gates: Tensor, recurrent: Tensor, lengths: Tensor, T: int, *, summed: bool = False
) -> Tensor:
    """`rnn_padded` in the native library. gates: (M, GH), padded or packed. Returns (D, M, H), or their sum (M, H)."""
    if torch.is_grad_enabled() and (gates.requires_grad or recurrent.requires_grad):
        return NativeRecurrence.apply(cell, gates, recurrent, lengths, T, summed)  # type: ignore[no-untyped-call, no-any-return]
    h = Call(cell, gates, recurrent, lengths, T).forward(gates.contiguous(), recurrent.contiguous(), None)
    return h.sum(0) if summed else h


class Call:
    """What the forward and the backward call of a layer share. M rows of gates, padded or packed."""

    def __init__(self, cell: Cell, gates: Tensor, recurrent: Tensor, lengths: Tensor, T: int) -> None:
        self.lengths = lengths.to(torch.int32).contiguous()
        D, _, H = recurrent.shape
        self.shape = native.RnnShape(cell.code, D, T, len(lengths), len(gates), H)
        self.how = torch.get_num_threads(), int(torch.is_autocast_enabled("cpu"))
        sizes = (c.c_size_t(), c.c_size_t(), c.c_size_t())
        native.load().ds2_rnn_sizes(self.shape, self.how[0], *map(c.byref, sizes))
        self.reserve_bytes, self.forward_bytes, self.backward_bytes = (size.value for size in sizes)

    def forward(self, gates: Tensor, recurrent: Tensor, reserve: Tensor | None) -> Tensor:
        """Return h (D, M, H); fill `reserve` when there is one."""
        shape = self.shape
        h, workspace = torch.empty(shape.D, shape.M, shape.H), torch.empty(self.forward_bytes, dtype=torch.uint8)
        native.load().ds2_rnn_forward(
            shape, *map(address, (gates, recurrent, self.lengths, h, reserve, workspace)), self.forward_bytes, *self.how
        )
        return h

    def backward(self, recurrent: Tensor, h: Tensor, reserve: Tensor, dh: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients of gates and recurrent; dh: (D, M, H), or (M, H) shared by the directions."""
        dgates, drecurrent = torch.empty(self.shape.M, recurrent.shape[1]), torch.empty_like(recurrent)
        workspace = torch.empty(self.backward_bytes, dtype=torch.uint8)
        native.load().ds2_rnn_backward(
            self.shape, *map(address, (recurrent, self.lengths, h, reserve, dh)), 1 if dh.dim() == 2 else self.shape.D,
            *map(address, (dgates, drecurrent, workspace)), self.backward_bytes, *self.how,
        )  # fmt: skip
        return dgates, drecurrent


def address(tensor: Tensor | None) -> int | None:
    """Where the tensor's first element is."""
    return None if tensor is None else tensor.data_ptr()


class NativeRecurrence(torch.autograd.Function):
    """`rnn_native` with its gradient."""

    @staticmethod
    def forward(
        ctx: Any, cell: Cell, gates: Tensor, recurrent: Tensor, lengths: Tensor, T: int, summed: bool
    ) -> Tensor:
        """See `rnn_native`."""
        recurrent = recurrent.contiguous()
        call = ctx.call = Call(cell, gates, recurrent, lengths, T)
        reserve = torch.empty(call.reserve_bytes // 4)
        h = call.forward(gates.contiguous(), recurrent, reserve)
        ctx.save_for_backward(recurrent, h, reserve)
        return h.sum(0) if summed else h

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, dh: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of the gates and the recurrent weights."""
        recurrent, h, reserve = ctx.saved_tensors
        return None, *ctx.call.backward(recurrent, h, reserve, dh.contiguous()), None, None, None
