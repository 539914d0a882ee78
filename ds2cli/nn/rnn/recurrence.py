"""The recurrence of a layer over its input projections (paper eq. 3 and 10), for every cell.

D directions, T frames, N utterances sorted longest first, H hidden units, G gates of the cell, M rows.

Only what must be computed frame by frame is here. The input projection, its bias and its batch norm are computed for
all frames at once in advance, and both directions share them (as in the paper).
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
    and backward from the last frame of each row). lengths: (N,) integers, 0..T, longest first.
    Returns (D, T, N, H), zero beyond a row's length. Raises ValueError when shapes or lengths do not fit.

    float32 on the CPU runs in the native library, with torch.get_num_threads() threads; the result depends neither on
    their number nor on the rest of the batch. Under torch.autocast("cpu") gates may be bfloat16, and the factors of
    matrix products are rounded to bfloat16 where the processor is faster with it; sums and the result stay float32.
    Everything else uses `rnn_torch`.
    """
    T, N, width = gates.shape
    check_arguments(cell, width, recurrent, lengths)
    if lengths.shape != (N,) or (N and int(lengths[0]) > T):
        raise ValueError(f"recurrence: expected {N} lengths in 0..{T}, got {lengths.tolist()}")
    gates = gates.to(recurrent.dtype)
    if not can_run_native(gates):
        return rnn_torch(cell, gates, recurrent, lengths)
    return rnn_native(cell, gates.reshape(T * N, width), recurrent, lengths, T).view(-1, T, N, recurrent.shape[2])


def rnn_packed(cell: Cell, gates: Tensor, recurrent: Tensor, lengths: Tensor) -> Tensor:
    """`rnn_padded` without padding, summed over the directions.

    gates: (M, GH), M the sum of lengths: for each frame in turn, the utterances that reach it, longest first.
    recurrent, lengths: as for `rnn_padded`.
    Returns (M, H) in the same order. Raises ValueError as `rnn_padded` does.
    """
    check_arguments(cell, gates.shape[1], recurrent, lengths)
    if len(gates) != int(lengths.sum()):
        raise ValueError(
            f"recurrence: expected a row of gates for each of {int(lengths.sum())} frames, got {len(gates)}"
        )
    T = int(lengths[0]) if len(lengths) else 0
    gates = gates.to(recurrent.dtype)
    if can_run_native(gates):
        return rnn_native(cell, gates, recurrent, lengths, T, summed=True)
    valid = torch.arange(T, device=gates.device)[:, None] < lengths.to(gates.device)
    padded = gates.new_zeros(*valid.shape, gates.shape[1]).index_put(torch.where(valid), gates)
    return rnn_torch(cell, padded, recurrent, lengths).sum(0)[valid]


def rnn_advance(cell: Cell, gates: Tensor, recurrent: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Continue forward recurrences: the hidden states of the next T frames of N streams, without gradients.

    gates: (T, N, GH), T >= 1. recurrent: (1, GH, H). state: (states, N, H), after the frame before; at first zeros.
    Returns h (T, N, H) and the state after the last frame. In the native library the states of pieces are those of the
    whole to the bit.
    """
    T, N, width = gates.shape
    gates = gates.detach().to(recurrent.dtype)
    if can_run_native(gates):
        lengths, end = torch.full((N,), T), torch.empty_like(state)
        rows = gates.reshape(T * N, width)
        call = NativeCall(cell, rows, recurrent, lengths, T)
        h = call.forward(rows.contiguous(), recurrent.detach().contiguous(), None, state.contiguous(), end)
        return h.view(T, N, -1), end
    parts, transposed, states = tuple(state), recurrent[0].detach().T, []
    for x in gates:
        parts = cell.step(x, parts[0] @ transposed, parts)
        states.append(parts[0])
    return torch.stack(states), torch.stack(parts)


def check_arguments(cell: Cell, width: int, recurrent: Tensor, lengths: Tensor) -> None:
    """Raise ValueError unless gates of this width fit the recurrent weights and the lengths are sorted."""
    (D, rows, H), G = recurrent.shape, cell.gates
    if D not in (1, 2) or rows != G * H or width != G * H:
        raise ValueError(f"recurrence: gates of width {width} do not fit recurrent {tuple(recurrent.shape)}, G = {G}")
    values = lengths.tolist()
    if values != sorted(values, reverse=True) or (values and values[-1] < 0):
        raise ValueError(f"recurrence: lengths must be sorted longest first and not negative, got {values}")


def can_run_native(gates: Tensor) -> bool:
    """Whether the native library can run on these gates."""
    return gates.device.type == "cpu" and gates.dtype == torch.float32 and gates.numel() > 0 and native.available()


def rnn_reference(cell: Cell, gates: Tensor, recurrent: Tensor, lengths: Tensor) -> Tensor:
    """`rnn_padded` one row and one frame at a time: the reference that all implementations must match."""
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
    """`rnn_padded` in torch, on any device and dtype: all rows and both directions of a frame at once."""
    T, N, _ = gates.shape
    D, _, H = recurrent.shape
    frames = torch.arange(T, device=gates.device)[:, None]
    lengths = lengths.to(gates.device)
    valid = (frames < lengths).unsqueeze(-1)
    reversal = torch.where(frames < lengths, lengths - 1 - frames, frames)[:, :, None]
    inputs = [gates, gates.gather(0, reversal.expand_as(gates))][:D]
    x = torch.stack(inputs, dim=1)
    if cell.gates == 1:
        out = rnn_simple(x, recurrent, valid.sum((1, 2)).tolist(), cell is CLIPPED).transpose(0, 1)
    else:
        transposed, states = recurrent.transpose(1, 2), []
        state = (gates.new_zeros(D, N, H),) * cell.states
        # indexing frame by frame would fill an array of all frames with zeros in each frame's backward
        for x_t, valid_t in zip(x.unbind(0), valid.unbind(0), strict=True):
            new = cell.step(x_t, torch.bmm(state[0], transposed), state)
            state = tuple(torch.where(valid_t, part, 0) for part in new)
            states.append(state[0])
        out = torch.stack(states, dim=1) if states else gates.new_zeros(D, 0, N, H)
    if D == 1:
        return out
    return torch.stack([out[0], out[1].gather(0, reversal.expand_as(out[1]))])


def rnn_native(
    cell: Cell, gates: Tensor, recurrent: Tensor, lengths: Tensor, T: int, *, summed: bool = False
) -> Tensor:
    """`rnn_padded` in the native library. gates: (M, GH), padded or packed. Returns (D, M, H), or their sum (M, H)."""
    if torch.is_grad_enabled() and (gates.requires_grad or recurrent.requires_grad):
        return NativeRecurrence.apply(cell, gates, recurrent, lengths, T, summed)  # type: ignore[no-untyped-call, no-any-return]
    h = NativeCall(cell, gates, recurrent, lengths, T).forward(gates.contiguous(), recurrent.contiguous(), None)
    return h.sum(0) if summed else h


class NativeCall:
    """Arguments common to the forward and backward call of a layer. M rows of gates, padded or packed."""

    def __init__(self, cell: Cell, gates: Tensor, recurrent: Tensor, lengths: Tensor, T: int) -> None:
        self.lengths = lengths.to(torch.int32).contiguous()
        D, _, H = recurrent.shape
        self.shape = native.RnnShape(cell.code, D, T, len(lengths), len(gates), H)
        self.threads_and_bf16 = torch.get_num_threads(), int(torch.is_autocast_enabled("cpu"))
        sizes = (c.c_size_t(), c.c_size_t(), c.c_size_t())
        native.load_library().ds2_rnn_sizes(self.shape, self.threads_and_bf16[0], *map(c.byref, sizes))
        self.reserve_bytes, self.forward_bytes, self.backward_bytes = (size.value for size in sizes)

    def forward(
        self,
        gates: Tensor,
        recurrent: Tensor,
        reserve: Tensor | None,
        start: Tensor | None = None,
        end: Tensor | None = None,
    ) -> Tensor:
        """Return h (D, M, H); fill `reserve`, unless None, for backward.

        start, end: (states, N, H), the state before the first frame, and filled with that after the last one.
        """
        shape = self.shape
        h, workspace = torch.empty(shape.D, shape.M, shape.H), torch.empty(self.forward_bytes, dtype=torch.uint8)
        arrays = map(native.pointer, (gates, recurrent, self.lengths, start, h, end, reserve, workspace))
        native.load_library().ds2_rnn_forward(shape, *arrays, self.forward_bytes, *self.threads_and_bf16)
        return h

    def backward(self, recurrent: Tensor, h: Tensor, reserve: Tensor, dh: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients of gates and recurrent. dh: (D, M, H), or (M, H) shared by the directions."""
        dgates, drecurrent = torch.empty(self.shape.M, recurrent.shape[1]), torch.empty_like(recurrent)
        workspace = torch.empty(self.backward_bytes, dtype=torch.uint8)
        inputs = map(native.pointer, (recurrent, self.lengths, h, reserve, dh))
        outputs = map(native.pointer, (dgates, drecurrent, workspace))
        gradients = 1 if dh.dim() == 2 else self.shape.D
        native.load_library().ds2_rnn_backward(
            self.shape, *inputs, gradients, *outputs, self.backward_bytes, *self.threads_and_bf16
        )
        return dgates, drecurrent


class NativeRecurrence(torch.autograd.Function):
    """`rnn_native` as a differentiable function."""

    @staticmethod
    def forward(
        ctx: Any, cell: Cell, gates: Tensor, recurrent: Tensor, lengths: Tensor, T: int, summed: bool
    ) -> Tensor:
        """See `rnn_native`."""
        recurrent = recurrent.contiguous()
        call = ctx.call = NativeCall(cell, gates, recurrent, lengths, T)
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
