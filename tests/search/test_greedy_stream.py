"""The best path in pieces: the text of the whole."""

from __future__ import annotations

import numpy as np
import pytest

from ds2cli.search.greedy import GreedySearch
from ds2cli.text.vocab import BLANK, Vocab


@pytest.mark.parametrize("symbols", [(BLANK, " ", "a", "b"), (BLANK, "a", "b", "字")])
def test_pieces_give_the_text_of_the_whole(symbols):
    rng, search = np.random.default_rng(0), GreedySearch(Vocab(symbols))
    for _ in range(200):
        log_probs = np.log(rng.dirichlet([0.2] * 4, int(rng.integers(0, 30)))).astype(np.float32)
        stream, begin = search.stream(), 0
        while begin < len(log_probs):
            size = int(rng.integers(0, 6))
            stream.advance(log_probs[begin : begin + size])
            begin += size
            (found,), (expected,) = stream.best(), search(log_probs[: min(begin, len(log_probs))])
            assert (found.text, found.labels) == (expected.text, expected.labels)
            assert found.score == pytest.approx(expected.score)
