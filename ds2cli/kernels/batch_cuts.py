"""Cut a sequence of utterances, from short to long, into batches. Notation: N utterances, B batches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ds2cli.kernels._jit import inner_kernel


def cut_batches_ref(lengths: Sequence[int], first: int, limit: int, most: int) -> list[int]:
    """Where batches end, if each is as large as it may be; the reference.

    lengths: (N,) ascending.  first, limit: frames of the first batch and of the others, padding included; a batch of
    one utterance may have more.  most: utterances in a batch.
    """
    ends: list[int] = []
    size = 0
    for n, length in enumerate(lengths):
        if size and ((size + 1) * length > (limit if ends else first) or size == most):
            ends.append(n)
            size = 0
        size += 1
    return [*ends, len(lengths)] if size else ends


@inner_kernel
def cut_batches(lengths, order, first, limit, most, ends):
    """As `cut_batches_ref` for lengths[order]; writes to ends (N,) int64 and returns the number of batches."""
    count = size = 0
    for n in range(len(order)):
        if size > 0 and ((size + 1) * np.int64(lengths[order[n]]) > (limit if count > 0 else first) or size == most):
            ends[count] = n
            count += 1
            size = 0
        size += 1
    if size > 0:
        ends[count] = len(order)
        count += 1
    return count


def find_cuts(
    lengths: NDArray[np.int32], order: NDArray[np.int32], first: int, limit: int, most: int | None
) -> NDArray[np.int64]:
    """Where the batches of the utterances lengths[order] end, (B,); most: None for any number of utterances."""
    ends = np.empty(len(order), np.int64)
    most = len(order) + 1 if most is None else min(most, len(order) + 1)
    count = cut_batches(lengths, order, min(first, 1 << 60), min(limit, 1 << 60), most, ends)
    return ends[:count].copy()
