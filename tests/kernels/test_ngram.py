import math

import numpy as np
import pytest

from ds2cli.kernels.ngram import (
    LN10,
    NgramTables,
    add_node,
    find_node,
    ngram_end,
    ngram_log10,
    ngram_log10_ref,
    ngram_score,
    ngram_sentence,
)

UNK, BOS, EOS, A, B = range(5)
# p(b | a) is listed, p(a | b) is not; every number is a power of two, so that float32 sums are exact
LISTED = {
    (UNK,): (-4.0, 0.0),
    (BOS,): (-99.0, -0.25),
    (EOS,): (-1.0, 0.0),
    (A,): (-2.0, -0.5),
    (B,): (-3.0, -0.125),
    (BOS, A): (-0.75, -0.0625),
    (A, B): (-0.5, 0.0),
    (BOS, A, B): (-0.25, 0.0),
}


@pytest.fixture(scope="module")
def tables():
    """The model above, laid out by hand: nodes 1-5 unigrams, 6 <s> a, 7 a b, 8 <s> a b."""
    edges = np.full((8, 2), -1, dtype=np.int64)
    assert add_node(edges, BOS + 1, A, 6) == 6
    assert add_node(edges, A + 1, B, 7) == 7
    assert add_node(edges, 6, B, 8) == 8
    assert add_node(edges, 6, B, 9) == -1
    f, i = np.float32, np.int32
    return NgramTables(
        edges=edges,
        log10_prob=np.array([0, -4, -99, -1, -2, -3, -0.75, -0.5, -0.25], f),
        next_state=np.array([0, 0, BOS + 1, 0, A + 1, B + 1, 6, B + 1, B + 1], i),
        log10_backoff=np.array([0, 0, -0.25, 0, -0.5, -0.125, -0.0625, 0], f),
        lower=np.array([0, 0, 0, 0, 0, 0, A + 1, B + 1], i),
        unk=UNK,
        eos=EOS,
        begin=BOS + 1,
    )


def test_edges(tables):
    assert find_node(tables.edges, 0, B) == B + 1
    assert find_node(tables.edges, A + 1, B) == 7
    assert find_node(tables.edges, B + 1, A) == -1


def test_a_full_table_of_collisions():
    edges = np.full((1024, 2), -1, dtype=np.int64)
    for c in range(1, 22):
        for w in range(32):
            assert add_node(edges, c * 1000, w, c * 32 + w) == c * 32 + w
    assert all(find_node(edges, c * 1000, w) == c * 32 + w for c in range(1, 22) for w in range(32))
    assert find_node(edges, 23000, 0) == -1


def test_known_scores(tables):
    assert ngram_log10(tables, tables.begin, A) == (-0.75, 6)
    assert ngram_log10(tables, 6, B) == (-0.25, B + 1)
    assert ngram_log10(tables, 6, A) == (-2.0 - 0.5 - 0.0625, A + 1)
    assert ngram_log10(tables, 6, UNK) == (-4.0 - 0.5 - 0.0625, 0)
    assert ngram_log10(tables, 0, A) == (-2.0, A + 1)
    logp, state = ngram_score(tables, tables.begin, A)
    assert (logp, state) == (pytest.approx(-0.75 * math.log(10)), 6)
    assert ngram_end(tables, 6) == pytest.approx((-1.0 - 0.5 - 0.0625) * LN10)


@pytest.mark.parametrize("seed", range(30))
def test_sentences_equal_the_definition(tables, seed):
    rng = np.random.default_rng(seed)
    words = rng.choice([UNK, A, B], rng.integers(0, 8))
    out = np.empty(len(words) + 1, dtype=np.float32)
    ngram_sentence(tables, words, out)
    history = [BOS]
    for got, word in zip(out, [*words.tolist(), EOS], strict=True):
        assert got == ngram_log10_ref(LISTED, history[-2:], word)
        history.append(word)
