"""CTC prefix beam search with an n-gram model (Hannun et al. 1408.2873; Deep Speech 2 section 3.8, equation 12).

Q(y) = log p_ctc(y) + alpha log p_lm(y) + beta word_count(y). A hypothesis is a node of a prefix tree, so equal prefixes
are the same node and merge without comparing strings, and the language model scores each prefix once. Consecutive
spaces count as one and leading spaces are ignored, so log p_ctc sums over all paths of the text that are in the beam.

A word is scored when it ends. Until then hypotheses are ranked as if it will be the likeliest word with this prefix
(look-ahead in the lexicon's trie); otherwise the beam would fill with words whose cost is only postponed.

A search can be continued, so an utterance may arrive in chunks: the result does not depend on the chunk boundaries.

Notation: T steps, V symbols with blank 0, W beam width, N number of hypotheses requested. Logarithms are natural.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ds2cli.kernels._jit import inner_kernel, kernel
from ds2cli.kernels.beam_step import Beam, Candidates, advance_until_full
from ds2cli.kernels.logspace import log_add
from ds2cli.kernels.prefix import (
    BEAM_INDEX,
    PARENT,
    SYMBOL,
    Task,
    drop_forbidden_word,
    finish,
    grow_tree,
    keep_ancestors,
    new_tree,
    prefix_length,
)
from ds2cli.kernels.pruning import BUCKETS, top_indices
from ds2cli.kernels.spelling import ROOT


@kernel
def beam_begin(task: Task) -> Beam:
    """The beam before the first step: the empty text."""
    W = task.options.beam
    node, blank, label, total = np.zeros(W, np.int64), np.full(W, -np.inf), np.full(W, -np.inf), np.full(W, -np.inf)
    blank[0] = total[0] = 0.0
    return Beam(new_tree(task, 1024), node, blank, label, total, np.ones(2, np.int64))


@kernel
def beam_steps(log_probs: NDArray[np.float32], beam: Beam, task: Task) -> Beam:
    """The beam after T more steps; the arrays of `beam` are reused, so it must not be used again.

    log_probs: (T, V) float32, contiguous log-probabilities without NaN.
    """
    W, room = task.options.beam, task.options.beam * min(log_probs.shape[1], task.options.prune_top)
    candidates = Candidates(
        np.empty(W), np.empty(W), np.empty(W), np.empty((room, 3), np.int64), np.empty(room), np.empty(W + room),
        np.empty(W + room), np.empty(log_probs.shape[1], np.int64), np.zeros(log_probs.shape[1], np.bool_),
        np.empty(BUCKETS, np.int64),
    )  # fmt: skip
    tree, t = beam.tree, 0
    while t < len(log_probs):
        t, needed = advance_until_full(log_probs, t, tree, beam, candidates, task)
        if needed > 0:
            used = beam.counts[0] = keep_ancestors(tree, beam.counts[0], beam.node, beam.counts[1])
            if 2 * (used + needed) > len(tree.ints):
                tree = grow_tree(tree, used, 4 * (used + needed))
    return Beam(tree, beam.node, beam.blank, beam.label, beam.total, beam.counts)


@inner_kernel
def collect_texts(tree, beam, nodes, scores, drop_forbidden, task):
    """Merge the n hypotheses into distinct final texts; write their nodes (n,) and scores (n, 3), in beam order.

    drop_forbidden: drop a last word that the lexicon forbids.  Returns the number of texts and the best Q.
    """
    ints, used, m, best = tree.ints, beam.counts[0], 0, -np.inf
    for i in range(beam.counts[1]):
        node = beam.node[i]
        if node != ROOT and ints[node, SYMBOL] == task.options.space:
            node = np.int64(ints[node, PARENT])
        if drop_forbidden:
            node = drop_forbidden_word(tree, node, used, task)
        j = np.int64(ints[node, BEAM_INDEX])
        if j < 0:
            j = np.int64(m)
            ints[node, BEAM_INDEX], nodes[j], scores[j, 1] = j, node, -np.inf
            scores[j, 2], scores[j, 0] = finish(tree, node, used, task)
            m += 1
        scores[j, 1] = log_add(scores[j, 1], beam.total[i])
    for k in range(m):
        ints[nodes[k], BEAM_INDEX] = -1
        scores[k, 0] += scores[k, 1]
        best = max(best, scores[k, 0])
    return m, best


@kernel
def beam_best(beam: Beam, task: Task, N: int) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """The N best texts if the utterance ended here, best first; ties keep beam order. The search can be continued.

    Where every hypothesis ends in a word that the lexicon forbids, each is returned without its last word; its log
    p_ctc is then the sum over all paths that began such a word.

    Returns labels (N', L) int32, padded at the end with blanks, and scores (N', 3) float64: Q, log p_ctc and log p_lm
    (nats). N' <= N counts the texts of non-zero probability; where there are none, the first text is returned.
    """
    tree, used, n = beam.tree, beam.counts[0], beam.counts[1]
    if used == len(tree.ints):
        tree = grow_tree(tree, used, used + 1)
    nodes, scores = np.empty(n, np.int64), np.empty((n, 3))
    for drop_forbidden in (False, True):
        m, best = collect_texts(tree, beam, nodes, scores, drop_forbidden, task)
        if best > -np.inf:
            break
    order = np.zeros(max(1, min(N, m)), np.int64)
    order = order[: max(1, top_indices(scores[:, 0], m, order))]
    longest = 0
    for j in order:
        longest = max(longest, prefix_length(tree.ints, nodes[j]))
    labels = np.zeros((len(order), longest), np.int32)
    for k, j in enumerate(order):
        node = nodes[j]
        for i in range(prefix_length(tree.ints, node) - 1, -1, -1):
            labels[k, i] = tree.ints[node, SYMBOL]
            node = np.int64(tree.ints[node, PARENT])
    return labels, scores[order]


@kernel
def beam_search(log_probs: NDArray[np.float32], task: Task, N: int) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """The N best texts of a complete emission (T, V): see `beam_steps` and `beam_best`."""
    texts: tuple[NDArray[np.int32], NDArray[np.float64]] = beam_best(
        beam_steps(log_probs, beam_begin(task), task), task, N
    )
    return texts
