"""n-gram queries on tables small enough to check by hand."""

import math

import numpy as np
import pytest

from ds2cli.kernels.ngram import (
    LN10,
    find_entry,
    longer_key,
    ngram_begin,
    ngram_end,
    ngram_log10,
    ngram_log10_ref,
    ngram_score,
    ngram_sentence,
)
from ds2cli.kernels.ngram_words import hash_word
from ds2cli.lm.arpa import Arpa, Section
from ds2cli.lm.probing import build_tables

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
    sections = []
    for n in (1, 2, 3):
        grams = [g for g in LISTED if len(g) == n]
        weights = np.array([LISTED[g] for g in grams], dtype=np.float32)
        sections.append(Section(np.array(grams, dtype=np.int32), weights[:, 0].copy(), weights[:, 1].copy()))
    return build_tables(Arpa(["<unk>", "<s>", "</s>", "a", "b"], sections)).tables


@pytest.fixture
def states(tables):
    """Six states; row 0 is the state after <s>, row 1 the empty state."""
    history, backoff = np.full((6, 2), -1, dtype=np.int32), np.zeros((6, 2), dtype=np.float32)
    ngram_begin(tables, history, backoff, 0)
    return history, backoff


def murmur(text):
    """MurmurHash64A as published, with seed 0, in Python integers."""
    mix, mask = 0xC6A4A7935BD1E995, 2**64 - 1

    def shift_mix(x):
        return x ^ (x >> 47)

    h = len(text) * mix & mask
    aligned = len(text) // 8 * 8
    for pos in range(0, aligned, 8):
        k = shift_mix(int.from_bytes(text[pos : pos + 8], "little") * mix & mask) * mix & mask
        h = (h ^ k) * mix & mask
    if text[aligned:]:
        h = (h ^ int.from_bytes(text[aligned:], "little")) * mix & mask
    return shift_mix(shift_mix(h) * mix & mask)


def hashed(text):
    return int(hash_word(np.frombuffer(b"?" + text + b"?", dtype=np.uint8), 1, 1 + len(text)))


def test_hashes_found_in_a_kenlm_file():
    assert hashed(b"<s>") == 0x00758639BD217E70
    assert hashed(b"</s>") == 0x6BE0737DF1F76C0A
    assert hashed(b"a") == 0x071717D2D36B6B11
    assert hashed(b"") == 0


@pytest.mark.parametrize("length", [*range(18), 64, 100])
def test_hash_equals_the_published_algorithm(length):
    text = np.random.default_rng(length).integers(0, 256, length, dtype=np.uint8).tobytes()
    assert hashed(text) == murmur(text)


def test_keys_are_chained_in_64_bits():
    assert int(longer_key(5, 7)) == (5 * 8978948897894561157 % 2**64) ^ (8 * 17894857484156487943 % 2**64)


def test_probing_wraps_around_at_the_end_of_the_table():
    data = np.zeros(2 + 5 * 3, dtype=np.uint32)
    for slot, key in ((4, 9), (0, 14), (1, 4), (2, 5)):
        data[2 + 3 * slot] = key
    for key, slot in ((9, 4), (14, 0), (4, 1), (5, 2)):
        assert find_entry(data, 2, np.uint64(5), 3, np.uint64(key)) == 2 + 3 * slot
    for key in (19, 10, 3, 2**63 + 1):
        assert find_entry(data, 2, np.uint64(5), 3, np.uint64(key)) == -1


def test_known_scores(tables, states):
    history, backoff = states
    assert (history[0].tolist(), backoff[0].tolist()) == ([BOS, -1], [-0.25, 0.0])
    assert ngram_log10(tables, *states, 0, A, 2) == -0.75
    assert (history[2].tolist(), backoff[2].tolist()) == ([A, BOS], [-0.5, -0.0625])
    assert ngram_log10(tables, *states, 2, B, 3) == -0.25
    assert (history[3].tolist(), backoff[3].tolist()) == ([B, -1], [-0.125, 0.0])
    assert ngram_log10(tables, *states, 2, A, 3) == -2.0 - 0.5 - 0.0625
    assert (history[3].tolist(), backoff[3].tolist()) == ([A, -1], [-0.5, 0.0])
    assert ngram_log10(tables, *states, 2, UNK, 3) == -4.0 - 0.5 - 0.0625
    assert (history[3].tolist(), backoff[3].tolist()) == ([-1, -1], [0.0, 0.0])
    assert ngram_log10(tables, *states, 1, A, 3) == -2.0
    assert ngram_score(tables, *states, 0, A, 4) == pytest.approx(-0.75 * math.log(10))
    assert ngram_end(tables, *states, 2) == pytest.approx((-1.0 - 0.5 - 0.0625) * LN10)


def test_score_alone_leaves_the_states_unchanged(tables, states):
    before = [s.copy() for s in states]
    assert ngram_log10(tables, *states, 0, A, -1) == -0.75
    ngram_end(tables, *states, 0)
    for after, expected in zip(states, before, strict=True):
        np.testing.assert_array_equal(after, expected)


@pytest.mark.parametrize("seed", range(30))
def test_sentence_scores_equal_the_definition(tables, seed):
    rng = np.random.default_rng(seed)
    words = rng.choice([UNK, A, B], rng.integers(0, 8)).astype(np.int32)
    out = np.empty(len(words) + 1, dtype=np.float32)
    ngram_sentence(tables, words, out)
    history = [BOS]
    for got, word in zip(out, [*words.tolist(), EOS], strict=True):
        assert got == ngram_log10_ref(LISTED, history[-2:], word)
        history.append(word)
