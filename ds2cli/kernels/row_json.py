"""Find the values of the known fields in a flat JSON object without escapes.

What is not surely such an object, with fields of the right types, is left to Python's JSON: all errors are its
business.

Notation: B bytes, K known fields.
"""

from __future__ import annotations

import numpy as np

from ds2cli.kernels._jit import inner_kernel

# what the values of a field are checked for, and what is done with them
OTHER, SLOW, STRING, PATH, NAME, NUMBER, COUNT, SECONDS, FACTOR = range(9)
ID, TEXT, FEATS, AUDIO, OFFSET, DURATION, SPEED, RATE, CHANNEL = range(9, 18)

_NUMERIC = (NUMBER, COUNT, SECONDS, FACTOR, OFFSET, DURATION, SPEED, RATE, CHANNEL)
_WHOLE = (COUNT, RATE, CHANNEL)
_FNV, _PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)


def hash_name(name: bytes) -> int:
    """The FNV-1a hash of the name of a field."""
    digest = int(_FNV)
    for byte in name:
        digest = (digest ^ byte) * int(_PRIME) & (1 << 64) - 1
    return digest


@inner_kernel
def skip_space(data, at, end):
    """The position of the next byte that is not white space of JSON within a line."""
    while at < end and (data[at] == 32 or data[at] == 9 or data[at] == 13):
        at += 1
    return at


@inner_kernel
def read_point(data, at, end):
    """The code point in UTF-8 at `at`, and its bytes; 0 bytes if it is not valid."""
    first = np.int64(data[at])
    if first < 0x80:
        return first, 1
    size = 2 if first < 0xE0 else 3 if first < 0xF0 else 4
    if first < 0xC2 or first > 0xF4 or at + size > end:
        return 0, 0
    point = first & (0x7F >> size)
    for k in range(1, size):
        byte = np.int64(data[at + k])
        if byte & 0xC0 != 0x80:
            return 0, 0
        point = point << 6 | byte & 0x3F
    if (size == 3 and (point < 0x800 or 0xD800 <= point <= 0xDFFF)) or (size == 4 and not 0x10000 <= point <= 0x10FFFF):
        return 0, 0
    return point, size


@inner_kernel
def read_string(data, at, end):
    """The position of the closing quotation mark of a string without escapes; -1 if it has any, or is not valid."""
    while at < end:
        byte = data[at]
        if byte == 34:
            return at
        if byte == 92 or byte < 32:
            return -1
        if byte < 128:
            at += 1
            continue
        _, size = read_point(data, at, end)
        if size == 0:
            return -1
        at += size
    return -1


@inner_kernel
def read_name(data, at, end):
    """As `read_string`, for an ASCII string without spaces that is not empty."""
    begin = at
    while at < end and 33 <= data[at] <= 126 and data[at] != 92 and data[at] != 34:
        at += 1
    return at if at < end and data[at] == 34 and at > begin else -1


@inner_kernel
def read_number(data, at, end):
    """A number without exponent: its end (-1 if it is none), digits before the point, and whether it is negative,
    a whole number and not zero."""
    negative, whole, nonzero = False, True, False
    if at < end and data[at] == 45:
        negative = True
        at += 1
    begin = at
    while at < end and 48 <= data[at] <= 57:
        nonzero |= data[at] != 48
        at += 1
    digits = at - begin
    if digits == 0 or (digits > 1 and data[begin] == 48):
        return -1, 0, False, False, False
    if at < end and data[at] == 46:
        whole = False
        at += 1
        begin = at
        while at < end and 48 <= data[at] <= 57:
            nonzero |= data[at] != 48
            at += 1
        if at == begin:
            return -1, 0, False, False, False
    if at < end and (data[at] == 101 or data[at] == 69):
        return -1, 0, False, False, False
    return at, digits, negative, whole, nonzero


@inner_kernel
def number_fits(role, digits, negative, whole, nonzero):
    """Whether a number is one that a field may have, and surely so."""
    if role in _WHOLE:
        return whole and not negative and digits <= 18
    if role in (FACTOR, SPEED):
        return nonzero and not negative and digits <= 18
    if role == NUMBER:
        return digits <= 18
    # at most 999,999,999.99 s; -0 is left to Python
    return not negative and digits <= 9


@inner_kernel
def is_literal(data, at, end):
    """The end of true, false or null at `at`; -1 if there is none."""
    if at + 4 <= end and data[at] == 116 and data[at + 1] == 114 and data[at + 2] == 117 and data[at + 3] == 101:
        return at + 4
    if at + 4 <= end and data[at] == 110 and data[at + 1] == 117 and data[at + 2] == 108 and data[at + 3] == 108:
        return at + 4
    if (
        at + 5 <= end and data[at] == 102 and data[at + 1] == 97 and data[at + 2] == 108 and data[at + 3] == 115
        and data[at + 4] == 101
    ):  # fmt: skip
        return at + 5
    return -1


@inner_kernel
def is_normal(data, begin, end):
    """Whether no part of a path is empty, . or .., so that a folder can be put in front of it."""
    start = begin
    for at in range(begin, end + 1):
        if at == end or data[at] == 47:
            size = at - start
            dots = size > 0 and size <= 2 and data[start] == 46 and data[at - 1] == 46
            if size == 0 or dots:
                return False
            start = at + 1
    return True


@inner_kernel
def copy_bytes(data, begin, end, out, at):
    """Copy bytes to `out` at `at`; returns the position after them."""
    for k in range(begin, end):
        out[at] = data[k]
        at += 1
    return at


@inner_kernel
def find_name(data, begin, end, digest, table, hashes, names, name_ends):
    """The number of the field with this name; -1 if it is not one of them."""
    slot = np.int64(digest & np.uint64(len(table) - 1))
    while table[slot] >= 0:
        k = table[slot]
        if hashes[k] == digest:
            start = name_ends[k - 1] if k > 0 else 0
            if name_ends[k] - start == end - begin:
                same = True
                for i in range(end - begin):
                    same &= names[start + i] == data[begin + i]
                if same:
                    return np.int64(k)
        slot = (slot + 1) & (len(table) - 1)
    return np.int64(-1)


@inner_kernel
def read_row(data, at, end, keys, spans, seen, others):
    """Find the values of one row: spans (9, 2) of those with a role from ID on, by role.

    seen: (K,) bool and others: (M,) uint64, scratch; a row of more than M unknown fields is not plain.
    Returns the position after its line; -1 if it is not plain.
    """
    table, hashes, names, name_ends, roles = keys
    unknown = 0
    for k in range(len(spans)):
        spans[k, 0] = spans[k, 1] = -1
    for k in range(len(seen)):
        seen[k] = False
    at = skip_space(data, at, end)
    if at >= end or data[at] != 123:
        return -1
    at = skip_space(data, at + 1, end)
    while True:
        if at >= end or data[at] != 34:
            return -1
        at += 1
        begin, digest = at, _FNV
        while at < end and 32 <= data[at] <= 126 and data[at] != 34 and data[at] != 92:
            digest = (digest ^ np.uint64(data[at])) * _PRIME
            at += 1
        if at >= end or data[at] != 34:
            return -1
        key = find_name(data, begin, at, digest, table, hashes, names, name_ends)
        if key >= 0:
            if seen[key]:
                return -1
            seen[key] = True
        else:
            # names that appear twice are an error, and those whose hashes are equal are left to Python, too
            for k in range(unknown):
                if others[k] == digest:
                    return -1
            if unknown == len(others):
                return -1
            others[unknown] = digest
            unknown += 1
        role = roles[key] if key >= 0 else OTHER
        at = skip_space(data, at + 1, end)
        if at >= end or data[at] != 58:
            return -1
        at = skip_space(data, at + 1, end)
        if at >= end or role == SLOW:
            return -1
        begin = at
        if data[at] == 34:
            if role in _NUMERIC:
                return -1
            begin = at + 1
            stop = read_name(data, begin, end) if role in (ID, NAME) else read_string(data, begin, end)
            if stop < 0:
                return -1
            at = stop + 1
        elif data[at] == 45 or 48 <= data[at] <= 57:
            stop, digits, negative, whole, nonzero = read_number(data, at, end)
            fits = digits <= 18 if role == OTHER else number_fits(role, digits, negative, whole, nonzero)
            if stop < 0 or not fits or (role != OTHER and role not in _NUMERIC):
                return -1
            at = stop
        else:
            stop = is_literal(data, at, end) if role == OTHER else -1
            if stop < 0:
                return -1
            at = stop
        if role >= ID:
            spans[role - ID, 0] = begin
            spans[role - ID, 1] = stop
        at = skip_space(data, at, end)
        if at < end and data[at] == 44:
            at = skip_space(data, at + 1, end)
            continue
        if at >= end or data[at] != 125:
            return -1
        at = skip_space(data, at + 1, end)
        return at + 1 if at < end and data[at] == 10 else -1
