"""A trie of symbols as arrays: nodes in breadth-first order, siblings by ascending symbol.

first: (nodes + 1,) int32, the children of node n are the nodes first[n] to first[n + 1] - 1.  symbols: (nodes,) int32,
the symbol on the edge to each node.
"""

from __future__ import annotations

import numpy as np

from ds2cli.kernels._jit import inner_kernel


@inner_kernel
def find_child(first, symbols, node, symbol):
    """The child of `node` on the edge `symbol`, or -1."""
    low, high = np.int64(first[node]), np.int64(first[node + 1])
    end = high
    while low < high:
        middle = (low + high) >> 1
        if symbols[middle] < symbol:
            low = middle + 1
        else:
            high = middle
    return low if low < end and symbols[low] == symbol else np.int64(-1)


@inner_kernel
def trie_child(first, symbols, node, symbol):
    """The child of `node` on the edge `symbol`; where the trie ends -1, then -2 after one more symbol, and so on."""
    return find_child(first, symbols, node, symbol) if node >= 0 else node - 1
