"""Queries of a back-off n-gram model from compiled code, on KenLM's `probing` layout (Heafield 2011).

The tables are those of KenLM's binary file, byte for byte: a file is mapped, never converted, and a model read from
ARPA is laid out the same way in memory. Unigrams are an array; the n-grams of each higher order are a hash table with
linear probing, under a 64-bit key chained from the last word back to the first. So one walk from the word to ever
longer contexts finds the longest n-gram. Two sign bits end the walk and shorten the state: a negative probability means
that no n-gram extends this one to the left, a back-off of -0.0 that none extends it to the right.

A state is a row of two arrays that the caller owns, the same as KenLM's: `history` (rows, H) int32, the words that
still matter, last word first, then -1; `backoff` (rows, H) float32, log10 weights of the contexts of 1, 2, … of those
words, then 0. H = max(order - 1, 1). States with equal histories score all continuations alike, so paths may merge.

Notation: V words, D words of 32 bits in the tables, H as above, L words of a sentence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ds2cli.kernels._jit import inner_kernel, kernel

LN10 = math.log(10.0)
SIGN = 0x80000000
"""The sign bit of a float32, which is also -0.0."""
VOCABULARY = 0
"""Index of the vocabulary table in `starts` and `buckets`; index n is the table of the n-grams."""
_CONTEXT, _WORD, _HALF = np.uint64(8978948897894561157), np.uint64(17894857484156487943), np.uint64(32)


class NgramTables(NamedTuple):
    """A model as plain read-only arrays: one type for numba, whatever the order and the source.

    data: (D,) uint32, header and tables of a KenLM binary file.  floats: (D,) float32, the same memory.
    starts: (order + 1,) int64, offsets in data of the vocabulary and of the n-grams of order 1, 2, …
    buckets: (order + 1,) uint64, their numbers of hash buckets; V for order 1, which is an array.
    order: of the tables, at least 2.  unk, bos, eos: word ids.
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
        """H, the number of words in a state."""
        return self.order - 1


@inner_kernel
def longer_key(key, word):
    """The key of the n-gram extended to the left by `word`; the key of a unigram is its word id."""
    return (np.uint64(key) * _CONTEXT) ^ (np.uint64(np.int64(word) + 1) * _WORD)


@inner_kernel
def find_entry(data, start, buckets, size, key):
    """The offset in data of the entry of `key`, or -1.

    size: 32-bit words per entry, key first; an empty bucket has key 0.  buckets, key: uint64.
    """
    pos = start + size * np.int64(key % buckets)
    end = start + size * np.int64(buckets)
    while True:
        entry_key = np.uint64(data[pos]) | (np.uint64(data[pos + 1]) << _HALF)
        if entry_key == key:
            return pos
        if entry_key == 0:
            return np.int64(-1)
        pos += size
        if pos == end:
            pos = start


@inner_kernel
def ngram_begin(lm, history, backoff, row):
    """Make `row` the state after <s>."""
    for i in range(history.shape[1]):
        history[row, i] = -1
        backoff[row, i] = 0.0
    history[row, 0] = lm.bos
    backoff[row, 0] = lm.floats[lm.starts[1] + 2 * lm.bos + 1]


@inner_kernel
def ngram_log10(lm, history, backoff, source, word, target):
    """log10 p(word | state in row `source`) as float32; writes the next state to row `target`.

    target: a row other than `source`, or -1 for the score alone.  word: 0 to V - 1 (lm.unk if out of vocabulary).
    The float32 terms are summed in KenLM's order: the n-gram, then back-offs from the shortest context to the longest.
    """
    data, floats = lm.data, lm.floats
    pos = lm.starts[1] + 2 * np.int64(word)
    # the sign bit of a probability is a flag
    total = -abs(floats[pos])
    if target >= 0:
        history[target, 0] = word
        backoff[target, 0] = floats[pos + 1]
    keep = 1 if data[pos + 1] != SIGN else 0
    matched = 1
    key = np.uint64(word)
    last = lm.order - 2
    k = 0
    while data[pos] & SIGN == 0 and history[source, k] >= 0:
        key = longer_key(key, history[source, k])
        if k == last:
            pos = find_entry(data, lm.starts[k + 2], lm.buckets[k + 2], 3, key)
            if pos >= 0:
                total = floats[pos + 2]
                matched = k + 2
            break
        pos = find_entry(data, lm.starts[k + 2], lm.buckets[k + 2], 4, key) + 2
        if pos < 2:
            break
        total = -abs(floats[pos])
        matched = k + 2
        k += 1
        if target >= 0:
            backoff[target, k] = floats[pos + 1]
        if data[pos + 1] != SIGN:
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


@inner_kernel
def ngram_score(lm, history, backoff, source, word, target):
    """Natural log p(word | state in row `source`) as float64, next state to row `target`; see `ngram_log10`."""
    return LN10 * np.float64(ngram_log10(lm, history, backoff, source, word, target))


@inner_kernel
def ngram_end(lm, history, backoff, source):
    """Natural log p(</s> | state in row `source`) as float64."""
    return LN10 * np.float64(ngram_log10(lm, history, backoff, source, lm.eos, -1))


@kernel
def ngram_sentence(lm, words, out):
    """Score `words` (L,) as a complete sentence: fills `out` (L + 1,) float32 with log10 p of each word and of </s>."""
    history = np.empty((2, lm.order - 1), np.int32)
    backoff = np.empty((2, lm.order - 1), np.float32)
    ngram_begin(lm, history, backoff, 0)
    for i in range(len(words)):
        out[i] = ngram_log10(lm, history, backoff, i & 1, words[i], 1 - (i & 1))
    out[len(words)] = ngram_log10(lm, history, backoff, len(words) & 1, lm.eos, 1 - (len(words) & 1))


ListedNgrams = Mapping[tuple[int, ...], tuple[float, float]]
"""n-gram → (log10 probability, log10 back-off)."""


def ngram_log10_ref(listed: ListedNgrams, history: Sequence[int], word: int) -> float:
    """log10 p(word | history), by definition: of the n-gram if it is listed, otherwise back off to a shorter history.

    listed: every n-gram of the model as a tuple of word ids, all unigrams included.
    """
    history = tuple(history)
    if (*history, word) in listed:
        return listed[(*history, word)][0]
    return listed.get(history, (0.0, 0.0))[1] + ngram_log10_ref(listed, history[1:], word)
