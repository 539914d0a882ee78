"""The recurrent cells, each as its formulas: one frame from projections x, the last state h and the product u = U h.

    simple (paper eq. 3)    h' = f(x + u)
    GRU    (paper eq. 10)   r = σ(x_r + u_r)    z = σ(x_z + u_z)    n = f(x_n + r ∘ u_n)    h' = (1 - z) ∘ n + z ∘ h
    LSTM                    i, f, o = σ(x + u) of each    g = tanh(x_g + u_g)    c' = f ∘ c + i ∘ g    h' = o ∘ tanh(c')

f is tanh or the paper's ReLU clipped at 20. z is as in torch and cuDNN, the complement of the paper's, and so is the
order of the gates: r, z, n and i, f, g, o. The LSTM has no peepholes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ds2cli.config.model import ModelConfig

CLIP = 20.0
"""Where the paper cuts its ReLU (§3.1); DS2_CLIP of the native library."""

State = tuple[Tensor, ...]
"""What a cell carries from frame to frame: h, or h and c, each (…, H)."""


class Cell(NamedTuple):
    """A recurrent cell.

    gates: projections a unit, G. states: tensors of its state. code: its number in the native library, ds2_cell.
    fused: torch's fused kernel of the same formulas, None when there is none.
    step: (x (…, GH), u (…, GH), state) to the next state.
    """

    gates: int
    states: int
    code: int
    fused: str | None
    step: Callable[[Tensor, Tensor, State], State]


def clipped_relu(x: Tensor) -> Tensor:
    """min(max(x, 0), 20), paper §3.1; its gradient is 0 at both ends and beyond."""
    return functional.hardtanh(x, 0.0, CLIP)


def simple(f: Callable[[Tensor], Tensor], x: Tensor, u: Tensor, _: State) -> State:
    """A step of the simple cell."""
    return (f(x + u),)


def gru(f: Callable[[Tensor], Tensor], x: Tensor, u: Tensor, state: State) -> State:
    """A step of the GRU."""
    x_r, x_z, x_n = x.chunk(3, dim=-1)
    u_r, u_z, u_n = u.chunk(3, dim=-1)
    r, z = torch.sigmoid(x_r + u_r), torch.sigmoid(x_z + u_z)
    n = f(x_n + r * u_n)
    return (n + z * (state[0] - n),)


def lstm(x: Tensor, u: Tensor, state: State) -> State:
    """A step of the LSTM."""
    i, f, g, o = (x + u).chunk(4, dim=-1)
    c = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


CELLS = {
    ("gru", "tanh"): Cell(3, 1, 0, "gru", partial(gru, torch.tanh)),
    ("gru", "relu"): Cell(3, 1, 1, None, partial(gru, clipped_relu)),
    ("rnn", "tanh"): Cell(1, 1, 2, "rnn_tanh", partial(simple, torch.tanh)),
    ("rnn", "relu"): Cell(1, 1, 3, None, partial(simple, clipped_relu)),
    ("lstm", "tanh"): Cell(4, 2, 4, "lstm", lstm),
}
GRU = CELLS["gru", "tanh"]


def cell_of(config: ModelConfig) -> Cell:
    """The cell of a network."""
    return CELLS[config.cell, config.activation]
