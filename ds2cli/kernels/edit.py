"""Levenshtein distance: operation counts and one best alignment. Notation: R reference length, H hypothesis length.

Of alignments of equal cost this takes the one of Kaldi's `compute-wer` (LevenshteinEditDistance in
src/util/edit-distance-inl.h): the diagonal only when it is strictly cheaper, then a deletion only when it is cheaper
than an insertion. So insertions, deletions and substitutions are counted as Kaldi counts them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ds2cli.kernels._jit import kernel

_DIAGONAL, _DELETION, _INSERTION = 0, 1, 2


def edit_ops_ref(ref: NDArray[np.int32], hyp: NDArray[np.int32]) -> NDArray[np.int32]:
    """One best alignment; the reference.

    ref: (R,) ids.  hyp: (H,) ids.
    Returns (N, 2) int32, in order: the indices in `ref` and `hyp` of each step; -1 in the first column is an insertion,
    -1 in the second a deletion.
    """
    cost = [[i + j for j in range(len(hyp) + 1)] for i in range(len(ref) + 1)]
    for i, r in enumerate(ref):
        for j, h in enumerate(hyp):
            cost[i + 1][j + 1] = min(cost[i][j] + int(r != h), cost[i][j + 1] + 1, cost[i + 1][j] + 1)
    steps = []
    i, j = len(ref), len(hyp)
    while i or j:
        deletion = cost[i - 1][j] if i else 1 << 30
        insertion = cost[i][j - 1] if j else 1 << 30
        if i and j and cost[i - 1][j - 1] + int(ref[i - 1] != hyp[j - 1]) < min(deletion, insertion) + 1:
            i, j = i - 1, j - 1
            steps.append((i, j))
        elif deletion < insertion:
            i -= 1
            steps.append((i, -1))
        else:
            j -= 1
            steps.append((-1, j))
    return np.array(steps[::-1], dtype=np.int32).reshape(-1, 2)


def edit_counts_ref(ref: NDArray[np.int32], hyp: NDArray[np.int32]) -> NDArray[np.int64]:
    """Counts of the edit operations of `edit_ops_ref`.

    ref: (R,) ids.  hyp: (H,) ids.
    Returns (4,) int64: hits, substitutions, insertions, deletions.
    """
    counts = np.zeros(4, dtype=np.int64)
    for i, j in edit_ops_ref(ref, hyp):
        counts[2 if i < 0 else 3 if j < 0 else int(ref[i] != hyp[j])] += 1
    return counts


@kernel
def edit_counts(ref: NDArray[np.int32], hyp: NDArray[np.int32]) -> NDArray[np.int64]:
    """As `edit_counts_ref`, in O(H) memory: the other counts follow from the cost, the deletions and the lengths."""
    R, H = len(ref), len(hyp)
    cost = np.arange(H + 1).astype(np.int32)
    dels = np.zeros(H + 1, dtype=np.int32)
    for i in range(R):
        r = ref[i]
        corner_cost, corner_dels = cost[0], dels[0]
        cost[0] = i + 1
        dels[0] = i + 1
        for j in range(H):
            diagonal = corner_cost + np.int32(r != hyp[j])
            deletion = cost[j + 1] + 1
            insertion = cost[j] + 1
            count = corner_dels
            best = diagonal
            if diagonal >= deletion or diagonal >= insertion:
                if deletion < insertion:
                    best = deletion
                    count = dels[j + 1] + 1
                else:
                    best = insertion
                    count = dels[j]
            corner_cost, corner_dels = cost[j + 1], dels[j + 1]
            cost[j + 1] = best
            dels[j + 1] = count
    deleted = np.int64(dels[H])
    inserted = deleted - R + H
    substituted = np.int64(cost[H]) - deleted - inserted
    return np.array([R - deleted - substituted, substituted, inserted, deleted])


@kernel
def edit_ops(ref: NDArray[np.int32], hyp: NDArray[np.int32]) -> NDArray[np.int32]:
    """As `edit_ops_ref`, with one byte of memory per cell."""
    R, H = len(ref), len(hyp)
    cost = np.arange(H + 1).astype(np.int32)
    backpointer = np.empty((R + 1, H + 1), dtype=np.uint8)
    backpointer[0, :] = _INSERTION
    backpointer[:, 0] = _DELETION
    for i in range(R):
        corner = cost[0]
        cost[0] = i + 1
        for j in range(H):
            best = corner + np.int32(ref[i] != hyp[j])
            deletion = cost[j + 1] + 1
            insertion = cost[j] + 1
            step = _DIAGONAL
            if best >= deletion or best >= insertion:
                step = _DELETION if deletion < insertion else _INSERTION
                best = min(deletion, insertion)
            backpointer[i + 1, j + 1] = step
            corner = cost[j + 1]
            cost[j + 1] = best
    steps = np.empty((R + H, 2), dtype=np.int32)
    n, i, j = R + H, R, H
    while i > 0 or j > 0:
        n -= 1
        steps[n, 0] = -1
        steps[n, 1] = -1
        step = backpointer[i, j]
        if step != _INSERTION:
            i -= 1
            steps[n, 0] = i
        if step != _DELETION:
            j -= 1
            steps[n, 1] = j
    return steps[n:].copy()
