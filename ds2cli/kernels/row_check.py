"""Check the rows of a training set against their archives and the output symbols, without a Python object for any.

`check_rows` stops at every row that cannot be used or is not plain, which Python then looks at: reasons and messages
are the business of one implementation.

Notation: R rows, A archives.
"""

from __future__ import annotations

import numpy as np

from ds2cli.kernels._jit import inner_kernel
from ds2cli.kernels.row_json import copy_bytes, read_point

# why `check_rows` stopped
END, NOT_PLAIN, FULL = 0, 1, 2

NUMBER = 12
"""Bytes that the number of frames and the spaces around it take in the digest at most."""


@inner_kernel
def read_int(data, at):
    """The four bytes at `at` as a little-endian int32."""
    value = np.int64(data[at]) | np.int64(data[at + 1]) << 8 | np.int64(data[at + 2]) << 16
    return value | np.int64(np.int8(data[at + 3])) << 24


@inner_kernel
def read_shape(data, at):
    """Rows and columns of the matrix at `at`; -1 if there is no whole one in a known format."""
    end = len(data)
    if at + 15 > end or data[at] != 0 or data[at + 1] != 66 or data[at + 3] != 77:
        return -1, -1
    kind, width = data[at + 2], data[at + 4]
    if (kind == 70 or kind == 68) and width == 32:
        at += 5
        if data[at] != 4 or data[at + 5] != 4:
            return -1, -1
        rows, columns = read_int(data, at + 1), read_int(data, at + 6)
        size, at = (4 if kind == 70 else 8) * rows * columns, at + 10
    elif kind == 67:
        at += 5 if width == 32 else 6
        if (width != 32 and ((width != 50 and width != 51) or data[at - 1] != 32)) or at + 16 > end:
            return -1, -1
        rows, columns = read_int(data, at + 8), read_int(data, at + 12)
        size, at = (2 if width == 50 else 1) * rows * columns + (8 * columns if width == 32 else 0), at + 16
    else:
        return -1, -1
    return (rows, columns) if rows > 0 and columns > 0 and at + size <= end else (-1, -1)


@inner_kernel
def find_archive(pool, begin, end, names, name_ends):
    """The number of the archive with this name; -1 if it is not among them."""
    for k in range(len(name_ends)):
        start = name_ends[k - 1] if k > 0 else 0
        if name_ends[k] - start == end - begin:
            same = True
            for i in range(end - begin):
                if names[start + i] != pool[begin + i]:
                    same = False
                    break
            if same:
                return k
    return -1


@inner_kernel
def find_shape(pool, at, sizes, archives, names, name_ends):
    """Rows and columns of the matrix of the row at `at`; -1 if it is not found, or is that of another id."""
    begin, end = at + sizes[0], at + sizes[0] + sizes[1]
    colon = end - 1
    offset, unit = np.int64(0), np.int64(1)
    while colon > begin and 48 <= pool[colon] <= 57 and end - colon < 18:
        offset += unit * np.int64(pool[colon] - 48)
        unit *= 10
        colon -= 1
    if colon <= begin or pool[colon] != 58 or colon == end - 1:
        return -1, -1
    number = find_archive(pool, begin, colon, names, name_ends)
    if number < 0:
        return -1, -1
    data = archives[number]
    start = offset - sizes[0] - 1
    if start < 0 or offset > len(data) or data[offset - 1] != 32:
        return -1, -1
    for k in range(sizes[0]):
        if data[start + k] != pool[at + k]:
            return -1, -1
    return read_shape(data, offset)


@inner_kernel
def write_symbols(pool, begin, end, symbols, out, at):
    """Write the symbols of a text as little-endian int32; returns the position after them, and the steps they need.

    0 steps if the text is empty, or has a character that is none.
    """
    steps, before = 0, -1
    while begin < end:
        point, size = read_point(pool, begin, end)
        symbol = symbols[point] if size > 0 and point < len(symbols) else 0
        if symbol == 0:
            return at, 0
        for shift in (0, 8, 16, 24):
            out[at] = symbol >> shift & 0xFF
            at += 1
        steps += 2 if symbol == before else 1
        before = symbol
        begin += size
    return at, steps


@inner_kernel
def write_number(number, out, at):
    """Write a number >= 0 in decimal; returns the position after it."""
    unit = np.int64(1)
    while unit * 10 <= number:
        unit *= 10
    while unit > 0:
        out[at] = 48 + number // unit % 10
        unit //= 10
        at += 1
    return at


@inner_kernel
def check_rows(pool, sizes, at, row, found, bins, symbols, stride, needs_audio, frames, needed, digest):
    """Check rows from `row` on, the first of which is in the pool at `at`.

    pool, sizes: as `row_scan.scan_rows` wrote them.  found: a tuple of A arrays uint8, the archives, the bytes of
    their names, uint8, and where each name ends, int64.  bins: that the matrices have to have.  symbols: of each code
    point, int32, 0 if it is none.
    Writes the frames of each row and those that its labels need to frames and needed (R,) int32, and what the
    fingerprint of a training set hashes of it to digest, uint8.
    Returns the row where it stopped, its place in the pool, the used bytes of digest, and why.
    """
    archives, names, name_ends = found
    used = 0
    while row < len(sizes):
        size = sizes[row]
        text = at + size[0] + size[1] + size[2]
        end = text + size[3]
        if used + size[0] + NUMBER + 4 * size[3] > len(digest):
            return row, at, used, FULL
        if size[1] == 0 or (needs_audio and size[2] == 0):
            return row, at, used, NOT_PLAIN
        rows, columns = find_shape(pool, at, size, archives, names, name_ends)
        if rows < 0 or columns != bins:
            return row, at, used, NOT_PLAIN
        out = copy_bytes(pool, at, at + size[0], digest, used)
        digest[out] = 32
        out = write_number(rows, digest, out + 1)
        digest[out] = 32
        out, steps = write_symbols(pool, text, end, symbols, digest, out + 1)
        if steps == 0 or steps > (rows + stride - 1) // stride:
            return row, at, used, NOT_PLAIN
        frames[row] = rows
        needed[row] = (steps - 1) * stride + 1
        used = out
        row, at = row + 1, end
    return row, at, used, END
