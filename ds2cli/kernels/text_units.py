"""Split texts into words or characters, as numbers. Notation: C code points and W words of all texts, P texts.

A word is what `str.split` makes of a text; a character is a code point of the text whose words are joined by one space.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ds2cli.kernels._jit import inner_kernel, kernel

SPACE = 32

HAN_RANGES = (
    (0x2E80, 0x2E99), (0x2E9B, 0x2EF3), (0x2F00, 0x2FD5), (0x3005, 0x3005), (0x3007, 0x3007), (0x3021, 0x3029),
    (0x3038, 0x303B), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFA6D), (0xFA70, 0xFAD9), (0x16FE2, 0x16FE3),
    (0x16FF0, 0x16FF6), (0x20000, 0x3FFFD),
)  # fmt: skip
"""Chinese characters (Unicode's Script=Han), first and last of each range; as `metrics.unit_split.HAN`."""

_SPACES = (0x85, 0xA0, 0x1680, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000)


@kernel
def number_words(
    points: NDArray[np.int32], ends: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
    """Give every different word a number, in the order of their first occurrence.

    points: (C,) code points of all texts.  ends: (P,) where those of each text end.
    Returns (W,) the number of each word; (P,) where the words of each text end; (V, 2) where each of the V different
    words first occurs in `points`: begin and end.
    """
    total = 0
    begin = 0
    for end in ends:
        inside = False
        for k in range(begin, end):
            space = is_space(points[k])
            total += not space and not inside
            inside = not space
        begin = end
    capacity = 16
    while capacity < 2 * total:
        capacity *= 2
    table = np.full(capacity, -1, dtype=np.int32)
    ids = np.empty(total, dtype=np.int32)
    word_ends = np.empty(len(ends), dtype=np.int64)
    spans = np.empty((total, 2), dtype=np.int64)
    count = words = 0
    k = 0
    for text in range(len(ends)):
        while k < ends[text]:
            if is_space(points[k]):
                k += 1
                continue
            begin = k
            digest = np.uint64(0xCBF29CE484222325)
            while k < ends[text] and not is_space(points[k]):
                # FNV-1a, over code points
                digest = (digest ^ np.uint64(points[k])) * np.uint64(0x100000001B3)
                k += 1
            place = np.int64((digest ^ (digest >> np.uint64(29))) & np.uint64(capacity - 1))
            while table[place] >= 0 and not _equal(points, spans[table[place], 0], spans[table[place], 1], begin, k):
                place = (place + 1) & (capacity - 1)
            if table[place] < 0:
                table[place] = count
                spans[count, 0] = begin
                spans[count, 1] = k
                count += 1
            ids[words] = table[place]
            words += 1
        word_ends[text] = words
    return ids, word_ends, spans[:count].copy()


@kernel
def join_words(
    points: NDArray[np.int32], ends: NDArray[np.int64], spaces: bool
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The texts with one space between two words, none at the ends and none beside a Chinese character.

    spaces: whether to keep any space.  Returns the code points, and (P,) where those of each text end.
    """
    joined = np.empty(len(points), dtype=np.int32)
    joined_ends = np.empty(len(ends), dtype=np.int64)
    n = begin = 0
    for text in range(len(ends)):
        first = n
        pending = False
        for k in range(begin, ends[text]):
            point = points[k]
            if is_space(point):
                pending = True
                continue
            if pending and spaces and n > first and not is_han(point) and not is_han(joined[n - 1]):
                joined[n] = SPACE
                n += 1
            pending = False
            joined[n] = point
            n += 1
        begin = ends[text]
        joined_ends[text] = n
    return joined[:n].copy(), joined_ends


@inner_kernel
def is_space(point: int) -> bool:
    """Whether a code point is white space for `str.split`."""
    if point < 0x80:
        return point == SPACE or 9 <= point <= 13 or 28 <= point <= 31
    return point <= _SPACES[-1] and (point in _SPACES or 0x2000 <= point <= 0x200A)


@inner_kernel
def is_han(point: int) -> bool:
    """Whether a code point is a Chinese character."""
    if point < HAN_RANGES[0][0]:
        return False
    for k in range(len(HAN_RANGES)):  # noqa: SIM110
        if HAN_RANGES[k][0] <= point <= HAN_RANGES[k][1]:
            return True
    return False


@inner_kernel
def _equal(points: NDArray[np.int32], begin: int, end: int, other: int, other_end: int) -> bool:
    if end - begin != other_end - other:
        return False
    for k in range(end - begin):  # noqa: SIM110
        if points[begin + k] != points[other + k]:
            return False
    return True
