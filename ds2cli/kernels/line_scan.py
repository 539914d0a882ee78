"""Read the plain lines of a manifest for commands that pass rows on: no row becomes a Python object.

A line is plain if it is one flat JSON object without escapes, whose fields have the right types, whose id is ASCII, and
whose numbers are written as Python writes them. `scan_lines` copies such a line as `manifest.format_row` would write
it. Every other line is left to Python: all errors are the business of one implementation.

Notation: B bytes of lines, R lines, K names of fields, W wanted fields.
"""

from __future__ import annotations

import numpy as np

from ds2cli.kernels._jit import inner_kernel
from ds2cli.kernels.row_json import (
    COUNT,
    FACTOR,
    NAME,
    NUMBER,
    OTHER,
    SECONDS,
    SLOW,
    copy_bytes,
    find_name,
    is_literal,
    is_normal,
    number_fits,
    read_name,
    read_string,
    skip_space,
)

# why `scan_lines` stopped
END, FULL = 0, 1

# what is noted of a field
NOTHING, RELATIVE, DURATION = 0, 1, 2

# columns of the bounds of a line
BEGIN, STOP, PLAIN = 0, 1, 2

MOST_DIGITS = 15
"""Decimal numbers of up to 15 digits are distinct doubles, so Python writes them with the same digits."""

_NUMERIC = (NUMBER, COUNT, SECONDS, FACTOR)
_FNV, _PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
_POWERS = 10.0 ** np.arange(23)


@inner_kernel
def read_decimal(data, at, end):
    """A number that Python would write as it is: its end (-1 if it is none), value, digits before the point, and
    whether it is negative and whole."""
    negative = at < end and data[at] == 45
    if negative:
        at += 1
    begin, mantissa, significant = at, np.int64(0), 0
    while at < end and 48 <= data[at] <= 57:
        significant += 1 if mantissa > 0 or data[at] != 48 else 0
        if significant > 18:
            return -1, 0.0, 0, False, False
        mantissa = mantissa * 10 + np.int64(data[at] - 48)
        at += 1
    digits = at - begin
    if digits == 0 or (digits > 1 and data[begin] == 48):
        return -1, 0.0, 0, False, False
    if at >= end or data[at] != 46:
        # JSON's -0 is the number 0 in Python, and 1e3 is 1000.0
        if (negative and mantissa == 0) or (at < end and (data[at] == 101 or data[at] == 69)):
            return -1, 0.0, 0, False, False
        value = np.float64(mantissa)
        return at, -value if negative else value, digits, negative, True
    at += 1
    begin = at
    while at < end and 48 <= data[at] <= 57:
        significant += 1 if mantissa > 0 or data[at] != 48 else 0
        if significant > MOST_DIGITS:
            return -1, 0.0, 0, False, False
        mantissa = mantissa * 10 + np.int64(data[at] - 48)
        at += 1
    places = at - begin
    # no zero at the end but in 1.0; below 0.0001 Python writes an exponent
    ends_well = places == 1 or (places > 1 and data[at - 1] != 48)
    if not ends_well or (mantissa > 0 and significant + 3 < places) or significant > MOST_DIGITS:
        return -1, 0.0, 0, False, False
    if at < end and (data[at] == 101 or data[at] == 69):
        return -1, 0.0, 0, False, False
    value = np.float64(mantissa) / _POWERS[places]
    return at, -value if negative else value, digits, negative, False


@inner_kernel
def starts_with_part(data, begin, end, part):
    """Whether the first part of a path, up to a slash, is `part`."""
    size = len(part)
    if size == 0 or end - begin < size or (end - begin > size and data[begin + size] != 47):
        return False
    same = True
    for k in range(size):
        same &= data[begin + k] == part[k]
    return same


@inner_kernel
def copy_line(data, at, end, keys, paths, out, used, spans, scratch):
    """Copy one plain line to `out` at `used`, without spaces, relative paths changed; note the wanted fields.

    spans: (W, 2) int64, places in `out`, of the id first.
    Returns the position after it in `out`, -1 if it is not plain, and the duration, NaN if there is none.
    """
    table, hashes, names, name_ends, kinds, columns, notes = keys
    prefix, part, rebase = paths
    seen, others = scratch
    unknown, duration = 0, np.nan
    for k in range(len(spans)):
        spans[k, 0] = spans[k, 1] = -1
    for k in range(len(seen)):
        seen[k] = False
    at = skip_space(data, at, end)
    if at >= end or data[at] != 123:
        return -1, duration
    out[used] = 123
    used += 1
    at = skip_space(data, at + 1, end)
    while True:
        if at >= end or data[at] != 34:
            return -1, duration
        begin, digest = at + 1, _FNV
        at += 1
        while at < end and 32 <= data[at] <= 126 and data[at] != 34 and data[at] != 92:
            digest = (digest ^ np.uint64(data[at])) * _PRIME
            at += 1
        if at >= end or data[at] != 34:
            return -1, duration
        key = find_name(data, begin, at, digest, table, hashes, names, name_ends)
        if key >= 0:
            if seen[key]:
                return -1, duration
            seen[key] = True
        else:
            # names that appear twice are an error, and those whose hashes are equal are left to Python, too
            for k in range(unknown):
                if others[k] == digest:
                    return -1, duration
            if unknown == len(others):
                return -1, duration
            others[unknown] = digest
            unknown += 1
        kind = kinds[key] if key >= 0 else OTHER
        used = copy_bytes(data, begin - 1, at + 1, out, used)
        at = skip_space(data, at + 1, end)
        if at >= end or data[at] != 58 or kind == SLOW:
            return -1, duration
        out[used] = 58
        used += 1
        at = skip_space(data, at + 1, end)
        if at >= end:
            return -1, duration
        begin = at
        if data[at] == 34:
            if kind in _NUMERIC:
                return -1, duration
            begin = at + 1
            stop = read_name(data, begin, end) if kind == NAME else read_string(data, begin, end)
            if stop < 0:
                return -1, duration
            out[used] = 34
            used += 1
            start = used
            if key >= 0 and notes[key] == RELATIVE and rebase and stop > begin and data[begin] != 47:
                if starts_with_part(data, begin, stop, part) or not is_normal(data, begin, stop):
                    return -1, duration
                used = copy_bytes(prefix, 0, len(prefix), out, used)
            used = copy_bytes(data, begin, stop + 1, out, used)
            if key >= 0 and columns[key] >= 0:
                spans[columns[key], 0] = start
                spans[columns[key], 1] = used - 1
            at = stop + 1
        elif data[at] == 45 or 48 <= data[at] <= 57:
            stop, value, digits, negative, whole = read_decimal(data, at, end)
            if stop < 0 or (kind != OTHER and kind not in _NUMERIC):
                return -1, duration
            if kind != OTHER and not number_fits(kind, digits, negative, whole, value != 0):
                return -1, duration
            if key >= 0 and columns[key] >= 0:
                return -1, duration
            if key >= 0 and notes[key] == DURATION:
                duration = value
            used = copy_bytes(data, begin, stop, out, used)
            at = stop
        else:
            stop = is_literal(data, at, end) if kind == OTHER else -1
            if stop < 0 or (key >= 0 and columns[key] >= 0):
                return -1, duration
            used = copy_bytes(data, begin, stop, out, used)
            at = stop
        at = skip_space(data, at, end)
        if at < end and data[at] == 44:
            out[used] = 44
            used += 1
            at = skip_space(data, at + 1, end)
            continue
        if at >= end or data[at] != 125:
            return -1, duration
        at = skip_space(data, at + 1, end)
        if at < end or spans[0, 0] < 0:
            return -1, duration
        out[used] = 125
        out[used + 1] = 10
        return used + 2, duration


@inner_kernel
def scan_lines(data, at, keys, paths, out, bounds, spans, durations, scratch):
    """Copy the plain lines of `data` from `at` on to `out`, one after another.

    data: (B,) uint8, whole lines.  keys: table (a power of 2) int32, hashes (K,) uint64, bytes of all names uint8,
    their ends (K,) int64, and of each its kind, its column of spans or -1, and what is noted of it, (K,) int64.
    paths: what is put in front of relative paths, uint8; their first part with which Python has to look at them, uint8;
    and whether to change any.  out: uint8.  scratch: seen (K,) bool and others uint64; a line of more unknown fields is
    not plain.
    Writes of each line: bounds (R, 3) int64, its place in `out` if it is plain, else in `data`; spans (R, W, 2) int64,
    places of the wanted fields, -1 for those missing; durations (R,) float64, NaN if it has none.
    A wanted field has to be a string.
    Returns the number of lines, where it stopped, and why.
    """
    row, used, total = 0, 0, len(data)
    while at < total:
        end = at
        while end < total and data[end] != 10:
            end += 1
        # a line has at most one path of each kind
        if row == len(bounds) or used + (end - at) + 3 * len(paths[0]) + 2 > len(out):
            return row, at, FULL
        stop, durations[row] = copy_line(data, at, end, keys, paths, out, used, spans[row], scratch)
        if stop >= 0:
            bounds[row, BEGIN], bounds[row, STOP], bounds[row, PLAIN] = used, stop, 1
            used = stop
        else:
            bounds[row, BEGIN], bounds[row, STOP], bounds[row, PLAIN] = at, end, 0
        row, at = row + 1, end + 1
    return row, at, END
