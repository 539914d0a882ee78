"""Random numbers of many utterances at a time are those of hashlib and numpy, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest

from ds2cli.kernels.draws import draw_first, draw_words, first_draw_ref, hash_words_ref


@pytest.mark.parametrize("prefix", [b"", b"0 1 ", b"9" * 128, b"9" * 200])
def test_hashes_are_those_of_hashlib(prefix):
    rng = np.random.default_rng(0)
    parts = [rng.bytes(size) for size in (0, 1, 20, 100, 127, 128, 129, 255, 256, 257, 1000)]
    words = draw_words(prefix, b"".join(parts), np.array([len(part) for part in parts]))
    assert [tuple(row) for row in words.tolist()] == [hash_words_ref(prefix + part) for part in parts]


def test_draws_are_those_of_numpy():
    words = np.random.default_rng(1).integers(0, 1 << 64, (3000, 2), dtype=np.uint64)
    words[::5, 0] >>= np.uint64(32)
    words[::7, 1] >>= np.uint64(40)
    words[0] = 0
    words[1] = 0, 1
    words[2] = np.uint64(1 << 32)
    words[3] = np.uint64((1 << 32) - 1)
    words[4] = np.uint64((1 << 64) - 1)
    assert draw_first(words).tolist() == [first_draw_ref(a, b) for a, b in words.tolist()]


def test_nothing_is_drawn_for_none():
    assert draw_words(b"x", b"", np.zeros(0, np.int64)).shape == (0, 8)
    assert draw_first(np.zeros((0, 2), np.uint64)).shape == (0,)
