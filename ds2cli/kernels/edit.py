"""Alignments of many pairs at once, with one byte per step. Notation: P pairs, R reference length, H hypothesis length.

The rule is that of Kaldi's `compute-wer`: all errors cost 1 (`align_kaldi_ref`); `edit_sclite.py` has NIST's. Computed
with the bits of Myers (1999) in blocks (Hyyrö 2003), 64 cells at a time. Where the cost rises by one to the right of a
cell an insertion ends a best alignment, and where it rises downwards a deletion: so the two sets of bits are the
backpointers of Kaldi's rule.

Of a long pair only some columns are kept, as many as lie between two of them, and those between are computed a second
time when the alignment is traced back. So the memory is that of R · sqrt(H) / 16 bytes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ds2cli.kernels._jit import kernel

HIT, SUB, INS, DEL = 0, 1, 2, 3
"""The steps of an alignment; also the columns of counts."""

LETTERS = "CSID"
"""The letter of each step in Kaldi's per_utt."""

STRIDE = 512
"""Columns between two that are kept, at least; of long pairs the square root of their number."""

_WORD = 64
_MASKS = 1 << 17
"""Blocks of 64 bits, 1 MB, for the symbols of one reference."""


def align_kaldi_ref(ref: NDArray[np.int32], hyp: NDArray[np.int32]) -> NDArray[np.uint8]:
    """The alignment of Kaldi's `compute-wer` (LevenshteinEditDistance in src/util/edit-distance-inl.h); the reference.

    The diagonal wins only if it is strictly cheaper than both others; a deletion wins over an insertion only if it is
    cheaper.
    ref: (R,) ids.  hyp: (H,) ids.  Returns (N,) uint8, the steps in order.
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
            steps.append(HIT if ref[i] == hyp[j] else SUB)
        elif deletion < insertion:
            i -= 1
            steps.append(DEL)
        else:
            j -= 1
            steps.append(INS)
    return np.array(steps[::-1], dtype=np.uint8)


@kernel
def align_kaldi(
    refs: NDArray[np.int32],
    ref_ends: NDArray[np.int64],
    hyps: NDArray[np.int32],
    hyp_ends: NDArray[np.int64],
    num_symbols: int,
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """As `align_kaldi_ref` for each pair.

    refs, hyps: ids below `num_symbols` of all pairs in a row.  ref_ends, hyp_ends: (P,) where those of each pair end.
    Returns the steps of all pairs in a row, and (P,) where those of each pair end.
    """
    P = len(ref_ends)
    steps = np.empty(len(refs) + len(hyps), dtype=np.uint8)
    ends = np.empty(P, dtype=np.int64)
    longest_ref, longest_hyp = longest_of(ref_ends), longest_of(hyp_ends)
    blocks_max = (longest_ref + _WORD - 1) // _WORD
    stride = stride_of(longest_hyp)
    down = np.empty((min(longest_hyp, stride) + 1, blocks_max), dtype=np.uint64)
    right = np.empty((min(longest_hyp, stride) + 1, blocks_max), dtype=np.uint64)
    up = np.empty(blocks_max, dtype=np.uint64)
    kept_down = np.empty((longest_hyp // stride + 1, blocks_max), dtype=np.uint64)
    kept_up = np.empty((longest_hyp // stride + 1, blocks_max), dtype=np.uint64)
    # the symbols of the reference are numbered from 1; 0 is any other
    slot = np.zeros(num_symbols, dtype=np.int32)
    first = np.empty(longest_ref + 1, dtype=np.int32)
    following = np.empty(longest_ref, dtype=np.int32)
    masks = np.empty(_MASKS, dtype=np.uint64)
    mask = np.empty(blocks_max, dtype=np.uint64)
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
        blocks = (R + _WORD - 1) // _WORD
        slots = _list_occurrences(ref, slot, first, following)
        # where there is room each symbol has its own bits, else they are set for each column
        is_dense = (slots + 1) * blocks <= _MASKS
        if is_dense:
            for symbol in range(slots + 1):
                _set_bits(first[symbol], following, masks[symbol * blocks : (symbol + 1) * blocks])
        up[:blocks] = 0
        down[0, :blocks] = ~np.uint64(0)
        last = max(0, H - 1) // stride
        for segment in range(last):
            kept_down[segment, :blocks] = down[0, :blocks]
            kept_up[segment, :blocks] = up[:blocks]
            for j in range(segment * stride, (segment + 1) * stride):
                bits = _bits_of(slot[hyp[j]], blocks, is_dense, masks, first, following, mask)
                _next_column(bits, blocks, down[0], up, down[0], right[0])
        kept_down[last, :blocks] = down[0, :blocks]
        kept_up[last, :blocks] = up[:blocks]
        n, i, j = R + H, R, H
        while j > 0:
            begin = (j - 1) // stride * stride
            down[0, :blocks] = kept_down[begin // stride, :blocks]
            up[:blocks] = kept_up[begin // stride, :blocks]
            for column in range(j - begin):
                bits = _bits_of(slot[hyp[begin + column]], blocks, is_dense, masks, first, following, mask)
                _next_column(bits, blocks, down[column], up, down[column + 1], right[column + 1])
            while j > begin:
                n -= 1
                block, bit = (i - 1) // _WORD, np.uint64((i - 1) % _WORD)
                if i == 0 or (right[j - begin, block] >> bit) & np.uint64(1):
                    j -= 1
                    steps[out + n] = INS
                elif (down[j - begin, block] >> bit) & np.uint64(1):
                    i -= 1
                    steps[out + n] = DEL
                else:
                    i -= 1
                    j -= 1
                    steps[out + n] = SUB if ref[i] != hyp[j] else HIT
        n -= i
        steps[out + n : out + n + i] = DEL
        for i in range(R):
            slot[ref[i]] = 0
        out = close_gap(steps, out, n, R + H)
        ends[pair] = out
    return steps[:out].copy(), ends


@kernel
def count_steps(steps: NDArray[np.uint8], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """The counts of each pair: (P, 4) int64, hits, substitutions, insertions, deletions."""
    counts = np.zeros((len(ends), 4), dtype=np.int64)
    n = 0
    for pair in range(len(ends)):
        while n < ends[pair]:
            counts[pair, steps[n]] += 1
            n += 1
    return counts


@kernel
def _list_occurrences(
    ref: NDArray[np.int32], slot: NDArray[np.int32], first: NDArray[np.int32], following: NDArray[np.int32]
) -> int:
    """Number the symbols of `ref` in `slot`, and list where each occurs: `first`, then `following`; -1 ends a list.

    Returns the number of symbols.
    """
    slots = 0
    first[0] = -1
    for i in range(len(ref)):
        symbol = ref[i]
        if slot[symbol] == 0:
            slots += 1
            slot[symbol] = slots
            first[slots] = -1
        following[i] = first[slot[symbol]]
        first[slot[symbol]] = i
    return slots


@kernel
def _set_bits(place: int, following: NDArray[np.int32], mask: NDArray[np.uint64]) -> None:
    """Set the bits of the places of a list, and clear all others."""
    mask[:] = 0
    while place >= 0:
        mask[place // _WORD] |= np.uint64(1) << np.uint64(place % _WORD)
        place = following[place]


@kernel
def _bits_of(
    symbol: int,
    blocks: int,
    is_dense: bool,
    masks: NDArray[np.uint64],
    first: NDArray[np.int32],
    following: NDArray[np.int32],
    mask: NDArray[np.uint64],
) -> NDArray[np.uint64]:
    """Where a numbered symbol occurs in the reference; `mask` is overwritten unless all symbols are in `masks`."""
    if is_dense:
        return masks[symbol * blocks : (symbol + 1) * blocks]
    _set_bits(first[symbol], following, mask[:blocks])
    return mask[:blocks]


@kernel
def _next_column(
    mask: NDArray[np.uint64],
    blocks: int,
    down: NDArray[np.uint64],
    up: NDArray[np.uint64],
    next_down: NDArray[np.uint64],
    right: NDArray[np.uint64],
) -> None:
    """One column of the cost matrix as differences.

    mask: where the symbol of this column occurs in the reference.  down, up: the cells whose cost is one above, one
    below that of the cell over them, in the column before; `up` is overwritten, `next_down` written.
    right: written, the cells whose cost is one above that of the cell to their left.
    """
    one = np.uint64(1)
    # the first row costs one more with every column
    rises, falls = one, np.uint64(0)
    for b in range(blocks):
        equal, vp, vn = mask[b], down[b], up[b]
        xv = equal | vn
        equal |= falls
        xh = (((equal & vp) + vp) ^ vp) | equal
        hp = vn | ~(xh | vp)
        hn = vp & xh
        right[b] = hp
        next_rises, next_falls = hp >> np.uint64(63), hn >> np.uint64(63)
        hp = (hp << one) | rises
        hn = (hn << one) | falls
        next_down[b] = hn | ~(xv | hp)
        up[b] = hp & xv
        rises, falls = next_rises, next_falls


@kernel
def close_gap(steps: NDArray[np.uint8], out: int, begin: int, end: int) -> int:
    """Move the steps that were written from the end of their place to its beginning; return where they end."""
    for k in range(begin, end):
        steps[out + k - begin] = steps[out + k]
    return out + end - begin


@kernel
def stride_of(columns: int) -> int:
    """The number of columns between two that are kept."""
    return max(STRIDE, int(np.ceil(np.sqrt(columns))))


@kernel
def longest_of(ends: NDArray[np.int64]) -> int:
    """The largest number of units of a sequence. ends: (P,) where those of each end."""
    longest = 0
    for pair in range(len(ends)):
        longest = max(longest, ends[pair] - (ends[pair - 1] if pair else 0))
    return longest
