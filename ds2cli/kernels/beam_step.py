"""One step of the prefix beam search: see `ds2cli.kernels.beam`. W hypotheses, V symbols with blank 0."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ds2cli.kernels._jit import leaf
from ds2cli.kernels.logspace import log_add
from ds2cli.kernels.phrases import has_phrases
from ds2cli.kernels.pick import kth_largest, pick_symbols
from ds2cli.kernels.prefix import (
    CHAR_LM,
    LOOKAHEAD,
    PARENT,
    SLOT,
    SYMBOL,
    TRIE,
    WEIGHTED,
    WORD_LM,
    Tree,
    add_child,
    max_symbol_gain,
    place_of,
)
from ds2cli.kernels.spelling import ROOT, lookahead_score
from ds2cli.kernels.trie import trie_child

MANY = 2
"""Candidates a place in the beam from which on it is worth while to ask the model about the likeliest first."""


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
    scores, scratch: (W + W * top,) float64, to rank them.  picked: (V,) int64, symbols.  tried: (V,), buckets:
    scratch.
    """

    stay_blank: NDArray[np.float64]
    stay_label: NDArray[np.float64]
    total: NDArray[np.float64]
    grown: NDArray[np.int64]
    grown_am: NDArray[np.float64]
    scores: NDArray[np.float64]
    scratch: NDArray[np.float64]
    picked: NDArray[np.int64]
    tried: NDArray[np.bool_]
    buckets: NDArray[np.int64]


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
        best, least = stay(row, tree, beam, made, n, tried, task)
        used, m, best = grow(row, tree, beam, made, used, n, tried, best, least, task)
        used, n = choose(tree, beam, made, used, n, m, best, task)
    beam.counts[0], beam.counts[1] = used, n
    return len(log_probs), 0


@leaf
def stay(row, tree, beam, made, n, tried, task):
    """The n hypotheses after a step, with what merges into them; returns the best score and a full beam's least."""
    ints, logs, space = tree.ints, tree.logs, task.options.space
    best, least = -np.inf, np.inf if n == task.options.beam else -np.inf
    for i in range(n):
        ints[beam.node[i], SLOT] = i
    for j in range(tried):
        made.tried[made.picked[j]] = True
    for i in range(n):
        x, total = beam.node[i], beam.total[i]
        symbol, parent = ints[x, SYMBOL], ints[x, PARENT]
        blank, label = total + row[0], -np.inf
        if symbol >= 0:
            label = (total if symbol == space else beam.label[i]) + row[symbol]
            k = ints[parent, SLOT] if x != ROOT else -1
            if k >= 0 and made.tried[symbol]:
                before = beam.blank[k] if symbol == ints[parent, SYMBOL] else beam.total[k]
                label = log_add(label, before + row[symbol])
        made.stay_blank[i], made.stay_label[i], made.total[i] = blank, label, log_add(blank, label)
        made.scores[i] = made.total[i] + (logs[x, WEIGHTED] + logs[x, LOOKAHEAD])
        best, least = max(best, made.scores[i]), min(least, made.scores[i])
    for j in range(tried):
        made.tried[made.picked[j]] = False
    return best, least


@leaf
def grow(row, tree, beam, made, used, n, tried, best, least, task):
    """Each hypothesis with each symbol; returns nodes in use, how many grew, and the best score."""
    ints, logs, lexicon, options = tree.ints, tree.logs, task.lexicon, task.options
    # a text that a model or a phrase must be asked about is written down at once, so that it is asked once only
    always_ask = lexicon.kind == CHAR_LM or has_phrases(task.phrases)
    most, m = max_symbol_gain(task), 0
    if always_ask and n * tried > MANY * options.beam:
        used, least = score_most_promising(
            row, tree, beam, made, used, n, tried, max(best - options.beam_gap, least), most, task
        )
    for i in range(n):
        x = beam.node[i]
        last, weighted = ints[x, SYMBOL], logs[x, WEIGHTED]
        for j in range(tried):
            c = made.picked[j]
            if c == last and c == options.space:
                continue
            am = (beam.blank[i] if c == last else beam.total[i]) + row[c]
            if am + weighted + most < max(best - options.beam_gap, least):
                continue
            y = np.int64(tree.places[place_of(tree.places, ints, x, c)])
            if y < 0 and (always_ask or (lexicon.kind == WORD_LM and c == options.space)):
                y = np.int64(used)
                used += 1
                add_child(tree, y, x, c, task)
            if y >= 0:
                if ints[y, SLOT] >= 0:
                    continue
                score = am + logs[y, WEIGHTED] + logs[y, LOOKAHEAD]
            elif lexicon.kind == WORD_LM:
                trie = trie_child(lexicon.first, lexicon.symbol, np.int64(ints[x, TRIE]), c)
                score = am + weighted + lookahead_score(trie, lexicon, options)
            else:
                score = am + weighted
            if score == -np.inf or score < max(best - options.beam_gap, least):
                continue
            best = max(best, score)
            made.grown[m, 0], made.grown[m, 1], made.grown[m, 2] = y, x, c
            made.grown_am[m], made.scores[n + m] = am, score
            m += 1
    return used, m, best


@leaf
def score_most_promising(row, tree, beam, made, used, n, tried, least, most, task):
    """Judge the texts that can get furthest, as many as the beam is wide; returns nodes in use, and the score that so
    many reach that the rest need not be asked about below it.
    """
    ints, logs, options, m = tree.ints, tree.logs, task.options, 0
    for i in range(n):
        x = beam.node[i]
        last, weighted = ints[x, SYMBOL], logs[x, WEIGHTED]
        for j in range(tried):
            c = made.picked[j]
            hope = (beam.blank[i] if c == last else beam.total[i]) + row[c] + weighted + most
            if hope >= least and not (c == last and c == options.space):
                made.scratch[m] = hope
                m += 1
    if m <= MANY * options.beam:
        return used, least
    enough = kth_largest(made.scratch, m, options.beam, made.buckets)
    for i in range(n):
        made.scratch[i] = made.scores[i]
    m = n
    for i in range(n):
        x = beam.node[i]
        last, weighted = ints[x, SYMBOL], logs[x, WEIGHTED]
        for j in range(tried):
            c = made.picked[j]
            am = (beam.blank[i] if c == last else beam.total[i]) + row[c]
            if am + weighted + most < enough or (c == last and c == options.space):
                continue
            y = np.int64(tree.places[place_of(tree.places, ints, x, c)])
            if y < 0:
                y = np.int64(used)
                used += 1
                add_child(tree, y, x, c, task)
            if ints[y, SLOT] < 0:
                made.scratch[m] = am + logs[y, WEIGHTED] + logs[y, LOOKAHEAD]
                m += 1
    return used, max(least, kth_largest(made.scratch, m, options.beam, made.buckets)) if m >= options.beam else least


@leaf
def choose(tree, beam, made, used, n, m, best, task):
    """Make the best candidates the beam, those found earlier among equals; returns nodes and hypotheses in use."""
    W, scores = task.options.beam, made.scores
    for i in range(n):
        tree.ints[beam.node[i], SLOT] = -1
    bound, worst, ties = best - task.options.beam_gap, np.inf, W
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
                add_child(tree, x, made.grown[i - n, 1], made.grown[i - n, 2], task)
        beam.node[q], beam.blank[q], beam.label[q], beam.total[q] = x, blank, label, total
        q += 1
    return used, q
