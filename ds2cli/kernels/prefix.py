"""Parts of the prefix beam search: what it is given, the symbols of a step it tries, the nodes of its prefix tree.

Letters: T steps, V symbols with blank 0, W beams.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ds2cli.kernels._jit import kernel
from ds2cli.kernels.ngram import ngram_score

NO_LM, WORD_LM, CHAR_LM = 0, 1, 2
NO_SPACE = -2
"""The index of the space where the alphabet has none."""


class Lexicon(NamedTuple):
    """How symbols spell the units of the language model.

    kind: NO_LM, WORD_LM or CHAR_LM.
    first: (nodes + 1,) int32, the children of trie node n are the nodes first[n] to first[n + 1].
    symbol: (nodes,) int32, the symbol that leads to a node, in ascending order among its siblings.
    word: (nodes,) int64, the word that ends at a node, else the unknown word.
    unit: (V,) int64, the unit of a symbol in a character model.
    ahead: (nodes,) float64, the best unigram log-probability of the words at and below a node.
    stranger: that of the unknown word.
    """

    kind: int
    first: NDArray[np.int32]
    symbol: NDArray[np.int32]
    word: NDArray[np.int64]
    unit: NDArray[np.int64]
    ahead: NDArray[np.float64]
    stranger: float


class BeamOptions(NamedTuple):
    """What the search weighs and what it leaves out.

    alpha, beta: of equation 12 (beta counts characters in a character model).
    unknown: nats added for an unknown word.  end: score the end of the sentence too.
    space: its symbol, or NO_SPACE.  width: beams kept a step.
    gap: beams this far below the best are dropped (nats).
    mass, top: of a step only the fewest symbols that together have `mass`, and at most `top` of them, are tried
    (section 7.3); floor: and none below this log-probability.
    """

    alpha: float
    beta: float
    unknown: float
    end: bool
    space: int
    width: int
    gap: float
    mass: float
    top: int
    floor: float


# columns of a node: whole numbers, then log scores. STATE is the row of the language model's state before the word
# under way; the row of the node's own number is the state after its text, in a word model once it was ENDED
PARENT, SYMBOL, CHILD, SIBLING, SLOT, TRIE, STATE, ENDED = range(8)
LM, WEIGHTED, END_LM, END_WEIGHTED, AHEAD = range(5)
OFF_TRIE = -1
ROOT = 0


@kernel
def pick_symbols(row: NDArray[np.float32], options: BeamOptions, picked: NDArray[np.int64]) -> int:
    """Write the symbols of one step worth trying into `picked` and return how many; the blank takes part but is left
    out.

    `mass` and `top` hold each on its own and together; the order is by probability where one of them cuts. A symbol
    below (1 - mass) / V can never be needed: that bounds the sort to a handful of symbols.
    """
    V = len(row)
    top = min(options.top, V)
    floor = options.floor
    if options.mass < 1.0:
        floor = max(floor, np.log((1.0 - options.mass) / V))
    ordered = options.mass < 1.0 or top < V
    n = 0
    for c in range(V):
        if row[c] < floor or row[c] == -np.inf:
            continue
        if not ordered:
            picked[n] = c
            n += 1
            continue
        if n == top:
            if row[c] <= row[picked[n - 1]]:
                continue
            n -= 1
        j = n
        while j > 0 and row[picked[j - 1]] < row[c]:
            picked[j] = picked[j - 1]
            j -= 1
        picked[j] = c
        n += 1
    if options.mass < 1.0:
        total = 0.0
        for j in range(n):
            total += np.exp(row[picked[j]])
            if total >= options.mass:
                n = j + 1
                break
    kept = 0
    for j in range(n):
        if picked[j] != 0:
            picked[kept] = picked[j]
            kept += 1
    return kept


@kernel
def kth_largest(values, n, k):
    """The k-th largest of values[:n], 1 <= k <= n; reorders them (quickselect, median of three)."""
    low, high, want = 0, n - 1, k - 1
    while low < high:
        a, b, c = values[low], values[(low + high) // 2], values[high]
        pivot = max(min(a, b), min(max(a, b), c))
        i, j = low, high
        while i <= j:
            while values[i] > pivot:
                i += 1
            while values[j] < pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if want <= j:
            high = j
        elif want >= i:
            low = i
        else:
            break
    return values[want]


@kernel
def down(lexicon, node, symbol):
    """The trie node below `node` by `symbol`, or OFF_TRIE."""
    if node == OFF_TRIE:
        return OFF_TRIE
    low, high = np.int64(lexicon.first[node]), np.int64(lexicon.first[node + 1])
    end = high
    while low < high:
        middle = (low + high) >> 1
        if lexicon.symbol[middle] < symbol:
            low = middle + 1
        else:
            high = middle
    return low if low < end and lexicon.symbol[low] == symbol else OFF_TRIE


@kernel
def end_word(ints, logs, history, backoff, x, lm, lexicon, options):
    """Score the word that ends at node x, once a node; the state after it goes to row x."""
    if ints[x, ENDED]:
        return
    trie = ints[x, TRIE]
    word = lm.unk if trie == OFF_TRIE else lexicon.word[trie]
    logp = ngram_score(lm, history, backoff, ints[x, STATE], word, x)
    ints[x, ENDED] = 1
    logs[x, END_LM] = logp
    logs[x, END_WEIGHTED] = options.alpha * logp + options.beta + (options.unknown if word == lm.unk else 0.0)


@kernel
def look_ahead(lexicon, trie, options):
    """What a word under way is expected to add, so that it does not lead those that have paid for theirs already."""
    if trie == OFF_TRIE:
        return options.alpha * lexicon.stranger + options.beta + options.unknown
    return options.alpha * lexicon.ahead[trie] + options.beta


@kernel
def child(ints, count, x, symbol):
    """The node of prefix x with `symbol` after it, and the number of nodes; made when it was never there."""
    y = ints[x, CHILD]
    while y >= 0:
        if ints[y, SYMBOL] == symbol:
            return y, count
        y = ints[y, SIBLING]
    y = count
    ints[y, PARENT] = x
    ints[y, SYMBOL] = symbol
    ints[y, CHILD] = -1
    ints[y, SIBLING] = ints[x, CHILD]
    ints[x, CHILD] = y
    ints[y, SLOT] = -1
    ints[y, ENDED] = 0
    return y, count + 1


@kernel
def more_rows(rows):
    """The same rows of a table with room for twice as many."""
    more = np.zeros((2 * len(rows), rows.shape[1]), rows.dtype)
    for x in range(len(rows)):
        for column in range(rows.shape[1]):
            more[x, column] = rows[x, column]
    return more


@kernel
def prefix_length(ints, x):
    """How many symbols the prefix x has."""
    length = 0
    while x != ROOT:
        length += 1
        x = ints[x, PARENT]
    return length
