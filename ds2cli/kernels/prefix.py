"""The prefix tree of a beam search: what the search is given, and the nodes it writes.

A node is a text: its parent's, and one symbol more. It knows what the language model and the wished-for phrases say of
it, once and for all, however often paths come back to it. Letters: V symbols with blank 0, W beams, H words of history.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ds2cli.kernels._jit import kernel, leaf
from ds2cli.kernels.ngram import NgramTables, ngram_begin, ngram_end, ngram_score
from ds2cli.kernels.phrases import Phrases, close, follow, has_phrases
from ds2cli.kernels.spelling import ROOT, lookahead_score, word_at, write_in_list
from ds2cli.kernels.trie import trie_child

NO_LM, WORD_LM, CHAR_LM = 0, 1, 2
NO_SPACE = -2
"""The index of the space where the alphabet has none."""
ROUNDING = 1e-3
"""Nats that a score may lie above its bound: the two add up in different orders, and a model does so in float32."""


class Lexicon(NamedTuple):
    """How symbols spell the units of the language model.

    kind: NO_LM, WORD_LM or CHAR_LM.
    first, symbol: the words as a trie, see kernels/trie.py.
    word: (nodes,) int64, what the model knows the word as that ends at a node, -1 where none does.
    unit: (V,) int64, the unit of a symbol in a character model.
    ahead: (nodes,) float64, the best unigram log-probability of the words at and below a node.
    stranger: that of the unknown word.
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
    unknown: nats added for an unknown word; -inf forbids it.
    unknown_letter: nats added for each of its letters after the longest prefix found in a known word.
    sentence_end: score the end of the sentence too.
    space: index of the space symbol, or NO_SPACE.
    beam: hypotheses kept per step.  beam_gap: hypotheses this far behind the best are dropped (nats).
    prune_mass, prune_top: per step only the fewest symbols that together have this probability, and at most so many,
    are tried (section 7.3).  prune_logp: none below this log-probability (nats).
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
    """All that stays the same while a search goes on."""

    lm: NgramTables
    lexicon: Lexicon
    phrases: Phrases
    options: BeamOptions


class Tree(NamedTuple):
    """The nodes, as rows, and how to find them.

    ints: whole numbers, by the names below.  logs: nats.  history, backoff: states of the model.
    places: hash table of nodes by parent and symbol, -1 empty; its size is a power of two, twice the nodes or more.
    """

    ints: NDArray[np.int32]
    logs: NDArray[np.float64]
    history: NDArray[np.int32]
    backoff: NDArray[np.float32]
    places: NDArray[np.int32]


PARENT, SYMBOL, SLOT, TRIE, PHRASE = range(5)
LM, WEIGHTED, LOOKAHEAD = range(3)


@kernel
def empty_tree(size, H):
    """Room for `size` nodes with H words of history."""
    places = 4
    while places < 2 * size:
        places *= 2
    return Tree(
        np.empty((size, 5), np.int32),
        np.empty((size, 3)),
        np.empty((size, H), np.int32),
        np.empty((size, H), np.float32),
        np.full(places, -1, np.int32),
    )


@kernel
def new_tree(task, size):
    """A tree of the empty text, with room for `size` nodes."""
    tree = empty_tree(size, task.lm.order - 1)
    tree.ints[ROOT, PARENT] = tree.ints[ROOT, SLOT] = -1
    tree.ints[ROOT, SYMBOL] = -1 if task.options.space == NO_SPACE else task.options.space
    tree.ints[ROOT, TRIE] = ROOT
    tree.ints[ROOT, PHRASE] = task.phrases.begin
    for k in range(3):
        tree.logs[ROOT, k] = 0.0
    ngram_begin(task.lm, tree.history, tree.backoff, ROOT)
    return tree


@leaf
def place_of(places, ints, x, symbol):
    """Where in `places` the node of text x with `symbol` after it is, or belongs."""
    mask = len(places) - 1
    mixed = (x << 20 ^ symbol) * -7046029254386353131
    at = (mixed ^ (mixed >> 32)) & mask
    while True:
        y = places[at]
        if y < 0 or (ints[y, PARENT] == x and ints[y, SYMBOL] == symbol):
            return at
        at = (at + 1) & mask


@leaf
def max_symbol_gain(task):
    """How far the score of a text, look-ahead and all, may lie above its log p_ctc and its parent's WEIGHTED (nats).

    A model only takes away: its probabilities are at most 1.
    """
    options = task.options
    if options.alpha < 0.0 or options.unknown_letter > 0.0:
        return np.inf
    return max(options.beta, 0.0) + max(options.unknown, 0.0) + task.phrases.most + ROUNDING


@leaf
def add_child(tree, y, x, symbol, task):
    """Make row y the node of text x with `symbol` after it, and judge it."""
    ints, logs, lexicon, options = tree.ints, tree.logs, task.lexicon, task.options
    ints[y, PARENT], ints[y, SYMBOL], ints[y, SLOT], ints[y, PHRASE] = x, symbol, -1, 0
    tree.places[place_of(tree.places, ints, x, symbol)] = y
    logp, bonus, lookahead, trie, unit = 0.0, 0.0, 0.0, np.int64(ROOT), np.int64(-1)
    if lexicon.kind == WORD_LM and symbol == options.space:
        unit, bonus = word_at(np.int64(ints[x, TRIE]), task.lm.unk, lexicon, options)
    elif lexicon.kind == WORD_LM:
        trie = trie_child(lexicon.first, lexicon.symbol, np.int64(ints[x, TRIE]), symbol)
        lookahead = lookahead_score(trie, lexicon, options)
    elif lexicon.kind == CHAR_LM:
        unit = lexicon.unit[symbol]
        bonus = options.beta + (options.unknown if unit == task.lm.unk else 0.0)
        if lexicon.closed:
            trie, barred = write_in_list(lexicon, options, np.int64(ints[x, TRIE]), symbol)
            bonus += barred
    if unit >= 0:
        logp = ngram_score(task.lm, tree.history, tree.backoff, x, unit, y)
    else:
        for k in range(tree.history.shape[1]):
            tree.history[y, k] = tree.history[x, k]
            tree.backoff[y, k] = tree.backoff[x, k]
    gain = 0.0
    if has_phrases(task.phrases):
        ints[y, PHRASE], gain = follow(task.phrases, np.int64(ints[x, PHRASE]), symbol)
    ints[y, TRIE] = trie
    logs[y, LM] = logs[x, LM] + logp
    logs[y, WEIGHTED] = logs[x, WEIGHTED] + options.alpha * logp + bonus + gain
    logs[y, LOOKAHEAD] = lookahead


@leaf
def finish(tree, x, scratch, task):
    """log p_lm of text x as a whole, and all that equation 12 adds to log p_ctc for it (nats). scratch: a free row."""
    total, weighted, last = tree.logs[x, LM], tree.logs[x, WEIGHTED], x
    options = task.options
    if task.lexicon.kind == WORD_LM and x != ROOT and tree.ints[x, SYMBOL] != options.space:
        word, bonus = word_at(np.int64(tree.ints[x, TRIE]), task.lm.unk, task.lexicon, options)
        logp = ngram_score(task.lm, tree.history, tree.backoff, x, word, scratch)
        total += logp
        weighted += options.alpha * logp + bonus
        last = scratch
    if task.lexicon.kind == CHAR_LM and task.lexicon.closed and x != ROOT:
        # the space behind the last word
        weighted += write_in_list(task.lexicon, options, np.int64(tree.ints[x, TRIE]), options.space)[1]
    if task.lexicon.kind != NO_LM and options.sentence_end:
        logp = ngram_end(task.lm, tree.history, tree.backoff, last)
        total += logp
        weighted += options.alpha * logp
    if has_phrases(task.phrases) and (x == ROOT or tree.ints[x, SYMBOL] != options.space):
        weighted += close(task.phrases, np.int64(tree.ints[x, PHRASE]))
    return total, weighted


@leaf
def finished(tree, x, scratch, task):
    """Text x, or where it ends in a word that may not be written, the text before this word."""
    if finish(tree, x, scratch, task)[1] > -np.inf:
        return x
    while x != ROOT and tree.ints[x, SYMBOL] != task.options.space:
        x = np.int64(tree.ints[x, PARENT])
    return np.int64(tree.ints[x, PARENT]) if x != ROOT else x


@kernel
def with_room(tree, used, size):
    """The same tree with room for `size` nodes."""
    more = empty_tree(size, tree.history.shape[1])
    for x in range(used):
        more.ints[x], more.logs[x] = tree.ints[x], tree.logs[x]
        more.history[x], more.backoff[x] = tree.history[x], tree.backoff[x]
        if x != ROOT:
            more.places[place_of(more.places, more.ints, np.int64(more.ints[x, PARENT]), more.ints[x, SYMBOL])] = x
    return more


@kernel
def keep_ancestors(tree, used, node, n):
    """Forget every text that none of the n beams `node` goes back to; returns how many stay, renumbered."""
    ints = tree.ints
    number = np.full(used, -1, np.int32)
    number[ROOT] = ROOT
    for i in range(n):
        x = node[i]
        while number[x] < 0:
            number[x] = 0
            x = np.int64(ints[x, PARENT])
    tree.places[:] = -1
    stay = 0
    for x in range(used):  # a parent comes before its children
        if number[x] < 0:
            continue
        y = number[x] = stay
        stay += 1
        if y != x:
            ints[y], tree.logs[y] = ints[x], tree.logs[x]
            tree.history[y], tree.backoff[y] = tree.history[x], tree.backoff[x]
        if x != ROOT:
            ints[y, PARENT] = number[ints[y, PARENT]]
            tree.places[place_of(tree.places, ints, np.int64(ints[y, PARENT]), ints[y, SYMBOL])] = y
    for i in range(n):
        node[i] = number[node[i]]
    return stay


@leaf
def prefix_length(ints, x):
    """How many symbols the text x has."""
    length = 0
    while x != ROOT:
        length += 1
        x = np.int64(ints[x, PARENT])
    return length
