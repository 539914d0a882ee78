"""Alignments of many pairs by the rule of NIST's `sclite`: an insertion or a deletion costs 3, a substitution 4.

Notation: P pairs, R reference length, H hypothesis length. Long pairs are computed as in `edit.py`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ds2cli.kernels._jit import kernel
from ds2cli.kernels.edit import DEL, HIT, INS, SUB, close_gap, longest_of, stride_of

_SUBSTITUTION, _GAP = 4, 3


def align_sclite_ref(ref: NDArray[np.int32], hyp: NDArray[np.int32]) -> NDArray[np.uint8]:
    """The alignment of sclite 2.4.10; the reference.

    The diagonal wins if it costs no more than the others; a deletion wins over an insertion only if it is cheaper.
    ref: (R,) ids.  hyp: (H,) ids.  Returns (N,) uint8, the steps in order.
    """
    cost = [[_GAP * (i + j) for j in range(len(hyp) + 1)] for i in range(len(ref) + 1)]
    step = [[INS if j else DEL for j in range(len(hyp) + 1)] for _ in range(len(ref) + 1)]
    for i, r in enumerate(ref):
        for j, h in enumerate(hyp):
            diagonal = cost[i][j] + (0 if r == h else _SUBSTITUTION)
            deletion, insertion = cost[i][j + 1] + _GAP, cost[i + 1][j] + _GAP
            cost[i + 1][j + 1] = min(diagonal, deletion, insertion)
            if diagonal <= deletion and diagonal <= insertion:
                step[i + 1][j + 1] = HIT if r == h else SUB
            else:
                step[i + 1][j + 1] = DEL if deletion < insertion else INS
    steps = []
    i, j = len(ref), len(hyp)
    while i or j:
        steps.append(step[i][j])
        i, j = i - (steps[-1] != INS), j - (steps[-1] != DEL)
    return np.array(steps[::-1], dtype=np.uint8)


@kernel
def align_sclite(
    refs: NDArray[np.int32],
    ref_ends: NDArray[np.int64],
    hyps: NDArray[np.int32],
    hyp_ends: NDArray[np.int64],
    num_symbols: int,
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """As `align_sclite_ref` for each pair; arguments and results of `edit.align_kaldi`."""
    P = len(ref_ends)
    steps = np.empty(len(refs) + len(hyps), dtype=np.uint8)
    ends = np.empty(P, dtype=np.int64)
    longest_ref, longest_hyp = longest_of(ref_ends), longest_of(hyp_ends)
    stride = stride_of(longest_hyp)
    cost = np.empty(longest_ref + 1, dtype=np.int32)
    kept = np.empty((longest_hyp // stride + 1, longest_ref + 1), dtype=np.int32)
    found = np.empty((min(longest_hyp, stride) + 1, longest_ref + 1), dtype=np.uint8)
    out = 0
    for pair in range(P):
        ref = refs[0 if pair == 0 else ref_ends[pair - 1] : ref_ends[pair]]
        hyp = hyps[0 if pair == 0 else hyp_ends[pair - 1] : hyp_ends[pair]]
        R, H = len(ref), len(hyp)
        if R == H and (ref == hyp).all():
            steps[out : out + R] = HIT
            out += R
            ends[pair] = out
            continue
        for i in range(R + 1):
            cost[i] = _GAP * i
        last = max(0, H - 1) // stride
        for segment in range(last):
            kept[segment, : R + 1] = cost[: R + 1]
            for j in range(segment * stride, (segment + 1) * stride):
                _next_costs(ref, hyp[j], cost, found[0])
        kept[last, : R + 1] = cost[: R + 1]
        n, i, j = R + H, R, H
        while j > 0:
            begin = (j - 1) // stride * stride
            cost[: R + 1] = kept[begin // stride, : R + 1]
            for column in range(j - begin):
                _next_costs(ref, hyp[begin + column], cost, found[column + 1])
            while j > begin:
                n -= 1
                step = INS if i == 0 else found[j - begin, i]
                if step != INS:
                    i -= 1
                if step != DEL:
                    j -= 1
                steps[out + n] = step
        n -= i
        steps[out + n : out + n + i] = DEL
        out = close_gap(steps, out, n, R + H)
        ends[pair] = out
    return steps[:out].copy(), ends


@kernel
def _next_costs(ref: NDArray[np.int32], symbol: int, cost: NDArray[np.int32], step: NDArray[np.uint8]) -> None:
    """Replace the costs of a column by those of the next, whose symbol is `symbol`; write how each cell is reached."""
    corner = cost[0]
    above = corner + _GAP
    cost[0] = above
    for i in range(len(ref)):
        insertion = cost[i + 1] + _GAP
        deletion = above + _GAP
        diagonal = corner if ref[i] == symbol else corner + _SUBSTITUTION
        corner = cost[i + 1]
        gap = min(insertion, deletion)
        step[i + 1] = (HIT if ref[i] == symbol else SUB) if diagonal <= gap else DEL if deletion < insertion else INS
        above = min(diagonal, gap)
        cost[i + 1] = above
