"""Names of the groups of utterances that `ds2 score --by FIELD` counts apart, and the order of their lines."""

from __future__ import annotations

import math
import re
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

LENGTH, DURATION = "length", "duration"
"""Fields whose values are counted in ranges: the number of reference words, and seconds."""

LENGTH_LIMITS = (0, 5, 10, 20, 40)
"""The last length of each range but the last; commands, sentences and long utterances fall into separate ones."""

DURATION_LIMITS = (2, 5, 10, 20, 30)
"""Where each range of durations but the first begins (s)."""

_LENGTHS = ("0", *(f"{a + 1}-{b}" for a, b in pairwise(LENGTH_LIMITS)))
_LENGTHS += (f"{LENGTH_LIMITS[-1] + 1}+",)
_DURATIONS = tuple(f"{a}-{b}s" for a, b in pairwise((0, *DURATION_LIMITS)))
_DURATIONS += (f"{DURATION_LIMITS[-1]}+s",)
_NUMBER = re.compile(r"([0-9]+(?:\.[0-9]+)?)")

_SIGNED = re.compile(r"-?[0-9]+(\.[0-9]+)?")

SortKey = tuple[bool, tuple[tuple[int, float, str], ...]]


def group_name(field: str, row: Mapping[str, Any], num_words: int) -> str:
    """The name of the group of a row: `speaker=anna`, and `speaker=None` if it lacks the field.

    num_words: words of its reference. By `length`, whether or not rows have such a field, the groups are ranges of this
    number: `length=6-10`. By `duration` they are ranges of seconds that include their first value: `duration=5-10s`.

    >>> group_name("length", {}, 7), group_name("duration", {"duration": 5.0}, 7)
    ('length=6-10', 'duration=5-10s')
    """
    if field == LENGTH:
        return f"{field}={_LENGTHS[bisect_left(LENGTH_LIMITS, num_words)]}"
    value = row.get(field)
    if field == DURATION and isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value):
        return f"{field}={_DURATIONS[bisect_right(DURATION_LIMITS, value)]}"
    return f"{field}={value}"


def sort_key(name: str) -> SortKey:
    """Orders names of groups as a person would: numbers by their value, rows without the field last.

    >>> sorted(["s=10", "s=None", "s=9", "s=a"], key=sort_key)
    ['s=9', 's=10', 's=a', 's=None']
    """
    field, _, value = name.partition("=")
    if _SIGNED.fullmatch(value):
        return False, ((1, 0.0, field), (0, float(value), value))
    parts = _NUMBER.split(value)
    # every second part is a number; in between, a text sorts after a number, and the end of the name first
    natural = [(0, float(part), part) if i % 2 else (1, 0.0, part) for i, part in enumerate(parts) if part]
    return value == "None", ((1, 0.0, field), *natural)
