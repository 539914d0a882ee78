"""Draws of the bootstrap: sums over N items that are drawn with replacement.

Notation: N items (utterances or groups of them), C columns of counts, R draws. The k-th item of draw r depends only on
the seed, r and k (SplitMix64 of a counter: Steele, Lea & Flood 2014), so any thread may compute any draw, and systems
are drawn on the same items.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ds2cli.kernels._jit import kernel

FIELD_BITS = 21
FIELDS = 3
"""Columns that share an integer of 64 bits; one memory access adds all of them."""

BLOCK = 1024
"""Items that are added before the fields of an integer are emptied."""

LARGEST_PACKED = (1 << FIELD_BITS) // BLOCK - 1
"""The largest count of an item of which BLOCK fit in a field."""

_GAMMA = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


def draw_items_ref(seed: int, draw: int, count: int) -> list[int]:
    """The items of one draw, which are as many as there are; the reference of the generator.

    A number of 32 bits is scaled to the range, so the probabilities of two items differ by at most `count` / 2^32.
    """
    start = _mix_ref(_mix_ref((seed + _GAMMA) & _MASK) + draw * _GAMMA)
    bits = [_mix_ref(start + (k + 1) * _GAMMA) for k in range((count + 1) // 2)]
    numbers = [part for both in bits for part in (both & 0xFFFFFFFF, both >> 32)]
    return [number * count >> 32 for number in numbers[:count]]


def _mix_ref(x: int) -> int:
    x &= _MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)


def draw_sums_ref(columns: NDArray[np.int64], seed: int, first: int, draws: int) -> NDArray[np.int64]:
    """The sums of the draws `first`, `first` + 1, ...: (R, C); the reference. columns: (C, N)."""
    items = [draw_items_ref(seed, first + r, columns.shape[1]) for r in range(draws)]
    return np.array([columns[:, drawn].sum(axis=1) for drawn in items], np.int64).reshape(draws, len(columns))


@kernel
def draw_sums(columns: NDArray[np.int64], fields: int, seed: int, first: int, sums: NDArray[np.int64]) -> None:
    """As `draw_sums_ref`, of columns that are packed.

    columns: (C / fields, N), `fields` counts in each integer, the first in its lowest FIELD_BITS.
    seed: from 0 to 2^63 - 1.  sums: (R, C), written.
    """
    words, N = columns.shape
    gamma = np.uint64(0x9E3779B97F4A7C15)
    low = np.uint64(0xFFFFFFFF)
    size = np.uint64(N)
    field = (1 << FIELD_BITS) - 1
    key = _mix(np.uint64(seed) + gamma)
    items = np.empty(BLOCK, dtype=np.uint32)
    for r in range(len(sums)):
        start = _mix(key + np.uint64(first + r) * gamma)
        sums[r] = 0
        for begin in range(0, N, BLOCK):
            length = min(BLOCK, N - begin)
            for half in range((length + 1) >> 1):
                bits = _mix(start + np.uint64((begin >> 1) + half + 1) * gamma)
                items[2 * half] = ((bits & low) * size) >> np.uint64(32)
                items[2 * half + 1] = ((bits >> np.uint64(32)) * size) >> np.uint64(32)
            for w in range(words):
                total = 0
                for k in range(length):
                    total += columns[w, items[k]]
                if fields == 1:
                    sums[r, w] += total
                else:
                    for f in range(fields):
                        sums[r, w * fields + f] += (total >> (f * FIELD_BITS)) & field


@kernel
def _mix(x: np.uint64) -> np.uint64:
    """The output function of SplitMix64."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
