"""The CTC loss and its gradient as the formulas have them, in float64 and the log domain: what all must match.

T frames, N utterances, V symbols, L labels, S = 2L + 1 states: the label with blanks around each symbol.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.integer]


def ctc_ref(
    logits: NDArray[np.floating], targets: Ints, input_lengths: Ints, target_lengths: Ints, blank: int = 0
) -> tuple[Floats, Floats]:
    """Costs (N,) in nats and their gradients (T, N, V) (Graves et al. 2006, eqs. 6-16; paper eq. 9).

    logits: (T, N, V), normalised here.  targets: (N, L).  input_lengths, target_lengths: (N,).
    A label that no alignment can spell costs infinity, and logits that are NaN or +inf cost NaN; both have the gradient
    zero, and so have the frames beyond an utterance's length.
    """
    costs = np.zeros(logits.shape[1])
    gradients = np.zeros(logits.shape)
    for n, (frames, size) in enumerate(zip(input_lengths, target_lengths, strict=True)):
        costs[n], gradients[:frames, n] = one(logits[:frames, n].astype(np.float64), targets[n, :size], blank)
    return costs, gradients


def one(logits: Floats, label: Ints, blank: int) -> tuple[float, Floats]:
    """The cost of one utterance and its gradient (T, V). logits: (T, V); label: (L,)."""
    nothing = np.zeros_like(logits)
    with np.errstate(invalid="ignore", over="ignore"):
        below = logits - logits.max(axis=1, keepdims=True)  # the best is 0: far from 0 a sum would lose its digits
        log_p = below - np.logaddexp.reduce(below, axis=1, keepdims=True)
    if np.isnan(log_p).any() or np.isposinf(logits).any():
        return np.nan, nothing
    states = np.full(2 * len(label) + 1, blank)
    states[1::2] = label
    load_emissions = log_p[:, states]
    alpha, beta = forward(load_emissions, states), forward(load_emissions[::-1, ::-1], states[::-1])[::-1, ::-1]
    T = len(logits)
    if T == 0:
        return (0.0 if len(label) == 0 else np.inf), nothing
    total = np.logaddexp.reduce(alpha[-1, -2:])
    if np.isneginf(total):
        return np.inf, nothing
    with np.errstate(invalid="ignore"):  # both hold the emission of their frame: -inf less -inf is a state never taken
        taken = np.nan_to_num(np.exp(alpha + beta - load_emissions - total))
    occupied = np.zeros_like(logits)
    np.add.at(occupied, (np.arange(T)[:, None], states[None]), taken)
    return -float(total), np.exp(log_p) - occupied


def forward(load_emissions: Floats, states: Ints) -> Floats:
    """Log-probability (T, S) of having emitted frames 0..t and being in state s. emitted: (T, S); states: (S,)."""
    alpha = np.full(load_emissions.shape, -np.inf)
    may_skip = np.zeros(len(states), bool)
    may_skip[2:] = states[2:] != states[:-2]
    for t, row in enumerate(load_emissions):
        if t == 0:
            alpha[0, :2] = row[:2]
            continue
        last = np.concatenate([[-np.inf, -np.inf], alpha[t - 1]])
        stay_or_step = np.logaddexp(last[2:], last[1:-1])
        alpha[t] = row + np.where(may_skip, np.logaddexp(stay_or_step, last[:-2]), stay_or_step)
    return alpha
