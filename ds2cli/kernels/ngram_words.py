"""The vocabulary of a KenLM file: a hash table from the 64-bit hash of a word to its id.

Notation: B bytes of text, L words.
"""

from __future__ import annotations

import numpy as np

from ds2cli.kernels._jit import inner_kernel, kernel
from ds2cli.kernels.ngram import VOCABULARY, find_entry

_MIX, _SHIFT, _BYTE = np.uint64(0xC6A4A7935BD1E995), np.uint64(47), np.uint64(8)
ENTRY = 3
"""32-bit words per entry: the hash (2) and the word id (1)."""


@inner_kernel
def hash_word(text, start, end):
    """MurmurHash64A (Appleby) of the bytes text[start:end] with seed 0, as uint64: KenLM's hash of a word."""
    h = np.uint64(end - start) * _MIX
    pos = start
    while pos + 8 <= end:
        k = np.uint64(0)
        for b in range(8):
            k |= np.uint64(text[pos + b]) << np.uint64(8 * b)
        k *= _MIX
        k ^= k >> _SHIFT
        h = (h ^ (k * _MIX)) * _MIX
        pos += 8
    if pos < end:
        k = np.uint64(0)
        for b in range(end - pos):
            k |= np.uint64(text[pos + b]) << np.uint64(8 * b)
        h = (h ^ k) * _MIX
    h ^= h >> _SHIFT
    h *= _MIX
    return h ^ (h >> _SHIFT)


@kernel
def find_words(lm, text, ends, ids):
    """Fill in the ids of words, lm.unk for unknown ones.

    text: (B,) uint8, the concatenated words.  ends: (L,) int64, the end of each word.  ids: (L,) int32, output.
    """
    start = np.int64(0)
    for i in range(len(ends)):
        key = hash_word(text, start, ends[i])
        pos = find_entry(lm.data, lm.starts[VOCABULARY], lm.buckets[VOCABULARY], ENTRY, key)
        ids[i] = lm.data[pos + 2] if pos >= 0 else lm.unk
        start = ends[i]
