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

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ds2cli.kernels._jit import kernel, leaf
from ds2cli.kernels.logspace import log_add
from ds2cli.kernels.phrases import has_phrases
from ds2cli.kernels.pick import BUCKETS, best_first, kth_largest, pick_symbols
from ds2cli.kernels.prefix import (
    AHEAD,
    CHAR_LM,
    PARENT,
    SLOT,
    SYMBOL,
    TRIE,
    WEIGHTED,
    WORD_LM,
    Task,
    Tree,
    conclude,
    finished,
    keep_ancestors,
    most_of_a_symbol,
    new_tree,
    place_of,
    prefix_length,
    with_room,
    write_child,
)
from ds2cli.kernels.spelling import ROOT, look_ahead
from ds2cli.kernels.trie import down


class Beam(NamedTuple):
    """A search that has come some way.

    tree: the texts.  node: (W,) int64, the hypotheses.  blank, label, total: (W,) float64, log p_ctc of their paths
    that end in a blank, in their last symbol, and of both.  counts: (2,) int64, nodes and hypotheses in use.
    """

    tree: Tree
    node: NDArray[np.int64]
    blank: NDArray[np.float64]
    label: NDArray[np.float64]
    total: NDArray[np.float64]
    counts: NDArray[np.int64]


class Candidates(NamedTuple):
    """What the next beam is chosen from: each hypothesis as it is, and each with one symbol more.

    stay_blank, stay_label, total: (W,) float64, log p_ctc of the hypotheses after the step, as in Beam.
    grown: (W * top, 3) int64, their node or -1, its parent, the symbol.  grown_am: log p_ctc.
    scores, scratch: (W + W * top,) float64, to rank them.  picked: (V,) int64, symbols.  buckets: scratch.
    """

    stay_blank: NDArray[np.float64]
    stay_label: NDArray[np.float64]
    total: NDArray[np.float64]
    grown: NDArray[np.int64]
    grown_am: NDArray[np.float64]
    scores: NDArray[np.float64]
    scratch: NDArray[np.float64]
    picked: NDArray[np.int64]
    buckets: NDArray[np.int64]


@kernel
def beam_begin(task: Task) -> Beam:
    """The search before the first step."""
    W = task.options.width
    node, blank, label, total = np.zeros(W, np.int64), np.full(W, -np.inf), np.full(W, -np.inf), np.full(W, -np.inf)
    blank[0] = total[0] = 0.0
    return Beam(new_tree(task, 1024), node, blank, label, total, np.ones(2, np.int64))


@kernel
def beam_steps(log_probs: NDArray[np.float32], beam: Beam, task: Task) -> Beam:
    """The search after more steps; `beam` must not be used again.

    log_probs: (T, V) float32, contiguous log-probabilities without NaN.
    """
    W, room = task.options.width, task.options.width * min(log_probs.shape[1], task.options.top)
    made = Candidates(
        np.empty(W), np.empty(W), np.empty(W), np.empty((room, 3), np.int64), np.empty(room), np.empty(W + room),
        np.empty(W + room), np.empty(log_probs.shape[1], np.int64), np.empty(BUCKETS, np.int64),
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
def steps_in_room(log_probs, begin, tree, beam, made, task):
    """Steps from `begin` on while the tree has room; returns the next step, and the rows it may need (0 at the end)."""
    # one leaf for many steps: who calls it counts references, dozens of atomic additions a call
    used, n = beam.counts[0], beam.counts[1]
    for t in range(begin, len(log_probs)):
        row = log_probs[t]
        tried = pick_symbols(row, task.options, made.picked)
        need = n * tried + 1
        if used + need > len(tree.ints):
            beam.counts[0], beam.counts[1] = used, n
            return t, need
        best, least = stay(row, tree, beam, made, n, task)
        used, m, best = grow(row, tree, beam, made, used, n, tried, best, least, task)
        used, n = choose(tree, beam, made, used, n, m, best, task)
    beam.counts[0], beam.counts[1] = used, n
    return len(log_probs), 0


@leaf
def stay(row, tree, beam, made, n, task):
    """The n hypotheses after a step, without what merges into them; returns the best score and a full beam's least."""
    ints, logs, best, least = tree.ints, tree.logs, -np.inf, np.inf if n == task.options.width else -np.inf
    for i in range(n):
        x = beam.node[i]
        ints[x, SLOT] = i
        symbol, total = ints[x, SYMBOL], beam.total[i]
        blank, label = total + row[0], -np.inf
        if symbol >= 0:
            label = (total if symbol == task.options.space else beam.label[i]) + row[symbol]
        made.stay_blank[i], made.stay_label[i] = blank, label
        score = max(blank, label) + (logs[x, WEIGHTED] + logs[x, AHEAD])
        best, least = max(best, score), min(least, score)
    return best, least


@leaf
def grow(row, tree, beam, made, used, n, tried, best, least, task):
    """Each hypothesis with each symbol; returns nodes in use, how many grew, and the best score."""
    ints, logs, lexicon, options = tree.ints, tree.logs, task.lexicon, task.options
    # a text that a model or a phrase must be asked about is written down at once, so that it is asked once only
    always_ask = lexicon.kind == CHAR_LM or has_phrases(task.phrases)
    most, m = most_of_a_symbol(task), 0
    for i in range(n):
        x = beam.node[i]
        last, weighted = ints[x, SYMBOL], logs[x, WEIGHTED]
        for j in range(tried):
            c = made.picked[j]
            if c == last and c == options.space:
                continue
            am = (beam.blank[i] if c == last else beam.total[i]) + row[c]
            y = np.int64(tree.places[place_of(tree.places, ints, x, c)])
            if y < 0:
                if am + weighted + most < max(best - options.gap, least):
                    continue
                if always_ask or (lexicon.kind == WORD_LM and c == options.space):
                    y = np.int64(used)
                    used += 1
                    write_child(tree, y, x, c, task)
            if y >= 0:
                k = ints[y, SLOT]
                if k >= 0:
                    made.stay_label[k] = log_add(made.stay_label[k], am)
                    continue
                score = am + logs[y, WEIGHTED] + logs[y, AHEAD]
            elif lexicon.kind == WORD_LM:
                trie = down(lexicon.first, lexicon.symbol, np.int64(ints[x, TRIE]), c)
                score = am + weighted + look_ahead(trie, lexicon, options)
            else:
                score = am + weighted
            if score == -np.inf or score < max(best - options.gap, least):
                continue
            best = max(best, score)
            made.grown[m, 0], made.grown[m, 1], made.grown[m, 2] = y, x, c
            made.grown_am[m], made.scratch[m] = am, score
            m += 1
    return used, m, best


@leaf
def choose(tree, beam, made, used, n, m, best, task):
    """Make the best candidates the beam, those found earlier among equals; returns nodes and hypotheses in use."""
    W, scores = task.options.width, made.scores
    for j in range(m):
        scores[n + j] = made.scratch[j]
    for i in range(n):
        x = beam.node[i]
        made.total[i] = log_add(made.stay_blank[i], made.stay_label[i])
        scores[i] = made.total[i] + (tree.logs[x, WEIGHTED] + tree.logs[x, AHEAD])
        best = max(best, scores[i])
        tree.ints[x, SLOT] = -1
    bound, worst, ties = best - task.options.gap, np.inf, W
    if n + m > W:
        for i in range(n + m):
            made.scratch[i] = scores[i]
        worst = kth_largest(made.scratch, n + m, W, made.buckets)
        bound = max(bound, worst)
        for i in range(n + m):
            ties -= scores[i] > worst
    q = 0
    for i in range(n + m):
        if scores[i] < bound or (scores[i] == worst and ties == 0):
            continue
        ties -= scores[i] == worst
        if i < n:
            x, blank, label, total = beam.node[i], made.stay_blank[i], made.stay_label[i], made.total[i]
        else:
            x, blank, label, total = made.grown[i - n, 0], -np.inf, made.grown_am[i - n], made.grown_am[i - n]
            if x < 0:
                x = np.int64(used)
                used += 1
                write_child(tree, x, made.grown[i - n, 1], made.grown[i - n, 2], task)
        beam.node[q], beam.blank[q], beam.label[q], beam.total[q] = x, blank, label, total
        q += 1
    return used, q


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
            scores[j, 2], scores[j, 0] = conclude(tree, x, used, task)
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
