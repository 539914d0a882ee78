"""Queries of a backoff n-gram model from compiled code, on the `probing` layout of KenLM (Heafield 2011).

The tables of a model are those of KenLM's binary file, byte by byte: a file is mapped, never converted, and a model
that was read from ARPA is laid out the same way in memory. Single words lie in an array, longer n-grams in
a hash table for each order, with linear probing, under a 64-bit key that is chained from the last word back to the
first. So one walk from the word to ever longer contexts finds the longest n-gram. Two signs say where the walk and the
state may end: a negative probability that no n-gram is longer by a word in front, a backoff of -0.0 that none is longer
by a word behind.

A state is a row of two arrays that the caller owns, KenLM's own state: `history` (rows, H) int32, the words that still
matter, the last one first and -1 beyond them; `backoff` (rows, H) float32, log10 weights of the contexts of 1, 2, … of
those words, 0 beyond. H = max(order - 1, 1). Equal histories score every future alike, so paths may merge on them.

Letters: V words, D words of 32 bits in the tables, H as above, L words of a sentence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ds2cli.kernels._jit import kernel, leaf

LN10 = math.log(10.0)
SIGN = 0x80000000
"""The sign bit, and so -0.0, of a float32."""
VOCABULARY = 0
"""Index of the table of words in `starts` and `buckets`; n is that of the n-grams."""
_CONTEXT, _WORD, _HALF = np.uint64(8978948897894561157), np.uint64(17894857484156487943), np.uint64(32)


class NgramTables(NamedTuple):
    """A model as plain arrays, read-only; one type for numba whatever the order and the source.

    data: (D,) uint32, header and tables of a KenLM binary.  floats: (D,) float32, the same memory.
    starts: (order + 1,) int64, where in data the vocabulary and the n-grams of order 1, 2, … begin.
    buckets: (order + 1,) uint64, their hash buckets; V for order 1, which has none.
    order: that of the tables, 2 at the least.  unk, bos, eos: words.
    """

    data: NDArray[np.uint32]
    floats: NDArray[np.float32]
    starts: NDArray[np.int64]
    buckets: NDArray[np.uint64]
    order: int
    unk: int
    bos: int
    eos: int

    @property
    def width(self) -> int:
        """H, the words of a state."""
        return self.order - 1


@leaf
def longer_key(key, word):
    """The key of an n-gram with `word` in front; that of a single word is its number."""
    return (np.uint64(key) * _CONTEXT) ^ (np.uint64(np.int64(word) + 1) * _WORD)


@leaf
def find_entry(data, start, buckets, size, key):
    """Where in data the entry of `key` begins, or -1. Entries take `size` words, key first; an empty bucket has key 0.

    buckets, key: uint64.
    """
    at = start + size * np.int64(key % buckets)
    end = start + size * np.int64(buckets)
    while True:
        found = np.uint64(data[at]) | (np.uint64(data[at + 1]) << _HALF)
        if found == key:
            return at
        if found == 0:
            return np.int64(-1)
        at += size
        if at == end:
            at = start


@leaf
def ngram_begin(lm, history, backoff, row):
    """Make `row` the state after <s>."""
    for i in range(history.shape[1]):
        history[row, i] = -1
        backoff[row, i] = 0.0
    history[row, 0] = lm.bos
    backoff[row, 0] = lm.floats[lm.starts[1] + 2 * lm.bos + 1]


@leaf
def ngram_log10(lm, history, backoff, source, word, target):
    """log10 p(word | row `source`) as float32; writes the state after it to row `target`.

    target: another row than `source`, or -1 for the score alone.  word: in 0..V-1 (out of vocabulary: lm.unk).
    The float32 sum runs in KenLM's order, the n-gram first and then backoffs from the shortest context up.
    """
    data, floats = lm.data, lm.floats
    at = lm.starts[1] + 2 * np.int64(word)
    # the sign of a probability is no part of it
    total = -abs(floats[at])
    if target >= 0:
        history[target, 0] = word
        backoff[target, 0] = floats[at + 1]
    keep = 1 if data[at + 1] != SIGN else 0
    matched = 1
    key = np.uint64(word)
    last = lm.order - 2
    k = 0
    while data[at] & SIGN == 0 and history[source, k] >= 0:
        key = longer_key(key, history[source, k])
        if k == last:
            at = find_entry(data, lm.starts[k + 2], lm.buckets[k + 2], 3, key)
            if at >= 0:
                total = floats[at + 2]
                matched = k + 2
            break
        at = find_entry(data, lm.starts[k + 2], lm.buckets[k + 2], 4, key) + 2
        if at < 2:
            break
        total = -abs(floats[at])
        matched = k + 2
        k += 1
        if target >= 0:
            backoff[target, k] = floats[at + 1]
        if data[at + 1] != SIGN:
            keep = matched
    for i in range(matched - 1, last + 1):
        if history[source, i] < 0:
            break
        total += backoff[source, i]
    if target >= 0:
        for i in range(1, keep):
            history[target, i] = history[source, i - 1]
        for i in range(keep, last + 1):
            history[target, i] = -1
            backoff[target, i] = 0.0
    return total


@leaf
def ngram_score(lm, history, backoff, source, word, target):
    """Natural log p(word | row `source`) as float64, and the state after it in row `target`; see `ngram_log10`."""
    return LN10 * np.float64(ngram_log10(lm, history, backoff, source, word, target))


@leaf
def ngram_end(lm, history, backoff, source):
    """Natural log p(</s> | row `source`) as float64: what a sentence pays for ending here."""
    return LN10 * np.float64(ngram_log10(lm, history, backoff, source, lm.eos, -1))


@kernel
def ngram_sentence(lm, words, out):
    """Score `words` (L,) as a whole sentence: fills `out` (L + 1,) float32 with log10 p of each word and of </s>."""
    history = np.empty((2, lm.order - 1), np.int32)
    backoff = np.empty((2, lm.order - 1), np.float32)
    ngram_begin(lm, history, backoff, 0)
    for i in range(len(words)):
        out[i] = ngram_log10(lm, history, backoff, i & 1, words[i], 1 - (i & 1))
    out[len(words)] = ngram_log10(lm, history, backoff, len(words) & 1, lm.eos, 1 - (len(words) & 1))


Listed = Mapping[tuple[int, ...], tuple[float, float]]
"""n-gram → (log10 probability, log10 backoff)."""


def ngram_log10_ref(listed: Listed, history: Sequence[int], word: int) -> float:
    """log10 p(word | history), the definition: use the n-gram if it is listed, else back off to a shorter history.

    listed: every n-gram of the model as word tuples; all unigrams must be there.
    """
    history = tuple(history)
    if (*history, word) in listed:
        return listed[(*history, word)][0]
    return listed.get(history, (0.0, 0.0))[1] + ngram_log10_ref(listed, history[1:], word)
