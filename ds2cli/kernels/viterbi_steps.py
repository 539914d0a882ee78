"""The steps of the CTC trellis: scores of all states, and where the best path to each of them was some steps before.

Notation: T steps, L labels, W words. `kernels/viterbi.py` explains the states and how paths are put together.

Loops over slices that start at 0, range(n) and selects of values that are already loaded let LLVM vectorize them:
0.3 ns per state and step with AVX-512, where branches took 2.6 ns.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ds2cli.kernels._jit import inner_kernel

REBASE_STEPS = 256
"""Steps after which the best score is subtracted from all, so that float32 stays exact near the best path."""


class Target(NamedTuple):
    """A text to be found in an emission; see `kernels/viterbi.py`.

    labels: (L + 1,) int32, the column of each label in the scores, and any other one at the end, which is not used.
    jump: (L + 1,) float32, 0 where a label may follow the one before it without a blank, else -inf.
    words: (W + 1,) int32, the first label of each word, then L; (0,) if there are no gaps.
    skip_costs: (W + 1,) float32, nats to leave out the word before each of them; the first is not used.
    gap_cost: nats for each gap.  gap_column: the column that a gap emits.
    """

    labels: NDArray[np.int32]
    jump: NDArray[np.float32]
    words: NDArray[np.int32]
    skip_costs: NDArray[np.float32]
    gap_cost: float
    gap_column: int


class States(NamedTuple):
    """A value for each state of n labels, the blanks before them, and k gaps.

    blank: (n,).  label: (n + 1,), that of label j at j + 1, so that label[j] is that of the label before.  gap: (k,).
    """

    blank: NDArray[np.generic]
    label: NDArray[np.generic]
    gap: NDArray[np.generic]


@inner_kernel
def advance_scores(blank, before, label, jump, label_logp, blank_logp, next_blank, next_label):
    """One step for n blanks and the labels after them, without gaps.

    blank, label: (n,), the scores before it; before: (n,), of the label before each.  jump: (n,), that of the target.
    label_logp: (n,).  next_blank, next_label: (n,), the scores after the step.
    """
    for j in range(len(label_logp)):
        stay, step = blank[j], before[j]
        next_blank[j] = (step if step > stay else stay) + blank_logp
    for j in range(len(label_logp)):
        stay, step, leap = label[j], blank[j], before[j] + jump[j]
        best = step if step > stay else stay
        next_label[j] = (leap if leap > best else best) + label_logp[j]


@inner_kernel
def _advance_sources(blank, before, label, jump, blank_from, before_from, label_from, next_blank_from, next_label_from):
    for j in range(len(blank)):
        stay, step = blank_from[j], before_from[j]
        next_blank_from[j] = step if before[j] > blank[j] else stay
    for j in range(len(blank)):
        stay, step, leap = label_from[j], blank_from[j], before_from[j]
        best = blank[j] if blank[j] > label[j] else label[j]
        source = step if blank[j] > label[j] else stay
        next_label_from[j] = leap if before[j] + jump[j] > best else source


@inner_kernel
def _advance_gaps(
    blank, before, blank_from, before_from, gap, gap_from, next_gap_from, next_label, next_label_from,
    starts, skip_costs, gap_cost, gap_logp, label_logp,
):  # fmt: skip
    """Leave each gap for the word after it, enter it, stay in it, or reach it by leaving out the word before it."""
    reached, reached_from = np.float32(-np.inf), np.int32(0)
    for k in range(len(starts)):
        j = starts[k]
        best, source = gap[k], gap_from[k]
        stay, leave, stay_from = next_label[j], best + label_logp[j], next_label_from[j]
        next_label[j] = leave if leave > stay else stay
        next_label_from[j] = source if leave > stay else stay_from
        enter, enter_from = blank[j] - gap_cost, blank_from[j]
        source = enter_from if enter > best else source
        best = enter if enter > best else best
        enter, enter_from = before[j] - gap_cost, before_from[j]
        source = enter_from if enter > best else source
        best = (enter if enter > best else best) + gap_logp
        skip = reached - skip_costs[k]
        source = reached_from if skip > best else source
        best = skip if skip > best else best
        gap[k], next_gap_from[k] = best, source
        reached, reached_from = best, source


@inner_kernel
def rebase(*arrays):
    """Subtract the best of all scores from all of them."""
    best = np.float32(-np.inf)
    for array in arrays:
        for j in range(len(array)):
            best = array[j] if array[j] > best else best
    if best > -np.inf:
        for array in arrays:
            for j in range(len(array)):
                array[j] -= best


@inner_kernel
def advance(
    scores, first, end, offset, labels, jump, emitted, starts, skip_costs, gap_cost, gap_column, total, score, spare,
    own, source, spare_source, marks, spacing, label_logp,
):  # fmt: skip
    """Advance the scores of a part of the trellis, which has n labels, k gaps and `total` steps.

    scores: (T, U) float32.  first, end, offset: the steps of the part to take, and the step of the emission that is its
    first one.  labels, jump: (n,), those of the target.  starts: (k,) int32, the label of the part after each gap.
    skip_costs: (k,).  Without gaps only labels are computed that can be on a path from the first label to the last one.
    score, spare: States of float32, before the first step, and a work space.  own: States of int32, the numbers of the
    states themselves.  source, spare_source: States of int32, where the best path to each state was at the last mark.
    marks: States of int32 with one more dimension: after every `spacing` steps, where the best path to each state was
    at the mark before.  label_logp: (n,) float32, -inf, of which as many are written as
    labels are `emitted`.
    After an odd number of steps scores and sources are in `spare` and `spare_source`, but for the gaps' scores.
    """
    n, num_gaps, gap = len(labels), len(starts), score.gap
    for t in range(first, end):
        row = scores[offset + t]
        low, high = 0, n
        if not num_gaps:
            low, high = max(0, n - 2 - (total - 1 - t)), min(n, t + 2)
        for j in range(low, min(high, emitted)):
            label_logp[j] = row[labels[j]]
        blank, label, before = score.blank[low:high], score.label[low + 1 : high + 1], score.label[low:high]
        next_blank, next_label = spare.blank[low:high], spare.label[low + 1 : high + 1]
        old = own if t % spacing == 0 else source
        blank_from, label_from, before_from = old.blank[low:high], old.label[low + 1 : high + 1], old.label[low:high]
        is_mark = (t + 1) % spacing == 0
        mark = t // spacing if is_mark else 0
        next_blank_from = marks.blank[mark, low:high] if is_mark else spare_source.blank[low:high]
        next_label_from = marks.label[mark, low + 1 : high + 1] if is_mark else spare_source.label[low + 1 : high + 1]
        next_gap_from = marks.gap[mark] if is_mark else spare_source.gap
        advance_scores(blank, before, label, jump[low:high], label_logp[low:high], row[0], next_blank, next_label)
        _advance_sources(
            blank, before, label, jump[low:high], blank_from, before_from, label_from, next_blank_from, next_label_from
        )
        if num_gaps:
            _advance_gaps(
                blank, before, blank_from, before_from, gap, old.gap, next_gap_from, next_label, next_label_from,
                starts, skip_costs, gap_cost, row[gap_column], label_logp,
            )  # fmt: skip
        if (offset + t + 1) % REBASE_STEPS == 0:
            rebase(next_blank, next_label, gap)
        score, spare = spare, score
        source, spare_source = spare_source, source
