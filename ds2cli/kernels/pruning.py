"""Pruning: which symbols of a step and which hypotheses of a beam to keep. V symbols with blank 0."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ds2cli.kernels._jit import inner_kernel
from ds2cli.kernels.prefix import BeamOptions

BLOCK = 64
"""Symbols tested together: of 6,000 only a handful survive, so a block without any is skipped with one branch."""
FIRST_THRESHOLD = -5.0
"""Log-probability at which the search for the most probable symbols starts (nats): nearly all of them are above it."""
BUCKETS = 1024
"""Histogram buckets of a step's scores; quickselect then runs within the bucket of the k-th largest."""


@inner_kernel
def pick_symbols(row: NDArray[np.float32], options: BeamOptions, picked: NDArray[np.int64]) -> int:
    """Write the symbols that survive the pruning of one step into `picked`, and return how many; the blank counts
    toward the limits but is not written.

    `prune_mass` and `prune_top` apply separately and together; symbols are ordered by probability where one of them
    prunes. As probabilities sum to 1, no symbol below (1 - prune_mass) / V can be needed: few symbols are sorted.
    """
    V = len(row)
    prune_top = min(options.prune_top, V)
    floor = options.prune_logp
    if options.prune_mass < 1.0:
        # slightly lower, because a float32 log-softmax rounds
        floor = max(floor, np.log((1.0 - options.prune_mass) / V) - 1e-3)
    ordered = options.prune_mass < 1.0 or prune_top < V
    threshold, n = max(floor, FIRST_THRESHOLD) if ordered else floor, 0
    while True:
        n = symbols_above(row, threshold, prune_top, ordered, picked)
        total, j = 0.0, 0
        while options.prune_mass < 1.0 and j < n and (j == 0 or total < options.prune_mass):
            total += np.exp(row[picked[j]])
            j += 1
        if j > 0 and total >= options.prune_mass:
            n = j
            break
        if n == prune_top or threshold <= floor:
            break
        threshold = max(floor, 2.0 * threshold) if threshold > -4.0 * abs(FIRST_THRESHOLD) else floor
    kept = 0
    for j in range(n):
        if picked[j] != 0:
            picked[kept] = picked[j]
            kept += 1
    return kept


@inner_kernel
def symbols_above(row, threshold, prune_top, ordered, picked):
    """Write the symbols not below `threshold`, at most the `prune_top` best, into `picked`; returns how many.

    ordered: most probable first (ties by index), otherwise by index.
    """
    # -inf is never picked: the threshold is at least the lowest finite float32
    threshold = np.float32(max(threshold, -3.4028234663852886e38))
    n = 0
    for begin in range(0, len(row), BLOCK):
        block = row[begin : begin + BLOCK]
        above = 0
        for c in range(len(block)):
            above += block[c] >= threshold
        if above == 0:
            continue
        for c in range(begin, begin + len(block)):
            if row[c] < threshold:
                continue
            if not ordered:
                picked[n] = c
                n += 1
                continue
            if n == prune_top:
                if row[c] <= row[picked[n - 1]]:
                    continue
                n -= 1
            j = n
            while j > 0 and row[picked[j - 1]] < row[c]:
                picked[j] = picked[j - 1]
                j -= 1
            picked[j] = c
            n += 1
        if ordered and n == prune_top and row[picked[n - 1]] > threshold:
            threshold = row[picked[n - 1]]
    return n


@inner_kernel
def top_indices(values, n, order):
    """Write the indices of the N largest of values[:n] into `order` (N,), largest first, ties by index.

    Returns how many were written: -inf is never included.
    """
    count = 0
    for i in range(n):
        if values[i] == -np.inf or (count == len(order) and values[i] <= values[order[count - 1]]):
            continue
        j = min(count, len(order) - 1)
        while j > 0 and values[order[j - 1]] < values[i]:
            order[j] = order[j - 1]
            j -= 1
        order[j] = i
        count = min(count + 1, len(order))
    return count


@inner_kernel
def select_bucket(values, n, k, counts):
    """Move to the front of values those in the histogram bucket of the k-th largest of values[:n].

    Returns how many they are, and the rank of the k-th among them.  counts: (BUCKETS,) int64, scratch.
    """
    low, high = np.inf, -np.inf
    for i in range(n):
        low = min(low, values[i])
        high = max(high, values[i])
    # no scale: all equal but for rounding, or some are -inf
    if not 1e-300 < high - low < np.inf:
        return n, k
    scale = (len(counts) - 1) / (high - low)
    counts[:] = 0
    for i in range(n):
        counts[np.int64((high - values[i]) * scale)] += 1
    bucket = 0
    while counts[bucket] < k:
        k -= counts[bucket]
        bucket += 1
    m = 0
    for i in range(n):
        value = values[i]
        values[m] = value
        m += np.int64((high - value) * scale) == bucket
    return m, k


@inner_kernel
def kth_largest(values, n, k, counts):
    """The k-th largest of values[:n], 1 <= k <= n; reorders them (quickselect, median of three, within one bucket)."""
    n, k = select_bucket(values, n, k, counts)
    low, high, target = 0, n - 1, k - 1
    while low < high:
        a, b, c = values[low], values[(low + high) // 2], values[high]
        pivot = max(min(a, b), min(max(a, b), c))
        i, j = low, high
        while i <= j:
            while values[i] > pivot:
                i += 1
            while values[j] < pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if target <= j:
            high = j
        elif target >= i:
            low = i
        else:
            break
    return values[target]
