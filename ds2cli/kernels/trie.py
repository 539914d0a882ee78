"""A trie of symbols as arrays: its nodes lie in breadth-first order, and siblings by ascending symbol.

first: (nodes + 1,) int32, the children of node n are the nodes first[n] to first[n + 1].  symbols: (nodes,) int32, the
symbol that leads to a node.
"""

from __future__ import annotations

import numpy as np

from ds2cli.kernels._jit import leaf


@leaf
def find_child(first, symbols, node, symbol):
    """The child of `node` by `symbol`, or -1."""
    low, high = np.int64(first[node]), np.int64(first[node + 1])
    end = high
    while low < high:
        middle = (low + high) >> 1
        if symbols[middle] < symbol:
            low = middle + 1
        else:
            high = middle
    return low if low < end and symbols[low] == symbol else np.int64(-1)


@leaf
def trie_child(first, symbols, node, symbol):
    """The node below `node` by `symbol`; -1 for the first symbol that nothing goes on with, -2 for the second …"""
    return find_child(first, symbols, node, symbol) if node >= 0 else node - 1
