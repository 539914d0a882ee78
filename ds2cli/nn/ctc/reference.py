"""Reference CTC loss and gradient, written as the formulas are, in float64 and the log domain.

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

    logits: (T, N, V), normalized here.  targets: (N, L).  input_lengths, target_lengths: (N,).
    A label without a possible alignment costs infinity; logits that are NaN or +inf cost NaN. The gradient of both is
    zero, as is that of frames past the length of an utterance.
    """
    costs = np.zeros(logits.shape[1])
    gradients = np.zeros(logits.shape)
    for n, (frames, size) in enumerate(zip(input_lengths, target_lengths, strict=True)):
        utterance = logits[:frames, n].astype(np.float64)
        costs[n], gradients[:frames, n] = compute_utterance_cost(utterance, targets[n, :size], blank)
    return costs, gradients


def compute_utterance_cost(logits: Floats, label: Ints, blank: int) -> tuple[float, Floats]:
    """The cost of one utterance and its gradient (T, V). logits: (T, V); label: (L,)."""
    zero_gradient = np.zeros_like(logits)
    with np.errstate(invalid="ignore", over="ignore"):
        below = logits - logits.max(axis=1, keepdims=True)  # the maximum is 0: a log-sum far from 0 loses digits
        log_p = below - np.logaddexp.reduce(below, axis=1, keepdims=True)
    if np.isnan(log_p).any() or np.isposinf(logits).any():
        return np.nan, zero_gradient
    states = np.full(2 * len(label) + 1, blank)
    states[1::2] = label
    emitted = log_p[:, states]
    alpha = compute_forward(emitted, states)
    beta = compute_forward(emitted[::-1, ::-1], states[::-1])[::-1, ::-1]
    T = len(logits)
    if T == 0:
        return (0.0 if len(label) == 0 else np.inf), zero_gradient
    total = np.logaddexp.reduce(alpha[-1, -2:])
    if np.isneginf(total):
        return np.inf, zero_gradient
    # alpha and beta both include the emission of their frame; -inf minus -inf means a state that is never used
    with np.errstate(invalid="ignore"):
        posterior = np.nan_to_num(np.exp(alpha + beta - emitted - total))
    expected_counts = np.zeros_like(logits)
    np.add.at(expected_counts, (np.arange(T)[:, None], states[None]), posterior)
    return -float(total), np.exp(log_p) - expected_counts


def compute_forward(emitted: Floats, states: Ints) -> Floats:
    """Forward variables (T, S): log-probability of frames 0..t ending in state s. emitted: (T, S); states: (S,)."""
    alpha = np.full(emitted.shape, -np.inf)
    may_skip = np.zeros(len(states), bool)
    may_skip[2:] = states[2:] != states[:-2]
    for t, row in enumerate(emitted):
        if t == 0:
            alpha[0, :2] = row[:2]
            continue
        last = np.concatenate([[-np.inf, -np.inf], alpha[t - 1]])
        stay_or_step = np.logaddexp(last[2:], last[1:-1])
        alpha[t] = row + np.where(may_skip, np.logaddexp(stay_or_step, last[:-2]), stay_or_step)
    return alpha
