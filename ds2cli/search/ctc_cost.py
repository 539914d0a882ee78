"""-log p_ctc of a text, by the native library where it is installed. Notation: T steps, V symbols, L labels."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ds2cli import native
from ds2cli.errors import BadUtterance
from ds2cli.kernels import ctc_cost as kernel
from ds2cli.kernels.viterbi import steps_needed
from ds2cli.search.trellis import UNSPELLED_COST, WILDCARD


def text_cost(log_probs: NDArray[np.float32], labels: Sequence[int]) -> float:
    """-log p_ctc of a text (nats), always finite. labels: (L,) of `spell`, which may be WILDCARD.

    BadUtterance "label-too-long" and "impossible-text".
    """
    symbols = np.array(labels, np.int32)
    needed = steps_needed(symbols)
    if needed > len(log_probs):
        raise BadUtterance(
            "label-too-long", f"{len(symbols)} symbols need {needed} steps or more, the utterance has {len(log_probs)}"
        )
    cost = ctc_cost_with_wildcards(log_probs, symbols) if WILDCARD in symbols else ctc_cost(log_probs, symbols)
    if not math.isfinite(cost):
        raise BadUtterance("impossible-text", "every path that spells the text has probability 0")
    return cost


def ctc_cost(log_probs: NDArray[np.float32], labels: NDArray[np.int32]) -> float:
    """-log of the summed probability of all paths that spell `labels`, infinity if there are none (nats).

    log_probs: (T, V) float32, log-probabilities without NaN.  labels: (L,) int32, none of them blank.

    The library computes the cost from logits, in float32. The softmax of log-probabilities are the probabilities
    themselves, so it serves here as well; a row that does not sum to 1 counts as if it were normalized. Without the
    library (an installation without a compiler) `kernel.ctc_cost` does the same work, in 50 to 100 times the time.
    """
    log_probs, labels = np.ascontiguousarray(log_probs, np.float32), np.ascontiguousarray(labels, np.int32)
    if not native.available():
        return float(kernel.ctc_cost(log_probs, labels))
    cost = _native_cost(log_probs, labels)
    # logits of a step that are all -inf have no softmax, but a step without a possible symbol has no path either
    return math.inf if math.isnan(cost) else cost


def ctc_cost_with_wildcards(log_probs: NDArray[np.float32], labels: NDArray[np.int32]) -> float:
    """As `ctc_cost`, where labels may be WILDCARD, which emits the most probable symbol of each step.

    A wildcard is one more symbol, and the others are still normalized without it. It emits what they emit, too, so the
    cost may be below 0.
    """
    best = log_probs.max(axis=1, keepdims=True, initial=-np.inf) - np.float32(UNSPELLED_COST)
    wide = np.concatenate([log_probs, best], axis=1)
    labels = np.where(labels == WILDCARD, log_probs.shape[1], labels)
    cost = ctc_cost(wide, labels)
    if native.available():
        # the library has normalized each step with the wildcard
        total = np.logaddexp.reduce(log_probs, axis=1, dtype=np.float64)
        cost -= float(np.logaddexp(0, best[:, 0] - total).sum())
    return cost


def _native_cost(log_probs: NDArray[np.float32], labels: NDArray[np.int32]) -> float:
    """One utterance is one task, so one thread. Nothing is saved for a gradient: the trellis takes two rows."""
    (T, V), L = log_probs.shape, len(labels)
    library, shape = native.load_library(), native.CtcShape(T, 1, V, L, 0, native.FLOAT32, V, max(T, 1) * V)
    saved, workspace_size, forward = (ctypes.c_size_t() for _ in range(3))
    library.ds2_ctc_sizes(ctypes.byref(shape), 1, *map(ctypes.byref, (saved, workspace_size, forward)))
    workspace = np.empty(workspace_size.value, np.uint8)
    steps, count = np.array([T], np.int32), np.array([L], np.int32)
    cost, verdict = np.empty(1, np.float32), np.empty(1, np.int32)
    arrays = (log_probs, labels, steps, count, cost, verdict)
    pointers = [array.ctypes.data for array in arrays]
    library.ds2_ctc_forward(ctypes.byref(shape), *pointers, None, workspace.ctypes.data, len(workspace), 1)
    return float(cost[0])
