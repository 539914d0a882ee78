"""Builds KenLM's `probing` tables of an n-gram model, with the same bytes as its build_binary.

Notation as in ngram.py; C n-grams in a section.
"""

from __future__ import annotations

import numpy as np

from ds2cli.kernels._jit import kernel
from ds2cli.kernels.ngram import find_entry, longer_key
from ds2cli.kernels.ngram_words import ENTRY, hash_word

DUPLICATE, NO_CONTEXT, FULL = -1, -2, -3
"""Errors: an n-gram is listed twice, or without its context; a hash table is full."""
_HALF = np.uint64(32)


@kernel
def _insert(data, start, buckets, size, key):
    """Insert `key` and return the offset of its entry in data; the key must be new and the table not full."""
    pos = start + size * np.int64(key % buckets)
    end = start + size * np.int64(buckets)
    while data[pos] != 0 or data[pos + 1] != 0:
        pos += size
        if pos == end:
            pos = start
    data[pos] = np.uint32(key)
    data[pos + 1] = np.uint32(key >> _HALF)
    return pos


@kernel
def fill_vocabulary(data, start, buckets, text, ends):
    """Insert words with the ids 1, 2, …; text and ends as in `find_words`."""
    begin = np.int64(0)
    for i in range(len(ends)):
        pos = _insert(data, start, buckets, ENTRY, hash_word(text, begin, ends[i]))
        data[pos + 2] = i + 1
        begin = ends[i]


@kernel
def _mark_extends_right(floats, pos):
    """Mark the n-gram with weights at `pos` as extending to the right: a back-off of -0.0 becomes 0.0."""
    if floats[pos + 1] == 0.0:
        floats[pos + 1] = 0.0


@kernel
def _mark_extends_left(data, floats, starts, buckets, ids, c, keys, weights, used):
    """Mark the suffixes of n-gram c as extending to the left, inserting missing ones; returns FULL or 0.

    A model may list an n-gram without its suffix (SRILM prunes that way). A query walks from short to long and would
    stop there, so missing suffixes are inserted with their back-off probability.
    keys: (n - 1,) uint64, keys of the suffixes of 2, 3, … words.  weights: (n + 1,) int64, scratch.
    used: (order + 1,) int64, entries in each table.
    """
    n = ids.shape[1]
    word = np.int64(ids[c, n - 1])
    missing = 0
    length = n - 1
    while length > 1:
        pos = find_entry(data, starts[length], buckets[length], 4, keys[length - 2])
        if pos >= 0:
            weights[length] = pos + 2
            break
        if used[length] + 1 >= np.int64(buckets[length]):
            return FULL
        used[length] += 1
        pos = _insert(data, starts[length], buckets[length], 4, keys[length - 2])
        floats[pos + 3] = -0.0
        weights[length] = pos + 2
        missing += 1
        length -= 1
    if length == 1:
        weights[1] = starts[1] + 2 * word
    if missing > 0:
        total = -abs(floats[weights[length]])
        context = np.uint64(ids[c, n - 2])
        for k in range(2, length + 1):
            context = longer_key(context, ids[c, n - 1 - k])
        for longer in range(length + 1, n):
            if longer == 2:
                pos = starts[1] + 2 * np.int64(ids[c, n - 2])
            else:
                pos = find_entry(data, starts[longer - 1], buckets[longer - 1], 4, context) + 2
            if pos >= 2:
                _mark_extends_right(floats, pos)
                total += floats[pos + 1]
            floats[weights[longer]] = total
            context = longer_key(context, ids[c, n - 1 - longer])
    for k in range(length, n):
        floats[weights[k]] = abs(floats[weights[k]])
    return 0


@kernel
def fill_section(data, floats, starts, buckets, order, ids, probs, backoffs, used):
    """Insert the C n-grams ids (C, n >= 2), lower orders first. Returns 0 and C, or an error and its n-gram.

    data, floats, starts, buckets, order: as in NgramTables, writable.  probs, backoffs: (C,) float32.
    used: (order + 1,) int64, entries in each hash table, updated.
    """
    n = ids.shape[1]
    size = 3 if n == order else 4
    keys = np.empty(n - 1, np.uint64)
    weights = np.zeros(n + 1, np.int64)
    for c in range(ids.shape[0]):
        key = np.uint64(ids[c, n - 1])
        for k in range(n - 1):
            key = longer_key(key, ids[c, n - 2 - k])
            keys[k] = key
        if find_entry(data, starts[n], buckets[n], size, key) >= 0:
            return DUPLICATE, c
        if used[n] + 1 >= np.int64(buckets[n]):
            return FULL, c
        used[n] += 1
        pos = _insert(data, starts[n], buckets[n], size, key)
        floats[pos + 2] = -abs(probs[c])
        if n < order:
            floats[pos + 3] = backoffs[c] if backoffs[c] != 0.0 else np.float32(-0.0)
        if _mark_extends_left(data, floats, starts, buckets, ids, c, keys, weights, used) != 0:
            return FULL, c
        pos = starts[1] + 2 * np.int64(ids[c, 0])
        if n > 2:
            context = np.uint64(ids[c, n - 2])
            for k in range(n - 3, -1, -1):
                context = longer_key(context, ids[c, k])
            pos = find_entry(data, starts[n - 1], buckets[n - 1], 4, context) + 2
            if pos < 2:
                return NO_CONTEXT, c
        _mark_extends_right(floats, pos)
    return 0, ids.shape[0]
