"""The prefix tree of a beam search: the search's inputs, and the nodes it creates.

A node is a prefix of a text: its parent's prefix and one symbol more. It stores the prefix's scores by the language
model and the hotwords, computed once however many paths lead to it.

Notation: V symbols with blank 0, H words of history.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ds2cli.kernels._jit import inner_kernel, kernel
from ds2cli.kernels.hotwords import Hotwords, finish_hotwords, has_hotwords, step_hotwords
from ds2cli.kernels.ngram import NgramTables, ngram_begin, ngram_end, ngram_score
from ds2cli.kernels.spelling import ROOT, finish_word, lookahead_score, step_closed_lexicon
from ds2cli.kernels.trie import trie_child

NO_LM, WORD_LM, CHAR_LM = 0, 1, 2
NO_SPACE = -2
"""The index of the space in an alphabet without one."""
ROUNDING = 1e-3
"""Nats by which a score may exceed its bound: the terms are summed in another order, partly in float32."""


class Lexicon(NamedTuple):
    """How symbols spell the units of the language model.

    kind: NO_LM, WORD_LM or CHAR_LM.
    first, symbol: the words as a trie, see kernels/trie.py.
    word: (nodes,) int64, the language model's id of the word that ends at a node, -1 where none does.
    unit: (V,) int64, the id of each symbol in a character model.
    lookahead: (nodes,) float64, the best unigram log-probability (nats) of the words at and below a node.
    unk_logprob: the unigram log-probability of the unknown word (nats).
    closed: only words of the trie may be written.
    """

    kind: int
    first: NDArray[np.int32]
    symbol: NDArray[np.int32]
    word: NDArray[np.int64]
    unit: NDArray[np.int64]
    lookahead: NDArray[np.float64]
    unk_logprob: float
    closed: bool


class BeamOptions(NamedTuple):
    """Search weights and pruning limits.

    alpha, beta: weights of equation 12 (with a character model beta counts characters).
    unknown: nats added per unknown word; -inf forbids them.
    unknown_letter: nats added per letter of an unknown word after its longest prefix found in a known word.
    sentence_end: score the end of the sentence too.
    space: index of the space symbol, or NO_SPACE.
    beam: hypotheses kept per step.  beam_gap: hypotheses this far behind the best are pruned (nats).
    prune_mass, prune_top: symbols tried per step: the fewest with this total probability, at most prune_top of them
    (section 7.3).  prune_logp: symbols below this log-probability are not tried (nats).
    """

    alpha: float
    beta: float
    unknown: float
    unknown_letter: float
    sentence_end: bool
    space: int
    beam: int
    beam_gap: float
    prune_mass: float
    prune_top: int
    prune_logp: float


class Task(NamedTuple):
    """All inputs of a search but the emission; they do not change while it runs."""

    lm: NgramTables
    lexicon: Lexicon
    hotwords: Hotwords
    options: BeamOptions


class Tree(NamedTuple):
    """The nodes, one per row, and a hash table to find them.

    ints: (rows, 5), columns PARENT, SYMBOL, BEAM_INDEX (the hypothesis at this node, or -1), TRIE (the lexicon node of
    the unfinished word) and HOTWORD (automaton state).
    logs: (rows, 3), nats, columns LM (log p_lm), WEIGHTED (all that is added to log p_ctc) and LOOKAHEAD.
    history, backoff: (rows, H), states of the language model.
    slots: hash table from parent and symbol to node, -1 where empty; a power of two, at least twice the rows.
    """

    ints: NDArray[np.int32]
    logs: NDArray[np.float64]
    history: NDArray[np.int32]
    backoff: NDArray[np.float32]
    slots: NDArray[np.int32]


PARENT, SYMBOL, BEAM_INDEX, TRIE, HOTWORD = range(5)
LM, WEIGHTED, LOOKAHEAD = range(3)


@kernel
def allocate_tree(size, H):
    """An uninitialized tree with room for `size` nodes with H words of history."""
    slots = 4
    while slots < 2 * size:
        slots *= 2
    return Tree(
        np.empty((size, 5), np.int32),
        np.empty((size, 3)),
        np.empty((size, H), np.int32),
        np.empty((size, H), np.float32),
        np.full(slots, -1, np.int32),
    )


@kernel
def new_tree(task, size):
    """A tree of the empty text, with room for `size` nodes."""
    tree = allocate_tree(size, task.lm.order - 1)
    tree.ints[ROOT, PARENT] = tree.ints[ROOT, BEAM_INDEX] = -1
    tree.ints[ROOT, SYMBOL] = -1 if task.options.space == NO_SPACE else task.options.space
    tree.ints[ROOT, TRIE] = ROOT
    tree.ints[ROOT, HOTWORD] = task.hotwords.start
    for k in range(3):
        tree.logs[ROOT, k] = 0.0
    ngram_begin(task.lm, tree.history, tree.backoff, ROOT)
    return tree


@inner_kernel
def hash_slot(slots, ints, node, symbol):
    """The hash slot of the child of `node` by `symbol`, whether it is filled or not."""
    mask = len(slots) - 1
    mixed = (node << 20 ^ symbol) * -7046029254386353131
    slot = (mixed ^ (mixed >> 32)) & mask
    while True:
        child = slots[slot]
        if child < 0 or (ints[child, PARENT] == node and ints[child, SYMBOL] == symbol):
            return slot
        slot = (slot + 1) & mask


@inner_kernel
def max_symbol_gain(task):
    """Upper bound of a prefix's score, look-ahead included, less its log p_ctc and its parent's WEIGHTED (nats).

    The language model's terms are never positive: its probabilities are at most 1.
    """
    options = task.options
    if options.alpha < 0.0 or options.unknown_letter > 0.0:
        return np.inf
    return max(options.beta, 0.0) + max(options.unknown, 0.0) + task.hotwords.max_gain + ROUNDING


@inner_kernel
def add_child(tree, child, node, symbol, task):
    """Fill row `child` with the child of `node` by `symbol`, score it, and enter it in the hash table."""
    ints, logs, lexicon, options = tree.ints, tree.logs, task.lexicon, task.options
    ints[child, PARENT], ints[child, SYMBOL], ints[child, BEAM_INDEX], ints[child, HOTWORD] = node, symbol, -1, 0
    tree.slots[hash_slot(tree.slots, ints, node, symbol)] = child
    logp, bonus, lookahead, trie, unit = 0.0, 0.0, 0.0, np.int64(ROOT), np.int64(-1)
    if lexicon.kind == WORD_LM and symbol == options.space:
        unit, bonus = finish_word(np.int64(ints[node, TRIE]), task.lm.unk, lexicon, options)
    elif lexicon.kind == WORD_LM:
        trie = trie_child(lexicon.first, lexicon.symbol, np.int64(ints[node, TRIE]), symbol)
        lookahead = lookahead_score(trie, lexicon, options)
    elif lexicon.kind == CHAR_LM:
        unit = lexicon.unit[symbol]
        bonus = options.beta + (options.unknown if unit == task.lm.unk else 0.0)
        if lexicon.closed:
            trie, forbidden = step_closed_lexicon(lexicon, options, np.int64(ints[node, TRIE]), symbol)
            bonus += forbidden
    if unit >= 0:
        logp = ngram_score(task.lm, tree.history, tree.backoff, node, unit, child)
    else:
        for k in range(tree.history.shape[1]):
            tree.history[child, k] = tree.history[node, k]
            tree.backoff[child, k] = tree.backoff[node, k]
    gain = 0.0
    if has_hotwords(task.hotwords):
        ints[child, HOTWORD], gain = step_hotwords(task.hotwords, np.int64(ints[node, HOTWORD]), symbol)
    ints[child, TRIE] = trie
    logs[child, LM] = logs[node, LM] + logp
    logs[child, WEIGHTED] = logs[node, WEIGHTED] + options.alpha * logp + bonus + gain
    logs[child, LOOKAHEAD] = lookahead


@inner_kernel
def finish(tree, node, scratch, task):
    """log p_lm of a complete text, and all that equation 12 adds to its log p_ctc (nats).  scratch: a free row."""
    total, weighted, last = tree.logs[node, LM], tree.logs[node, WEIGHTED], node
    options = task.options
    if task.lexicon.kind == WORD_LM and node != ROOT and tree.ints[node, SYMBOL] != options.space:
        word, bonus = finish_word(np.int64(tree.ints[node, TRIE]), task.lm.unk, task.lexicon, options)
        logp = ngram_score(task.lm, tree.history, tree.backoff, node, word, scratch)
        total += logp
        weighted += options.alpha * logp + bonus
        last = scratch
    if task.lexicon.kind == CHAR_LM and task.lexicon.closed and node != ROOT:
        # as if a space followed the last word
        weighted += step_closed_lexicon(task.lexicon, options, np.int64(tree.ints[node, TRIE]), options.space)[1]
    if task.lexicon.kind != NO_LM and options.sentence_end:
        logp = ngram_end(task.lm, tree.history, tree.backoff, last)
        total += logp
        weighted += options.alpha * logp
    if has_hotwords(task.hotwords) and (node == ROOT or tree.ints[node, SYMBOL] != options.space):
        weighted += finish_hotwords(task.hotwords, np.int64(tree.ints[node, HOTWORD]))
    return total, weighted


@inner_kernel
def drop_forbidden_word(tree, node, scratch, task):
    """The node, or where its last word is forbidden by the lexicon, the node before this word and its space."""
    if finish(tree, node, scratch, task)[1] > -np.inf:
        return node
    while node != ROOT and tree.ints[node, SYMBOL] != task.options.space:
        node = np.int64(tree.ints[node, PARENT])
    return np.int64(tree.ints[node, PARENT]) if node != ROOT else node


@kernel
def grow_tree(tree, used, size):
    """A copy of the tree with room for `size` nodes.  used: nodes in use."""
    grown = allocate_tree(size, tree.history.shape[1])
    for x in range(used):
        grown.ints[x], grown.logs[x] = tree.ints[x], tree.logs[x]
        grown.history[x], grown.backoff[x] = tree.history[x], tree.backoff[x]
        if x != ROOT:
            grown.slots[hash_slot(grown.slots, grown.ints, np.int64(grown.ints[x, PARENT]), grown.ints[x, SYMBOL])] = x
    return grown


@kernel
def keep_ancestors(tree, used, node, n):
    """Remove every node that is no ancestor of the n hypotheses `node`; returns how many remain, renumbered."""
    ints = tree.ints
    number = np.full(used, -1, np.int32)
    number[ROOT] = ROOT
    for i in range(n):
        x = node[i]
        while number[x] < 0:
            number[x] = 0
            x = np.int64(ints[x, PARENT])
    tree.slots[:] = -1
    kept = 0
    for x in range(used):  # a parent precedes its children
        if number[x] < 0:
            continue
        y = number[x] = kept
        kept += 1
        if y != x:
            ints[y], tree.logs[y] = ints[x], tree.logs[x]
            tree.history[y], tree.backoff[y] = tree.history[x], tree.backoff[x]
        if x != ROOT:
            ints[y, PARENT] = number[ints[y, PARENT]]
            tree.slots[hash_slot(tree.slots, ints, np.int64(ints[y, PARENT]), ints[y, SYMBOL])] = y
    for i in range(n):
        node[i] = number[node[i]]
    return kept


@inner_kernel
def prefix_length(ints, node):
    """The number of symbols of a prefix."""
    length = 0
    while node != ROOT:
        length += 1
        node = np.int64(ints[node, PARENT])
    return length
