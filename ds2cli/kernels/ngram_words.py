"""Words and their numbers in a KenLM vocabulary: a hash table from the 64-bit hash of a word to its number.

Letters: B bytes of text, L words in it.
"""

from __future__ import annotations

import numpy as np

from ds2cli.kernels._jit import kernel, leaf
from ds2cli.kernels.ngram import VOCABULARY, find_entry

_MIX, _SHIFT, _BYTE = np.uint64(0xC6A4A7935BD1E995), np.uint64(47), np.uint64(8)
ENTRY = 3
"""Words of 32 bits in an entry: the hash (2) and the number."""


@leaf
def hash_word(text, start, end):
    """MurmurHash64A (Appleby) of the bytes text[start:end] with seed 0, as uint64: KenLM's name of a word."""
    h = np.uint64(end - start) * _MIX
    at = start
    while at + 8 <= end:
        k = np.uint64(0)
        for b in range(8):
            k |= np.uint64(text[at + b]) << np.uint64(8 * b)
        k *= _MIX
        k ^= k >> _SHIFT
        h = (h ^ (k * _MIX)) * _MIX
        at += 8
    if at < end:
        k = np.uint64(0)
        for b in range(end - at):
            k |= np.uint64(text[at + b]) << np.uint64(8 * b)
        h = (h ^ k) * _MIX
    h ^= h >> _SHIFT
    h *= _MIX
    return h ^ (h >> _SHIFT)


@kernel
def find_words(lm, text, ends, ids):
    """The numbers of words, those of lm.unk for unknown ones.

    text: (B,) uint8, the words one after the other.  ends: (L,) int64, where each ends.  ids: (L,) int32, filled.
    """
    start = np.int64(0)
    for i in range(len(ends)):
        key = hash_word(text, start, ends[i])
        at = find_entry(lm.data, lm.starts[VOCABULARY], lm.buckets[VOCABULARY], ENTRY, key)
        ids[i] = lm.data[at + 2] if at >= 0 else lm.unk
        start = ends[i]
