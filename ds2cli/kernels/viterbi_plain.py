"""The best path through a part of the CTC trellis without gaps: from the scores alone.

Notation: n labels of the part. `kernels/viterbi.py` explains the states and how parts are put together.

Where a path came from follows from the scores of the step before, so it is enough to have those. They are kept at some
marked steps; from the end of the path, the steps between two marks are computed once more, for only as many labels as
there are steps, since a path moves on by one label per step at most.
"""

from __future__ import annotations

import numpy as np

from ds2cli.kernels._jit import inner_kernel
from ds2cli.kernels.columns import WIDE, touch
from ds2cli.kernels.viterbi_steps import REBASE_STEPS, advance_scores, rebase


@inner_kernel
def advance_plain(
    scores, first, end, offset, labels, jump, emitted, total, blank, label, spare_blank, spare_label, saved_blank,
    saved_label, spacing, label_logp, sink,
):  # fmt: skip
    """Advance the scores of a part of `total` steps, and save those after every `spacing` steps.

    scores: (T, U) float32.  first, end, offset: the steps of the part to take, and the step of the emission that is its
    first one.  labels: (n,) int32, jump: (n,) float32, those of the target.  blank: (n,), label: (n + 1,) float32, the
    scores before the first step, as in `States`; spare_blank, spare_label: work space.  saved_blank, saved_label: of
    one more dimension.  label_logp: (n,) float32, -inf, of which as many are written as labels are `emitted`.
    sink: (1,) float32, written.
    After an odd number of steps the scores are in the work space; after the last one of a mark they are also saved.
    """
    n, touched = len(labels), np.float32(0)
    for t in range(first, end):
        row = scores[offset + t]
        if len(row) > WIDE:
            touched += touch(row)
        low, high = max(0, n - 2 - (total - 1 - t)), min(n, t + 2)
        for j in range(low, min(high, emitted)):
            label_logp[j] = row[labels[j]]
        advance_scores(
            blank[low:high], label[low:high], label[low + 1 : high + 1], jump[low:high], label_logp[low:high], row[0],
            spare_blank[low:high], spare_label[low + 1 : high + 1],
        )  # fmt: skip
        if (offset + t + 1) % REBASE_STEPS == 0:
            rebase(spare_blank[low:high], spare_label[low + 1 : high + 1])
        if (t + 1) % spacing == 0:
            # `retrace` may look at labels up to `spacing` after those that can be on a path
            for j in range(max(0, low - 2), min(n, high + spacing + 1)):
                is_computed = low <= j < high
                saved_blank[t // spacing, j] = spare_blank[j] if is_computed else np.float32(-np.inf)
                saved_label[t // spacing, j + 1] = spare_label[j + 1] if is_computed else np.float32(-np.inf)
        blank, spare_blank = spare_blank, blank
        label, spare_label = spare_label, label
    sink[0] = touched


@inner_kernel
def retrace(
    scores, offset, labels, jump, emitted, total, first, last, saved_blank, saved_label, spacing, blanks, labels_at,
    label_logp, path,
):  # fmt: skip
    """Write the best path of a part to `path` (T,), as states of the part: 2j is the blank before label j.

    first, last: the states before its first step and in its last one. blanks: (spacing + 1, spacing + 1) and labels_at:
    (spacing + 1, spacing + 2) float32, work space. The others are as in `advance_plain`.
    """
    state, mark = last, (total - 1) // spacing
    while mark >= 0:
        begin = mark * spacing
        steps = min(total - begin, spacing)
        high = state // 2 + 1
        low = max(0, high - 1 - steps)
        width = high - low
        blank, label = blanks[0, :width], labels_at[0, : width + 1]
        for j in range(width):
            if mark:
                blank[j], label[j + 1] = saved_blank[mark - 1, low + j], saved_label[mark - 1, low + j + 1]
            else:
                blank[j] = np.float32(0) if first == 2 * (low + j) else np.float32(-np.inf)
                label[j + 1] = np.float32(0) if first == 2 * (low + j) + 1 else np.float32(-np.inf)
        for i in range(steps):
            row = scores[offset + begin + i]
            for j in range(width):
                label_logp[j] = row[labels[low + j]]
            if high > emitted:
                label_logp[width - 1] = np.float32(-np.inf)
            labels_at[i, 0] = np.float32(-np.inf)
            before, here = labels_at[i, :width], labels_at[i, 1 : width + 1]
            next_blank, next_label = blanks[i + 1, :width], labels_at[i + 1, 1 : width + 1]
            advance_scores(
                blanks[i, :width], before, here, jump[low:high], label_logp[:width], row[0], next_blank, next_label
            )
            if (i + 1) % REBASE_STEPS == 0:
                rebase(next_blank, next_label)
        for i in range(steps - 1, -1, -1):
            path[offset + begin + i] = state
            j = state // 2
            # a label is one place further in its row than the blank before it
            stay_blank, before = blanks[i, j - low], labels_at[i, j - low]
            if state % 2 == 0:
                state -= before > stay_blank
                continue
            stay = labels_at[i, j - low + 1]
            best = stay_blank if stay_blank > stay else stay
            if before + jump[j] > best:
                state -= 2
            elif stay_blank > stay:
                state -= 1
        mark -= 1
