"""Which symbols of a step, and which hypotheses of a beam, are worth keeping. V symbols with blank 0."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ds2cli.kernels._jit import leaf
from ds2cli.kernels.prefix import BeamOptions

BLOCK = 64
"""Symbols that are looked at together: of 6,000 a handful counts, and the rest is passed by without a branch each."""
FIRST_LOOK = -5.0
"""Where the search for the likeliest symbols of a step begins (nats): they are mostly all above it."""
BUCKETS = 1024
"""Of the scores of a step; the k-th largest is looked for in one of them."""


@leaf
def pick_symbols(row: NDArray[np.float32], options: BeamOptions, picked: NDArray[np.int64]) -> int:
    """Write the symbols of one step worth trying into `picked` and return how many; the blank takes part but is left
    out.

    `mass` and `top` hold each on its own and together; the order is by probability where one of them cuts. Where
    probabilities sum to 1, none below (1 - mass) / V can be needed: that bounds the sort to a handful of symbols.
    """
    V = len(row)
    top = min(options.prune_top, V)
    floor = options.prune_logp
    if options.prune_mass < 1.0:
        # a little lower, as a float32 log-softmax rounds
        floor = max(floor, np.log((1.0 - options.prune_mass) / V) - 1e-3)
    ordered = options.prune_mass < 1.0 or top < V
    least, n = max(floor, FIRST_LOOK) if ordered else floor, 0
    while True:
        n = symbols_above(row, least, top, ordered, picked)
        total, j = 0.0, 0
        while options.prune_mass < 1.0 and j < n and (j == 0 or total < options.prune_mass):
            total += np.exp(row[picked[j]])
            j += 1
        if j > 0 and total >= options.prune_mass:
            n = j
            break
        if n == top or least <= floor:
            break
        least = max(floor, 2.0 * least) if least > -4.0 * abs(FIRST_LOOK) else floor
    kept = 0
    for j in range(n):
        if picked[j] != 0:
            picked[kept] = picked[j]
            kept += 1
    return kept


@leaf
def symbols_above(row, least, top, ordered, picked):
    """Write the symbols not below `least`, at most the `top` best of them, into `picked`; returns how many.

    ordered: from the likeliest on, else by their index.
    """
    # -inf is never picked: the least float that is no infinity
    least = np.float32(max(least, -3.4028234663852886e38))
    n = 0
    for begin in range(0, len(row), BLOCK):
        block = row[begin : begin + BLOCK]
        some = 0
        for c in range(len(block)):
            some += block[c] >= least
        if some == 0:
            continue
        for c in range(begin, begin + len(block)):
            if row[c] < least:
                continue
            if not ordered:
                picked[n] = c
                n += 1
                continue
            if n == top:
                if row[c] <= row[picked[n - 1]]:
                    continue
                n -= 1
            j = n
            while j > 0 and row[picked[j - 1]] < row[c]:
                picked[j] = picked[j - 1]
                j -= 1
            picked[j] = c
            n += 1
        if ordered and n == top and row[picked[n - 1]] > least:
            least = row[picked[n - 1]]
    return n


@leaf
def best_first(values, n, order):
    """Write into `order` (N,) where the N largest of values[:n] are, the largest first and of equals the first.

    Returns how many there are: minus infinity is none.
    """
    found = 0
    for i in range(n):
        if values[i] == -np.inf or (found == len(order) and values[i] <= values[order[found - 1]]):
            continue
        at = min(found, len(order) - 1)
        while at > 0 and values[order[at - 1]] < values[i]:
            order[at] = order[at - 1]
            at -= 1
        order[at] = i
        found = min(found + 1, len(order))
    return found


@leaf
def narrow(values, n, k, counts):
    """Keep in front of values only those of the bucket that the k-th largest of values[:n] is in, by size and
    rounded; returns how many, and which of them it is. counts: (BUCKETS,) int64, scratch.
    """
    least, most = np.inf, -np.inf
    for i in range(n):
        least = min(least, values[i])
        most = max(most, values[i])
    # all alike but for rounding, or some impossible: there is no scale
    if not 1e-300 < most - least < np.inf:
        return n, k
    scale = (len(counts) - 1) / (most - least)
    counts[:] = 0
    for i in range(n):
        counts[np.int64((most - values[i]) * scale)] += 1
    bucket = 0
    while counts[bucket] < k:
        k -= counts[bucket]
        bucket += 1
    m = 0
    for i in range(n):
        value = values[i]
        values[m] = value
        m += np.int64((most - value) * scale) == bucket
    return m, k


@leaf
def kth_largest(values, n, k, counts):
    """The k-th largest of values[:n], 1 <= k <= n; reorders them (quickselect, median of three, in one bucket)."""
    n, k = narrow(values, n, k, counts)
    low, high, want = 0, n - 1, k - 1
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
        if want <= j:
            high = j
        elif want >= i:
            low = i
        else:
            break
    return values[want]
