"""The trie of a model's words, and the models that do not go with an alphabet."""

from __future__ import annotations

import math
import unicodedata

import numpy as np
import pytest

from ds2cli.errors import DataError
from ds2cli.kernels.prefix import CHAR_LM, NO_LM, OFF_TRIE, WORD_LM, down
from ds2cli.search.lexicon import lexicon_for, trie, unit_of
from ds2cli.text.vocab import BLANK, Vocab

VOCAB = Vocab((BLANK, " ", "a", "b", "c", "é", "ж"))


def walk(lexicon, symbols):
    node = 0
    for symbol in symbols:
        node = down(lexicon, node, symbol)
    return node


@pytest.mark.parametrize("seed", range(10))
def test_every_word_is_found_and_nothing_else(seed):
    rng = np.random.default_rng(seed)
    words = {tuple(rng.integers(1, 5, rng.integers(1, 6)).tolist()) for _ in range(30)}
    spelled = sorted(words, key=lambda w: rng.random())
    chances = rng.normal(size=len(spelled)).tolist()
    lexicon = trie(spelled, list(range(len(spelled))), chances, 5, 99)
    for i, word in enumerate(spelled):
        assert lexicon.word[walk(lexicon, word)] == i
        for end in range(1, len(word) + 1):
            below = [chances[k] for k, other in enumerate(spelled) if other[:end] == word[:end]]
            assert lexicon.ahead[walk(lexicon, word[:end])] == max(below)
    prefixes = {w[:i] for w in words for i in range(len(w) + 1)}
    assert len(lexicon.symbol) == len(prefixes)
    for _ in range(100):
        other = tuple(rng.integers(1, 5, rng.integers(1, 7)).tolist())
        node = walk(lexicon, other)
        assert (node != OFF_TRIE) == (other in prefixes)
        assert node == OFF_TRIE or other in words or lexicon.word[node] == 99


def test_no_model_and_no_words():
    assert lexicon_for(VOCAB, None).kind == NO_LM
    empty = trie([], [], [], 3, 0)
    assert down(empty, 0, 1) == OFF_TRIE


def test_words_that_cannot_be_spelled_are_left_out(unigrams):
    lm = unigrams(["ab", "жé", "a", "xyz"])
    lexicon = lexicon_for(VOCAB, lm)
    assert lexicon.kind == WORD_LM
    assert lexicon.word[walk(lexicon, VOCAB.encode("жé"))] == lm.ids["жé"]
    assert sorted(lexicon.word[lexicon.word != lm.tables.unk]) == sorted(lm.ids[w] for w in ("ab", "жé", "a"))


def test_a_character_model_is_known_by_its_units(unigrams):
    words, letters = unigrams(["ab", "a"]), unigrams(["a", "b", "c", "é", "ж", "<space>"])
    assert (unit_of(words), unit_of(letters)) == ("word", "char")
    lexicon = lexicon_for(VOCAB, letters)
    assert lexicon.kind == CHAR_LM
    assert lexicon.unit[1] == letters.ids["<space>"]
    assert lexicon.unit[6] == letters.ids["ж"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["AB", "BA", "ab"], "the case differs"),
        ([unicodedata.normalize("NFD", w) for w in ("éa", "éb", "éc")], "the Unicode form differs"),
        (["xy", "yz"], "the alphabets differ"),
        ([], "no words"),
    ],
)
def test_a_model_of_another_alphabet_is_refused(unigrams, words, says):
    with pytest.raises(DataError, match=says):
        lexicon_for(VOCAB, unigrams(words))


def test_words_need_a_space_to_end(unigrams):
    with pytest.raises(DataError, match="no space"):
        lexicon_for(Vocab((BLANK, "a", "b")), unigrams(["ab", "ba"]))


def test_the_unknown_word_is_what_the_search_looks_ahead_to_off_the_trie(unigrams):
    assert lexicon_for(VOCAB, unigrams(["ab", "ba"])).stranger == pytest.approx(-3 * math.log(10))
