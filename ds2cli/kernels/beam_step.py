"""One step of the prefix beam search: see `ds2cli.kernels.beam`. W beam width, V symbols with blank 0."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ds2cli.kernels._jit import inner_kernel
from ds2cli.kernels.hotwords import has_hotwords
from ds2cli.kernels.logspace import log_add
from ds2cli.kernels.prefix import (
    BEAM_INDEX,
    CHAR_LM,
    LOOKAHEAD,
    PARENT,
    SYMBOL,
    TRIE,
    WEIGHTED,
    WORD_LM,
    Tree,
    add_child,
    hash_slot,
    max_symbol_gain,
)
from ds2cli.kernels.pruning import kth_largest, pick_symbols
from ds2cli.kernels.spelling import ROOT, lookahead_score
from ds2cli.kernels.trie import trie_child

PRESCORE_RATIO = 2
"""Candidates per beam slot above which it pays to score the most promising ones first and prune the rest unscored."""


class Beam(NamedTuple):
    """The state of a search between two steps.

    tree: the prefix tree.  node: (W,) int64, the node of each hypothesis.  blank, label, total: (W,) float64, log p_ctc
    of its paths that end in a blank, in its last symbol, and of both.  counts: (2,) int64, nodes and hypotheses in use.
    """

    tree: Tree
    node: NDArray[np.int64]
    blank: NDArray[np.float64]
    label: NDArray[np.float64]
    total: NDArray[np.float64]
    counts: NDArray[np.int64]


class Candidates(NamedTuple):
    """The candidates for the next beam: each hypothesis kept as it is, and each extended by one symbol.

    kept_blank, kept_label, kept_total: (W,) float64, log p_ctc of the kept hypotheses after the step, as in Beam.
    extended: (W * prune_top, 3) int64, node (-1 where it is not in the tree yet), parent and symbol.
    extended_logp: (W * prune_top,) float64, log p_ctc.  scores: (W + W * prune_top,) float64, what is ranked, kept
    hypotheses first.  picked: (V,) int64, the symbols that survive pruning.  scratch: like scores.  is_picked: (V,).
    buckets: (BUCKETS,) int64.
    """

    kept_blank: NDArray[np.float64]
    kept_label: NDArray[np.float64]
    kept_total: NDArray[np.float64]
    extended: NDArray[np.int64]
    extended_logp: NDArray[np.float64]
    scores: NDArray[np.float64]
    scratch: NDArray[np.float64]
    picked: NDArray[np.int64]
    is_picked: NDArray[np.bool_]
    buckets: NDArray[np.int64]


@inner_kernel
def advance_until_full(log_probs, begin, tree, beam, candidates, task):
    """Take steps from `begin` while the tree has room; returns the next step and the room it needs (0 at the end)."""
    # one inner kernel for many steps: its caller counts references, dozens of atomic additions per call
    used, n = beam.counts[0], beam.counts[1]
    for t in range(begin, len(log_probs)):
        row = log_probs[t]
        n_picked = pick_symbols(row, task.options, candidates.picked)
        needed = n * n_picked + 1
        if used + needed > len(tree.ints):
            beam.counts[0], beam.counts[1] = used, n
            return t, needed
        best, cutoff = update_hypotheses(row, tree, beam, candidates, n, n_picked, task)
        used, m, best = extend_hypotheses(row, tree, beam, candidates, used, n, n_picked, best, cutoff, task)
        used, n = select_beam(tree, beam, candidates, used, n, m, best, task)
    beam.counts[0], beam.counts[1] = used, n
    return len(log_probs), 0


@inner_kernel
def update_hypotheses(row, tree, beam, candidates, n, n_picked, task):
    """Keep the n hypotheses unextended for one step, merging extensions of their parents into them.

    Returns the best score, and the lowest one if the beam is full (otherwise -inf): no lower score can be kept.
    """
    ints, logs, space = tree.ints, tree.logs, task.options.space
    best, cutoff = -np.inf, np.inf if n == task.options.beam else -np.inf
    for i in range(n):
        ints[beam.node[i], BEAM_INDEX] = i
    for j in range(n_picked):
        candidates.is_picked[candidates.picked[j]] = True
    for i in range(n):
        node, total = beam.node[i], beam.total[i]
        symbol, parent = ints[node, SYMBOL], ints[node, PARENT]
        blank, label = total + row[0], -np.inf
        if symbol >= 0:
            label = (total if symbol == space else beam.label[i]) + row[symbol]
            k = ints[parent, BEAM_INDEX] if node != ROOT else -1
            if k >= 0 and candidates.is_picked[symbol]:
                before = beam.blank[k] if symbol == ints[parent, SYMBOL] else beam.total[k]
                label = log_add(label, before + row[symbol])
        candidates.kept_blank[i], candidates.kept_label[i] = blank, label
        candidates.kept_total[i] = log_add(blank, label)
        candidates.scores[i] = candidates.kept_total[i] + (logs[node, WEIGHTED] + logs[node, LOOKAHEAD])
        best, cutoff = max(best, candidates.scores[i]), min(cutoff, candidates.scores[i])
    for j in range(n_picked):
        candidates.is_picked[candidates.picked[j]] = False
    return best, cutoff


@inner_kernel
def extend_hypotheses(row, tree, beam, candidates, used, n, n_picked, best, cutoff, task):
    """Extend each hypothesis by each picked symbol; returns nodes in use, number of extensions, and the best score."""
    ints, logs, lexicon, options = tree.ints, tree.logs, task.lexicon, task.options
    # a prefix scored by a character model or by hotwords becomes a node at once, so that it is scored only once
    always_score = lexicon.kind == CHAR_LM or has_hotwords(task.hotwords)
    max_gain, m = max_symbol_gain(task), 0
    if always_score and n * n_picked > PRESCORE_RATIO * options.beam:
        used, cutoff = score_most_promising(
            row, tree, beam, candidates, used, n, n_picked, max(best - options.beam_gap, cutoff), max_gain, task
        )
    for i in range(n):
        node = beam.node[i]
        last, weighted = ints[node, SYMBOL], logs[node, WEIGHTED]
        for j in range(n_picked):
            c = candidates.picked[j]
            if c == last and c == options.space:
                continue
            am = (beam.blank[i] if c == last else beam.total[i]) + row[c]
            if am + weighted + max_gain < max(best - options.beam_gap, cutoff):
                continue
            child = np.int64(tree.slots[hash_slot(tree.slots, ints, node, c)])
            if child < 0 and (always_score or (lexicon.kind == WORD_LM and c == options.space)):
                child = np.int64(used)
                used += 1
                add_child(tree, child, node, c, task)
            if child >= 0:
                if ints[child, BEAM_INDEX] >= 0:
                    continue
                score = am + logs[child, WEIGHTED] + logs[child, LOOKAHEAD]
            elif lexicon.kind == WORD_LM:
                trie = trie_child(lexicon.first, lexicon.symbol, np.int64(ints[node, TRIE]), c)
                score = am + weighted + lookahead_score(trie, lexicon, options)
            else:
                score = am + weighted
            if score == -np.inf or score < max(best - options.beam_gap, cutoff):
                continue
            best = max(best, score)
            candidates.extended[m, 0], candidates.extended[m, 1], candidates.extended[m, 2] = child, node, c
            candidates.extended_logp[m], candidates.scores[n + m] = am, score
            m += 1
    return used, m, best


@inner_kernel
def score_most_promising(row, tree, beam, candidates, used, n, n_picked, cutoff, max_gain, task):
    """Score the W extensions with the highest upper bounds, to prune most of the others by their bounds alone.

    Returns nodes in use, and the score that W candidates reach: an extension bounded below it needs no scoring.
    """
    ints, logs, options, m = tree.ints, tree.logs, task.options, 0
    for i in range(n):
        node = beam.node[i]
        last, weighted = ints[node, SYMBOL], logs[node, WEIGHTED]
        for j in range(n_picked):
            c = candidates.picked[j]
            bound = (beam.blank[i] if c == last else beam.total[i]) + row[c] + weighted + max_gain
            if bound >= cutoff and not (c == last and c == options.space):
                candidates.scratch[m] = bound
                m += 1
    if m <= PRESCORE_RATIO * options.beam:
        return used, cutoff
    min_bound = kth_largest(candidates.scratch, m, options.beam, candidates.buckets)
    for i in range(n):
        candidates.scratch[i] = candidates.scores[i]
    m = n
    for i in range(n):
        node = beam.node[i]
        last, weighted = ints[node, SYMBOL], logs[node, WEIGHTED]
        for j in range(n_picked):
            c = candidates.picked[j]
            am = (beam.blank[i] if c == last else beam.total[i]) + row[c]
            if am + weighted + max_gain < min_bound or (c == last and c == options.space):
                continue
            child = np.int64(tree.slots[hash_slot(tree.slots, ints, node, c)])
            if child < 0:
                child = np.int64(used)
                used += 1
                add_child(tree, child, node, c, task)
            if ints[child, BEAM_INDEX] < 0:
                candidates.scratch[m] = am + logs[child, WEIGHTED] + logs[child, LOOKAHEAD]
                m += 1
    if m < options.beam:
        return used, cutoff
    return used, max(cutoff, kth_largest(candidates.scratch, m, options.beam, candidates.buckets))


@inner_kernel
def select_beam(tree, beam, candidates, used, n, m, best, task):
    """Prune the candidates to the next beam; ties keep candidate order. Returns nodes and hypotheses in use."""
    W, scores = task.options.beam, candidates.scores
    for i in range(n):
        tree.ints[beam.node[i], BEAM_INDEX] = -1
    cutoff, kth, ties = best - task.options.beam_gap, np.inf, W
    if n + m > W:
        for i in range(n + m):
            candidates.scratch[i] = scores[i]
        kth = kth_largest(candidates.scratch, n + m, W, candidates.buckets)
        cutoff = max(cutoff, kth)
        for i in range(n + m):
            ties -= scores[i] > kth
    q = 0
    for i in range(n + m):
        if scores[i] < cutoff or (scores[i] == kth and ties == 0):
            continue
        ties -= scores[i] == kth
        if i < n:
            node, blank, label = beam.node[i], candidates.kept_blank[i], candidates.kept_label[i]
            total = candidates.kept_total[i]
        else:
            node, blank, label = candidates.extended[i - n, 0], -np.inf, candidates.extended_logp[i - n]
            total = label
            if node < 0:
                node = np.int64(used)
                used += 1
                add_child(tree, node, candidates.extended[i - n, 1], candidates.extended[i - n, 2], task)
        beam.node[q], beam.blank[q], beam.label[q], beam.total[q] = node, blank, label, total
        q += 1
    return used, q
