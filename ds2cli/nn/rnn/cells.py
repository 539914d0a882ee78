"""The recurrent cells: one frame from the input projection x, the previous state h and the product u = U h.

    simple (paper eq. 3)    h' = f(x + u)
    GRU    (paper eq. 10)   r = σ(x_r + u_r)    z = σ(x_z + u_z)    n = f(x_n + r ∘ u_n)    h' = (1 - z) ∘ n + z ∘ h
    LSTM                    i, f, o = σ(x + u) of each    g = tanh(x_g + u_g)    c' = f ∘ c + i ∘ g    h' = o ∘ tanh(c')

f is tanh or the paper's ReLU clipped at 20. As in torch and cuDNN, z is the complement of the paper's z, and the gates
are in the order r, z, n (GRU) and i, f, g, o (LSTM). The LSTM has no peephole connections.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

CLIP = 20.0
"""Upper limit of the clipped ReLU (paper §3.1); DS2_CLIP in the native library."""

State = tuple[Tensor, ...]
"""The state of a cell between frames: (h,), or (h, c) for the LSTM, each (…, H)."""


class Cell(NamedTuple):
    """A recurrent cell.

    gates: input projections per unit, G. states: number of state tensors. code: its `ds2_cell` in the native library.
    fused: name of torch's fused kernel with the same formulas, or None.
    step: maps x (…, GH), u (…, GH) and a state to the next state.
    """

    gates: int
    states: int
    code: int
    fused: str | None
    step: Callable[[Tensor, Tensor, State], State]


def clipped_relu(x: Tensor) -> Tensor:
    """min(max(x, 0), 20), paper §3.1; the gradient is 0 at and beyond both limits."""
    return functional.hardtanh(x, 0.0, CLIP)


def step_simple(f: Callable[[Tensor], Tensor], x: Tensor, u: Tensor, _: State) -> State:
    """One step of the simple cell."""
    return (f(x + u),)


def step_gru(f: Callable[[Tensor], Tensor], x: Tensor, u: Tensor, state: State) -> State:
    """One step of the GRU."""
    x_r, x_z, x_n = x.chunk(3, dim=-1)
    u_r, u_z, u_n = u.chunk(3, dim=-1)
    r, z = torch.sigmoid(x_r + u_r), torch.sigmoid(x_z + u_z)
    n = f(x_n + r * u_n)
    return (n + z * (state[0] - n),)


def step_lstm(x: Tensor, u: Tensor, state: State) -> State:
    """One step of the LSTM."""
    i, f, g, o = (x + u).chunk(4, dim=-1)
    c = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


CELLS = {
    ("gru", "tanh"): Cell(3, 1, 0, "gru", partial(step_gru, torch.tanh)),
    ("gru", "relu"): Cell(3, 1, 1, None, partial(step_gru, clipped_relu)),
    ("rnn", "tanh"): Cell(1, 1, 2, "rnn_tanh", partial(step_simple, torch.tanh)),
    ("rnn", "relu"): Cell(1, 1, 3, None, partial(step_simple, clipped_relu)),
    ("lstm", "tanh"): Cell(4, 2, 4, "lstm", step_lstm),
}
"""The cells by name and activation."""

GRU = CELLS["gru", "tanh"]
