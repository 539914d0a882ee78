"""N-gram counts by sorting, in suffix order. Notation: P positions, V words, C n-grams of one order.

Suffix order compares the last words first. It makes an n-gram a pair of integers: the rank of its suffix (the n-gram
without its first word) and that first word. So each order takes one integer sort and builds on the order below.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BOS_ID = 1


@dataclass(frozen=True)
class NgramCounts:
    """The n-grams of one order, in suffix order.

    left: (C,) int32, first word.  count: (C,) int64, occurrences.
    suffix, prefix: (C,) int32, rank in the order below of the n-gram without its first and without its last word.
    For unigrams, left is the word; suffix and prefix are 0.
    """

    left: NDArray[np.int32]
    suffix: NDArray[np.int32]
    prefix: NDArray[np.int32]
    count: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.left)


def count_ngrams(ids: NDArray[np.int32], order: int, words: int) -> list[NgramCounts]:
    """Count the n-grams of orders 1 to `order`.

    ids: (P,) int32, each sentence as <s> (1), words, </s> (2).  words: V, the number of word ids.
    N-grams start with at most one <s> and never cross a sentence boundary. The unigrams are all V words; <unk> and <s>
    have count 0.
    """
    positions = np.arange(len(ids), dtype=np.int32)
    # words since <s>
    depth = positions - np.maximum.accumulate(np.where(ids == BOS_ID, positions, 0)) if len(ids) else positions
    unigrams = np.bincount(ids, minlength=words)
    unigrams[BOS_ID] = 0
    zero = np.zeros(words, dtype=np.int32)
    grams = [NgramCounts(np.arange(words, dtype=np.int32), zero, zero, unigrams)]
    rank = ids
    for n in range(2, order + 1):
        ends = positions[depth >= n - 1]
        key = rank[ends].astype(np.int64) * words + ids[ends - (n - 1)]
        by_key = np.argsort(key)
        key = key[by_key]
        new = np.empty(len(key), dtype=np.bool_)
        new[:1] = True
        np.not_equal(key[1:], key[:-1], out=new[1:])
        starts = np.flatnonzero(new)
        suffix, left = np.divmod(key[starts], words)
        count = np.diff(np.append(starts, len(key)))
        ends = ends[by_key]
        prefix = rank[ends[starts] - 1]
        grams.append(NgramCounts(left.astype(np.int32), suffix.astype(np.int32), prefix, count))
        rank = np.full(len(ids), -1, dtype=np.int32)
        rank[ends] = np.cumsum(new, dtype=np.int32) - 1
    return grams


def expand_words(grams: list[NgramCounts]) -> list[NDArray[np.int32]]:
    """The word ids of every n-gram: one (C, n) int32 array per order."""
    words: list[NDArray[np.int32]] = []
    for n, g in enumerate(grams):
        words.append(np.concatenate([g.left[:, None], words[-1][g.suffix]], axis=1) if n else g.left[:, None])
    return words
