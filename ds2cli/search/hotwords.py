"""Phrases to prefer, and how strongly: from text to the automaton that the search asks."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import numpy as np

from ds2cli.errors import DataError
from ds2cli.kernels.phrases import Phrases
from ds2cli.text.vocab import Vocab


def phrases_for(vocab: Vocab, wanted: Mapping[str, float]) -> Phrases:
    """The automaton of phrases and their weights (nats, added once for each time a phrase is said).

    Where the alphabet has a space a phrase matches whole words only. BadUtterance when it cannot be spelled, DataError
    when it is empty.
    """
    space = vocab.symbols.index(" ") if " " in vocab.symbols else -1
    children: list[dict[int, int]] = [{}]
    lent, earned = [0.0], [0.0]
    if space >= 0 and wanted:
        children[0][space] = 1
        children.append({})
        lent.append(0.0)
        earned.append(0.0)
    for phrase, weight in wanted.items():
        text = " ".join(phrase.split())
        if not text:
            raise DataError("a phrase without words")
        symbols = vocab.encode(text)
        symbols = [space, *symbols, space] if space >= 0 else symbols
        state, unpaid = 0, int(space >= 0)
        for depth, symbol in enumerate(symbols, start=1):
            if symbol not in children[state]:
                children[state][symbol] = len(children)
                children.append({})
                lent.append(0.0)
                earned.append(0.0)
            state = children[state][symbol]
            share = weight * (depth - unpaid) / (len(symbols) - unpaid)
            if depth == len(symbols):
                earned[state] += weight
            elif abs(share) > abs(lent[state]):
                lent[state] = share
    return _automaton(children, lent, earned, 1 if space >= 0 and wanted else 0, space if wanted else -1)


def _automaton(children: list[dict[int, int]], lent: list[float], earned: list[float], begin: int, close: int) -> Phrases:
    """The trie with its states in breadth-first order, and from each the way to its longest suffix."""
    number, order, parents, symbols = {0: 0}, deque([0]), [0], [0]
    first, visited = [1], []
    while order:
        state = order.popleft()
        visited.append(state)
        for symbol in sorted(children[state]):
            child = children[state][symbol]
            number[child] = len(parents)
            parents.append(number[state])
            symbols.append(symbol)
            order.append(child)
        first.append(len(parents))
    moves = [{symbol: number[child] for symbol, child in children[state].items()} for state in visited]
    shorter = [0] * len(parents)
    total = [earned[state] for state in visited]
    credit = [lent[state] for state in visited]
    for state in range(1, len(parents)):
        if parents[state] != 0:
            suffix = shorter[parents[state]]
            while suffix and symbols[state] not in moves[suffix]:
                suffix = shorter[suffix]
            shorter[state] = moves[suffix].get(symbols[state], 0)
        total[state] += total[shorter[state]]
        if abs(credit[shorter[state]]) > abs(credit[state]):
            credit[state] = credit[shorter[state]]
    return Phrases(
        np.array(first, np.int32),
        np.array(symbols, np.int32),
        np.array(shorter, np.int32),
        np.array(credit),
        np.array(total),
        number[begin],
        close,
        max(e + c for e, c in zip(total, credit, strict=True)) - min(credit),
    )
