"""CTC prefix beam search with an n-gram model (Hannun et al. 1408.2873; Deep Speech 2 section 3.8, equation 12).

Q(y) = log p_ctc(y) + alpha log p_lm(y) + beta word_count(y). A hypothesis is a node of a prefix tree, so equal prefixes
are the same number and merge without comparing strings, and what the model says of a text is asked once. A run of
spaces is one space and a leading one is none, so log p_ctc is that of the text, summed over every path the beam kept.

A word is scored when it ends. Until then hypotheses are ranked as if it will be the likeliest word that starts as it
does (look-ahead in the lexicon's trie), else the beam fills with words that only put off their price.

A search goes on from where it stopped, so an utterance may come in pieces: the result is the same however it is cut.

Letters: T steps, V symbols with blank 0, W beams, N hypotheses asked for. Natural logarithms throughout.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ds2cli.kernels._jit import kernel, leaf
from ds2cli.kernels.beam_step import Beam, Candidates, steps_in_room
from ds2cli.kernels.logspace import log_add
from ds2cli.kernels.pick import BUCKETS, best_first
from ds2cli.kernels.prefix import (
    PARENT,
    SLOT,
    SYMBOL,
    Task,
    finish,
    finished,
    keep_ancestors,
    new_tree,
    prefix_length,
    with_room,
)
from ds2cli.kernels.spelling import ROOT


@kernel
def beam_begin(task: Task) -> Beam:
    """The search before the first step."""
    W = task.options.beam
    node, blank, label, total = np.zeros(W, np.int64), np.full(W, -np.inf), np.full(W, -np.inf), np.full(W, -np.inf)
    blank[0] = total[0] = 0.0
    return Beam(new_tree(task, 1024), node, blank, label, total, np.ones(2, np.int64))


@kernel
def beam_steps(log_probs: NDArray[np.float32], beam: Beam, task: Task) -> Beam:
    """The search after more steps; `beam` must not be used again.

    log_probs: (T, V) float32, contiguous log-probabilities without NaN.
    """
    W, room = task.options.beam, task.options.beam * min(log_probs.shape[1], task.options.prune_top)
    made = Candidates(
        np.empty(W), np.empty(W), np.empty(W), np.empty((room, 3), np.int64), np.empty(room), np.empty(W + room),
        np.empty(W + room), np.empty(log_probs.shape[1], np.int64), np.zeros(log_probs.shape[1], np.bool_),
        np.empty(BUCKETS, np.int64),
    )  # fmt: skip
    tree, t = beam.tree, 0
    while t < len(log_probs):
        t, need = steps_in_room(log_probs, t, tree, beam, made, task)
        if need > 0:
            used = beam.counts[0] = keep_ancestors(tree, beam.counts[0], beam.node, beam.counts[1])
            if 2 * (used + need) > len(tree.ints):
                tree = with_room(tree, used, 4 * (used + need))
    return Beam(tree, beam.node, beam.blank, beam.label, beam.total, beam.counts)


@leaf
def end_texts(tree, beam, last, scores, cut, task):
    """Write the n texts or fewer that the beam ends with into `last` (n,) and `scores` (n, 3), in the order found;
    returns how many, and the best Q.

    cut: leave out the last word where it may not be written.
    """
    ints, used, m, best = tree.ints, beam.counts[0], 0, -np.inf
    for i in range(beam.counts[1]):
        x = beam.node[i]
        if x != ROOT and ints[x, SYMBOL] == task.options.space:
            x = np.int64(ints[x, PARENT])
        if cut:
            x = finished(tree, x, used, task)
        j = np.int64(ints[x, SLOT])
        if j < 0:
            j = np.int64(m)
            ints[x, SLOT], last[j], scores[j, 1] = j, x, -np.inf
            scores[j, 2], scores[j, 0] = finish(tree, x, used, task)
            m += 1
        scores[j, 1] = log_add(scores[j, 1], beam.total[i])
    for k in range(m):
        ints[last[k], SLOT] = -1
        scores[k, 0] += scores[k, 1]
        best = max(best, scores[k, 0])
    return m, best


@kernel
def beam_best(beam: Beam, task: Task, N: int) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """The N best texts if the utterance ends here, best first; of two equal scores the one found earlier.

    The search can go on afterwards.

    Where all of them end in words that may not be written, each is given without its last word, and its log p_ctc is
    that of all paths that began such a word.

    Returns labels (N', L) int32, padded with blanks behind, and scores (N', 3) float64: Q, log p_ctc and log p_lm
    (nats); N' <= N texts that are possible, else the first found.
    """
    tree, used, n = beam.tree, beam.counts[0], beam.counts[1]
    if used == len(tree.ints):
        tree = with_room(tree, used, used + 1)
    last, scores = np.empty(n, np.int64), np.empty((n, 3))
    for cut in (False, True):
        m, best = end_texts(tree, beam, last, scores, cut, task)
        if best > -np.inf:
            break
    order = np.zeros(max(1, min(N, m)), np.int64)
    order = order[: max(1, best_first(scores[:, 0], m, order))]
    longest = 0
    for j in order:
        longest = max(longest, prefix_length(tree.ints, last[j]))
    labels = np.zeros((len(order), longest), np.int32)
    for k, j in enumerate(order):
        x = last[j]
        for length in range(prefix_length(tree.ints, x) - 1, -1, -1):
            labels[k, length] = tree.ints[x, SYMBOL]
            x = np.int64(tree.ints[x, PARENT])
    return labels, scores[order]


@kernel
def beam_search(log_probs: NDArray[np.float32], task: Task, N: int) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """The N best texts of a whole emission (T, V): see `beam_steps` and `beam_best`."""
    found: tuple[NDArray[np.int32], NDArray[np.float64]] = beam_best(
        beam_steps(log_probs, beam_begin(task), task), task, N
    )
    return found
