"""The best path of a text through an emission of any length (Deep Speech 2, section 5.1, equation 13).

Notation: T steps, U columns of scores with blank 0, L labels, W words.

The trellis has two states for each label: 2j is the blank before label j (2L the blank after the last), 2j + 1 is label
j. With gaps it has one more before each word, and one after the last: 2L + 1 + w. In a gap the emission is not spelled,
and words may be left out: a gap is where the text and the recording differ.

The path is found in memory that grows with T + L, not with T x L. Back-pointers for all steps would take 13 GB for an
hour. Instead each state remembers where the best path to it was at the last of some marked steps; that tells where the
whole path was at the marks, and between two of them only a small part of the trellis is left, which is divided in the
same way until every step is marked. Hirschberg's method computes the trellis twice to that end, this one little more
than once. Nothing is pruned: the path is the best one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ds2cli.kernels._jit import kernel
from ds2cli.kernels.viterbi_plain import advance_plain, retrace
from ds2cli.kernels.viterbi_steps import States, Target, advance

MARK_BYTES = 1 << 26
"""Most memory for what the states remember at the marks. More of it makes the parts between the marks smaller."""

PART_BYTES = 1 << 20
"""A part that takes no more than this is solved at once, with a mark after every step; this much is in the cache."""

LEAST_SPACING = 32
"""Steps between two marks of a part without gaps, or more: as many are computed at once for as many labels."""

CHECK_STATES = 1 << 25
"""States that are computed between two calls of `check`: some 20 ms."""

END = -1
"""In the place of a last state: the best of those that may end a text."""


def steps_needed(labels: NDArray[np.int32]) -> int:
    """The minimum number of steps to spell `labels` (L,): one per label, and one per blank between two equal labels."""
    return len(labels) + int(np.count_nonzero(labels[1:] == labels[:-1]))


def viterbi_ref(scores: NDArray[np.float32], target: Target) -> NDArray[np.int32]:
    """The states of the best path; the reference, in float64 and with back-pointers for all steps.

    scores: (T, U) float32, log-probabilities of the columns; see `Target`.
    Returns (T,) int32. Ties prefer staying in a state, then coming from the blank before a label, then from the label
    before it, then from a gap, then leaving out a word; and for the end a blank, then a label.
    """
    T, L, W = len(scores), len(target.labels) - 1, len(target.words) - 1
    score = np.full((T + 1, 2 * L + 2 + max(W, 0)), -np.inf)
    source = np.zeros(score.shape, np.int64)
    score[0, 0] = 0.0  # before the first step, as if after a blank
    for t in range(1, T + 1):
        row = scores[t - 1].astype(np.float64)
        for s in range(score.shape[1]):
            word = s - 2 * L - 1
            if word >= 0 and W >= 0:
                j = int(target.words[word])
                found = [(score[t - 1, s], s)]
                for enter in [2 * j] + ([2 * j - 1] if j else []):
                    found.append((score[t - 1, enter] - target.gap_cost, enter))
                column = target.gap_column
            elif s % 2:
                j = s // 2
                found = [(score[t - 1, p], p) for p in (s, s - 1)]
                if j and target.jump[j] == 0:
                    found.append((score[t - 1, s - 2], s - 2))
                for w in np.flatnonzero(target.words[:-1] == j):
                    found.append((score[t - 1, 2 * L + 1 + w], 2 * L + 1 + int(w)))
                if j == L:
                    continue
                column = int(target.labels[j])
            elif s <= 2 * L:
                found = [(score[t - 1, p], p) for p in (s, s - 1) if p >= 0]
                column = 0
            else:
                continue
            best, source[t, s] = max(found, key=lambda pair: pair[0])
            score[t, s] = best + row[column]
            if word > 0 and score[t, s - 1] - target.skip_costs[word] > score[t, s]:
                score[t, s] = score[t, s - 1] - target.skip_costs[word]
                source[t, s] = source[t, s - 1]
    ends = [2 * L] + ([2 * L - 1] if L else []) + ([2 * L + 1 + W] if W >= 0 else [])
    s, path = max(ends, key=lambda p: score[T, p]), np.empty(T, np.int32)
    for t in range(T, 0, -1):
        path[t - 1] = s
        s = int(source[t, s])
    return path


def _ignore(_: float) -> None:
    pass


def viterbi(scores: NDArray[np.float32], target: Target, check: Callable[[float], None] = _ignore) -> NDArray[np.int32]:
    """As `viterbi_ref`. check: called with the share of the work that is done; may raise to stop."""
    path = np.full(len(scores), -1, np.int32)
    parts = [(0, len(scores))] if len(scores) else []
    while parts:
        begin, end = parts.pop()
        first, last = int(path[begin - 1]) if begin else 0, int(path[end - 1])
        if not len(target.words) and (spacing := _choose_plain_spacing(target, begin, end, first, last)):
            _solve_plain(scores, target, begin, end, first, last, spacing, path, check)
            continue
        spacing = _divide(scores, target, begin, end, first, last, path, check)
        marks = [*range(begin, end, spacing), end]
        if spacing > 1:
            parts += [(a, b) for a, b in itertools.pairwise(marks) if b - a > 1]
        # the others take little
        check = _ignore
    return path


def _divide(
    scores: NDArray[np.float32],
    target: Target,
    begin: int,
    end: int,
    first: int,
    last: int,
    path: NDArray[np.int32],
    check: Callable[[float], None],
) -> int:
    """Find where the path is at some marks of the steps from `begin` to before `end`, and return their spacing.

    first: the state in which the path is before `begin`.  last: that of the last step, or END.
    """
    L, total = len(target.labels) - 1, end - begin
    first_label, last_label = _label_of(first, target), _last_label(last, target)
    n = last_label - first_label + 1
    word, last_word = np.searchsorted(target.words, (first_label, last_label + 1)).tolist()
    size = 2 * n + 1 + last_word - word
    spacing = _choose_spacing(total, size)
    own = States(
        np.arange(2 * first_label, 2 * (first_label + n), 2, dtype=np.int32),
        np.arange(2 * first_label - 1, 2 * (first_label + n), 2, dtype=np.int32),
        np.arange(2 * L + 1 + word, 2 * L + 1 + last_word, dtype=np.int32),
    )
    score, spare = (States(*(np.full(len(part), -np.inf, np.float32) for part in own)) for _ in range(2))
    for own_part, score_part in zip(own, score, strict=True):
        score_part[own_part == first] = 0
    source, spare_source = (States(*(np.zeros(len(part), np.int32) for part in own)) for _ in range(2))
    marks = States(*(np.empty((total // spacing, len(part)), np.int32) for part in own))
    labels, jump = target.labels[first_label : last_label + 1], target.jump[first_label : last_label + 1]
    starts = target.words[word:last_word] - np.int32(first_label)
    skip_costs, label_logp = target.skip_costs[word:last_word], np.full(n, -np.inf, np.float32)
    emitted = min(n, L - first_label)
    count = max(1, CHECK_STATES // size)
    for t in range(0, total, count):
        check(t / total)
        stop = min(t + count, total)
        advance(
            scores, t, stop, begin, labels, jump, emitted, starts, skip_costs, np.float32(target.gap_cost),
            target.gap_column, total, score, spare, own, source, spare_source, marks, spacing, label_logp,
        )  # fmt: skip
        if (stop - t) % 2:
            score, spare = spare._replace(gap=score.gap), score._replace(gap=spare.gap)
            source, spare_source = spare_source, source
    if last == END:
        ends = [(score.blank[-1], 2 * L), (score.label[-2], 2 * L - 1)]
        if len(starts):
            ends.append((score.gap[-1], 2 * L + len(target.words)))
        last = max(ends, key=lambda pair: pair[0])[1]
    trace(path, begin, end, last, source, marks, spacing, own)
    return spacing


def _choose_spacing(total: int, size: int) -> int:
    """Steps between two marks of a part: 1 if all can be marked, else enough that its parts can."""
    times = 4 * total * size / PART_BYTES
    if times <= 1:
        return 1
    # a part of 1 / count of the steps has that share of the labels where the text is spoken at an even rate
    count = min(math.ceil(4 * math.sqrt(times)), MARK_BYTES // (4 * size), total)
    return -(-total // max(2, count))


def _choose_plain_spacing(target: Target, begin: int, end: int, first: int, last: int) -> int:
    """Steps between two marks of a part without gaps; 0 if it does not fit."""
    total, n = end - begin, _last_label(last, target) - _label_of(first, target) + 1
    spacing = max(LEAST_SPACING, -(-8 * total * n // MARK_BYTES))
    return spacing if 8 * spacing * spacing <= MARK_BYTES else 0


def _solve_plain(
    scores: NDArray[np.float32],
    target: Target,
    begin: int,
    end: int,
    first: int,
    last: int,
    spacing: int,
    path: NDArray[np.int32],
    check: Callable[[float], None],
) -> None:
    """Find the path in all steps of a part without gaps; see `_divide`."""
    total, first_label, last_label = end - begin, _label_of(first, target), _last_label(last, target)
    n = last_label - first_label + 1
    labels, jump = target.labels[first_label : last_label + 1], target.jump[first_label : last_label + 1]
    blank, label, spare_blank, spare_label = (np.full(n + i, -np.inf, np.float32) for i in (0, 1, 0, 1))
    if first % 2:
        label[1] = 0
    else:
        blank[0] = 0
    saved_blank, saved_label = (np.empty((total // spacing, n + i), np.float32) for i in (0, 1))
    label_logp, emitted = np.full(n, -np.inf, np.float32), min(n, len(target.labels) - 1 - first_label)
    count, sink = max(1, CHECK_STATES // (2 * n)), np.empty(1, np.float32)
    for t in range(0, total, count):
        check(t / total)
        stop = min(t + count, total)
        advance_plain(
            scores, t, stop, begin, labels, jump, emitted, total, blank, label, spare_blank, spare_label, saved_blank,
            saved_label, spacing, label_logp, sink,
        )  # fmt: skip
        if (stop - t) % 2:
            blank, label, spare_blank, spare_label = spare_blank, spare_label, blank, label
    end_state = 2 * n - 2 if blank[-1] >= label[-2] else 2 * n - 3
    local = end_state if last == END else last - 2 * first_label
    blanks, labels_at = (np.empty((spacing + 1, spacing + i), np.float32) for i in (1, 2))
    retrace(
        scores, begin, labels, jump, emitted, total, first - 2 * first_label, local, saved_blank, saved_label, spacing,
        blanks, labels_at, label_logp, path,
    )  # fmt: skip
    path[begin:end] += np.int32(2 * first_label)


def _last_label(last: int, target: Target) -> int:
    return len(target.labels) - 1 if last == END else _label_of(last, target)


def _label_of(state: int, target: Target) -> int:
    """The label of a state: the one after a blank, and after a gap."""
    L = len(target.labels) - 1
    return state // 2 if state <= 2 * L else int(target.words[state - 2 * L - 1])


@kernel
def trace(path, begin, end, last, source, marks, spacing, own):
    """Write the states of the best path at the marks, and `last` for the last step, to `path` (T,)."""
    state, t = last, end
    first_blank, first_gap = own.blank[0], own.gap[0] if len(own.gap) else np.int32(2147483647)
    while t > begin:
        path[t - 1] = state
        steps = t - begin
        at_mark = steps % spacing == 0
        mark = steps // spacing - 1
        if state >= first_gap:
            i = state - first_gap
            state = marks.gap[mark, i] if at_mark else source.gap[i]
        elif state % 2:
            i = (state - first_blank + 1) // 2
            state = marks.label[mark, i] if at_mark else source.label[i]
        else:
            i = (state - first_blank) // 2
            state = marks.blank[mark, i] if at_mark else source.blank[i]
        t = begin + ((steps - 1) // spacing) * spacing
