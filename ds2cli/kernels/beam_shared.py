"""What all hypotheses of a beam begin with. Notation: L labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ds2cli.kernels._jit import kernel
from ds2cli.kernels.beam_step import Beam
from ds2cli.kernels.prefix import LOOKAHEAD, PARENT, SYMBOL, WEIGHTED, prefix_length


@kernel
def beam_shared(beam: Beam, gap: float) -> NDArray[np.int32]:
    """The labels (L,) that the best hypothesis shares with all that score at most `gap` nats less, as they are ranked.

    With an infinite gap, every later result of the search begins with these labels.
    """
    tree, n, best = beam.tree, beam.counts[1], -np.inf
    ints, logs = tree.ints, tree.logs
    for i in range(n):
        node = beam.node[i]
        best = max(best, beam.total[i] + (logs[node, WEIGHTED] + logs[node, LOOKAHEAD]))
    shared = np.int64(-1)
    for i in range(n):
        node = beam.node[i]
        if beam.total[i] + (logs[node, WEIGHTED] + logs[node, LOOKAHEAD]) < best - gap:
            continue
        if shared < 0:
            shared = node
        # a parent precedes its children
        while shared != node:
            if shared > node:
                shared = np.int64(ints[shared, PARENT])
            else:
                node = np.int64(ints[node, PARENT])
    length = prefix_length(ints, shared)
    labels = np.empty(length, np.int32)
    for i in range(length - 1, -1, -1):
        labels[i] = ints[shared, SYMBOL]
        shared = np.int64(ints[shared, PARENT])
    return labels
