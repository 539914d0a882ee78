"""Inner loops of reading and writing ARPA files. Notation: V words, n order of a section, C n-grams in it."""

from __future__ import annotations

import numpy as np

from ds2cli.kernels._jit import kernel
from ds2cli.kernels.ngram_words import hash_word

SHORT_LINE, BAD_NUMBER, POSITIVE, UNKNOWN_WORD, DUPLICATE = -1, -2, -3, -4, -5
_TAB, _NEWLINE, _RETURN, _SPACE, _PLUS, _MINUS, _POINT, _ZERO = 9, 10, 13, 32, 43, 45, 46, 48


@kernel
def parse_number(text, start, end):
    """The decimal number in text[start:end] as float64, NaN if it is not a number. Exact up to 15 digits."""
    negative = start < end and text[start] == _MINUS
    i = start + 1 if start < end and (text[start] == _MINUS or text[start] == _PLUS) else start
    mantissa, scale, digits, seen_point = 0.0, 0, 0, False
    while i < end and (text[i] == _POINT or _ZERO <= text[i] <= _ZERO + 9):
        if text[i] == _POINT:
            if seen_point:
                return np.nan
            seen_point = True
        else:
            digits += 1
            if digits <= 18:
                mantissa = mantissa * 10.0 + (text[i] - _ZERO)
                scale -= 1 if seen_point else 0
            elif not seen_point:
                scale += 1
        i += 1
    if digits == 0:
        return np.nan
    if i < end:
        if text[i] != 101 and text[i] != 69:
            return np.nan
        i += 1
        negative_exponent = i < end and text[i] == _MINUS
        if i < end and (text[i] == _MINUS or text[i] == _PLUS):
            i += 1
        if i >= end:
            return np.nan
        exponent = 0
        while i < end:
            if not _ZERO <= text[i] <= _ZERO + 9:
                return np.nan
            exponent = min(exponent * 10 + (text[i] - _ZERO), 999)
            i += 1
        scale += -exponent if negative_exponent else exponent
    value = mantissa / 10.0**-scale if scale < 0 else mantissa * 10.0**scale
    return -value if negative else value


@kernel
def find_word(text, start, end, slots, spans):
    """The hash slot of the word text[start:end], whether it is filled or not.

    slots: (S,) word id or -1.  spans: (V, 2), start and end of each word in text.
    """
    mask = len(slots) - 1
    slot = np.int64(hash_word(text, start, end)) & mask
    while slots[slot] >= 0:
        begin = spans[slots[slot], 0]
        if spans[slots[slot], 1] - begin == end - start:
            same = True
            for k in range(end - start):
                if text[begin + k] != text[start + k]:
                    same = False
                    break
            if same:
                return slot
        slot = (slot + 1) & mask
    return slot


@kernel
def _next_field(text, pos, stop):
    """Start and end of the next field in text[at:stop]; equal if there is none."""
    while pos < stop and (text[pos] == _SPACE or text[pos] == _TAB or text[pos] == _RETURN):
        pos += 1
    start = pos
    while pos < stop and text[pos] != _SPACE and text[pos] != _TAB and text[pos] != _RETURN:
        pos += 1
    return start, pos


@kernel
def parse_section(text, pos, n, slots, spans, ids, probs, backoffs):
    """Read the C lines of the section of order n that start at byte `pos`.

    Fills ids (C, n) int32, probs (C,) and backoffs (C,) float32 (0 where a line has none); order 1 adds its words to
    slots and spans. Returns the byte after the section and 0, or the first byte of a bad line and its error code.
    """
    for c in range(len(probs)):
        stop = pos
        while stop < len(text) and text[stop] != _NEWLINE:
            stop += 1
        start, end = _next_field(text, pos, stop)
        if start == end:
            return pos, SHORT_LINE
        probs[c] = parse_number(text, start, end)
        if not probs[c] > -np.inf:
            return pos, BAD_NUMBER
        if probs[c] > 0:
            return pos, POSITIVE
        for k in range(n):
            start, end = _next_field(text, end, stop)
            if start == end:
                return pos, SHORT_LINE
            slot = find_word(text, start, end, slots, spans)
            if n == 1:
                if slots[slot] >= 0:
                    return pos, DUPLICATE
                slots[slot] = c
                spans[c, 0], spans[c, 1] = start, end
            elif slots[slot] < 0:
                return pos, UNKNOWN_WORD
            ids[c, k] = slots[slot]
        start, end = _next_field(text, end, stop)
        backoffs[c] = parse_number(text, start, end) if end > start else 0.0
        if not -np.inf < backoffs[c] < np.inf:
            return pos, BAD_NUMBER
        pos = stop + 1
    return pos, 0


@kernel
def _write_number(out, pos, value):
    """Write a float with up to seven decimals, without trailing zeros; returns the byte after it."""
    scaled = np.int64(np.round(np.abs(value) * 1e7))
    if value < 0 and scaled > 0:
        out[pos] = _MINUS
        pos += 1
    integer, fraction = scaled // 10000000, scaled % 10000000
    width = 1
    while integer >= 10**width:
        width += 1
    for k in range(width):
        out[pos + width - 1 - k] = _ZERO + integer % 10
        integer //= 10
    pos += width
    if fraction == 0:
        return pos
    out[pos] = _POINT
    end = pos + 1
    for k in range(7):
        digit = fraction // 10 ** (6 - k) % 10
        out[pos + 1 + k] = _ZERO + digit
        if digit != 0:
            end = pos + 2 + k
    return end


@kernel
def format_section(letters, starts, ids, probs, backoffs, out):
    """Write n-gram lines: log10 probability, tab, words, and tab, backoff where backoffs (C,) is not empty.

    letters: concatenated bytes of all words.  starts: (V + 1,), offsets of the words.  ids: (C, n).
    out: must be large enough.  Returns the number of bytes written.
    """
    pos = 0
    for c in range(ids.shape[0]):
        pos = _write_number(out, pos, probs[c])
        for k in range(ids.shape[1]):
            out[pos] = _TAB if k == 0 else _SPACE
            pos += 1
            for b in range(starts[ids[c, k]], starts[ids[c, k] + 1]):
                out[pos] = letters[b]
                pos += 1
        if len(backoffs) > 0:
            out[pos] = _TAB
            pos = _write_number(out, pos + 1, backoffs[c])
        out[pos] = _NEWLINE
        pos += 1
    return pos
