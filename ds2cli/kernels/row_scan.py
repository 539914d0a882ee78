"""Read the plain rows of a manifest for training, without a Python object for any of them.

A row is plain if it is one flat JSON object without escapes, whose fields have the right types, whose id is ASCII and
comes after the one before, and whose text is clean as it is. `scan_rows` stops at every other row, which Python then
reads: all errors, and all rows that need a thought, are the business of one implementation.

Notation: B bytes of the manifest, R rows, K names of fields.
"""

from __future__ import annotations

import numpy as np

from ds2cli.kernels._jit import inner_kernel
from ds2cli.kernels.row_json import (
    AUDIO,
    CHANNEL,
    DURATION,
    FEATS,
    ID,
    OFFSET,
    RATE,
    SPEED,
    TEXT,
    copy_bytes,
    is_normal,
    read_point,
    read_row,
)

# classes of characters in a text; 0: not plain
PLAIN, SPACE, APOSTROPHE, UNSPACED = 1, 2, 3, 4

# why `scan_rows` stopped
END, NOT_PLAIN, FULL = 0, 1, 2

# positions in the state
LAST, LINES, TEXTS, SEVERAL, APOSTROPHES, POOL, ROWS = range(7)

HEAD = 80
"""Bytes that a row may need in the pool beyond those that it has in the manifest and a prefix for each path."""

_DEFAULTS = np.frombuffer(b"null,null,1.0,null,null]", np.uint8)


@inner_kernel
def is_after(data, begin, end, last, size):
    """Whether an id comes after the last one, in the order of bytes."""
    common = min(end - begin, size)
    for k in range(common):
        if data[begin + k] != last[k]:
            return data[begin + k] > last[k]
    return end - begin > size


@inner_kernel
def copy_path(data, begin, end, prefix, out, at):
    """Copy a path, behind the prefix if it is relative."""
    if data[begin] != 47:
        at = copy_bytes(prefix, 0, len(prefix), out, at)
    return copy_bytes(data, begin, end, out, at)


@inner_kernel
def read_text(data, begin, end, classes, letters, counts):
    """Count the letters of a clean text; False, and nothing counted, if it is not plain.

    counts: (3,) int64, for this text: whether it has several words, an apostrophe, a letter of an unspaced script.
    """
    counts[0] = counts[1] = counts[2] = 0
    at, after_space = begin, True
    while at < end:
        point, size = read_point(data, at, end)
        if size == 0 or point > 0xFFFF:
            return False
        kind = classes[point]
        if kind == 0 or (kind == SPACE and after_space):
            return False
        after_space = kind == SPACE
        counts[0] |= kind == SPACE
        counts[1] |= kind == APOSTROPHE
        counts[2] |= kind == UNSPACED
        at += size
    if after_space and end > begin:
        return False
    at = begin
    while at < end:
        point, size = read_point(data, at, end)
        letters[point] += 1
        at += size
    return True


@inner_kernel
def scan_rows(data, at, end, keys, rebase, prefix, classes, last, state, letters, pool, sizes, scratch):
    """Copy plain rows into a pool: id, feats, recording and text of each, one after another.

    data: (B,) uint8, lines of a manifest that end before `end`.  at: where to begin.
    keys: table (a power of 2) int32, hashes (K,) uint64, bytes of all names uint8, their ends (K,) int64 and their
    roles (K,) int64.  rebase: whether to put prefix, uint8, in front of relative paths.  classes: (65536,) uint8.
    last: uint8, the id before; state: (7,) int64.  letters: (65536,) int64.  scratch: as `new_scratch` makes it.
    Writes the bytes of the rows to `pool`, and the bytes of their parts to `sizes` (R, 4) int32.
    The recording is a list in JSON: path, offset, duration, speed, rate and channel.
    Returns where it stopped, at the begin of a line, and why.
    """
    spans, seen, others, counts = scratch
    while at < end:
        row = state[ROWS]
        if row == len(sizes):
            return at, FULL
        after = read_row(data, at, end, keys, spans, seen, others)
        if after < 0:
            return at, NOT_PLAIN
        begin, stop = spans[ID - ID, 0], spans[ID - ID, 1]
        if begin < 0 or spans[TEXT - ID, 0] < 0 or stop - begin > len(last):
            return at, NOT_PLAIN
        if state[POOL] + (after - at) + 2 * len(prefix) + HEAD > len(pool):
            return at, FULL
        for role in (FEATS, AUDIO):
            first, final = spans[role - ID, 0], spans[role - ID, 1]
            if first == final and first >= 0:
                return at, NOT_PLAIN
            if rebase and first >= 0 and data[first] != 47 and not is_normal(data, first, final):
                return at, NOT_PLAIN
        if not is_after(data, begin, stop, last, state[LAST]):
            return at, NOT_PLAIN
        if not read_text(data, spans[TEXT - ID, 0], spans[TEXT - ID, 1], classes, letters, counts):
            return at, NOT_PLAIN
        state[TEXTS] += 1
        state[SEVERAL] += counts[0] > 0 or counts[2] > 0
        state[APOSTROPHES] += counts[1]
        copy_bytes(data, begin, stop, last, 0)
        state[LAST] = stop - begin
        out = state[POOL]
        before, out = out, copy_bytes(data, begin, stop, pool, out)
        sizes[row, 0] = out - before
        before = out
        if spans[FEATS - ID, 0] >= 0:
            out = copy_path(data, spans[FEATS - ID, 0], spans[FEATS - ID, 1], prefix, pool, out)
        sizes[row, 1] = out - before
        before = out
        if spans[AUDIO - ID, 0] >= 0:
            pool[out], pool[out + 1] = 91, 34
            out = copy_path(data, spans[AUDIO - ID, 0], spans[AUDIO - ID, 1], prefix, pool, out + 2)
            pool[out], pool[out + 1] = 34, 44
            out += 2
            start = 0
            for role in (OFFSET, DURATION, SPEED, RATE, CHANNEL):
                size = 4 if role == SPEED else 5
                if spans[role - ID, 0] >= 0:
                    out = copy_bytes(data, spans[role - ID, 0], spans[role - ID, 1], pool, out)
                    pool[out] = 93 if role == CHANNEL else 44
                    out += 1
                else:
                    out = copy_bytes(_DEFAULTS, start, start + size, pool, out)
                start += size
        sizes[row, 2] = out - before
        before, out = out, copy_bytes(data, spans[TEXT - ID, 0], spans[TEXT - ID, 1], pool, out)
        sizes[row, 3] = out - before
        state[POOL] = out
        state[ROWS] = row + 1
        state[LINES] += 1
        at = after
    return at, END
