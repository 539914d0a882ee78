"""One frame of the recurrent cells in numpy, where the native library is missing; nn/rnn/cells.py has the formulas."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

CLIP = 20.0
"""Upper limit of the clipped ReLU (paper §3.1); DS2_CLIP in the native library."""

GATES = {"gru": 3, "rnn": 1, "lstm": 4}
"""Input projections per unit, G."""

STATES = {"gru": 1, "rnn": 1, "lstm": 2}
"""Values per unit that one frame passes to the next: h, and the c of an LSTM."""

CODES = {("gru", "tanh"): 0, ("gru", "relu"): 1, ("rnn", "tanh"): 2, ("rnn", "relu"): 3, ("lstm", "tanh"): 4}
"""`ds2_cell` of the native library, by cell and activation."""


def clipped_relu(x: Array) -> Array:
    """min(max(x, 0), 20), paper §3.1."""
    y: Array = np.clip(x, np.float32(0), np.float32(CLIP))
    return y


def step(cell: str, activation: str, x: Array, u: Array, state: Array) -> None:
    """Replace the state (S, H) by the next one. x: (GH,) input projections. u: (GH,), U h."""
    f = np.tanh if activation == "tanh" else clipped_relu
    if cell == "rnn":
        state[0] = f(x + u)
    elif cell == "gru":
        (x_r, x_z, x_n), (u_r, u_z, u_n) = np.split(x, 3), np.split(u, 3)
        r, z = _sigmoid(x_r + u_r), _sigmoid(x_z + u_z)
        n = f(x_n + r * u_n)
        state[0] = n + z * (state[0] - n)
    else:
        i, forget, g, o = np.split(x + u, 4)
        state[1] = _sigmoid(forget) * state[1] + _sigmoid(i) * np.tanh(g)
        state[0] = _sigmoid(o) * np.tanh(state[1])


def _sigmoid(x: Array) -> Array:
    # 1 / (1 + exp(-x)) without overflow
    y: Array = np.float32(0.5) + np.float32(0.5) * np.tanh(np.float32(0.5) * x)
    return y
