"""The trie of a model's words, the list of words that may be written, and what cannot be searched at all."""

from __future__ import annotations

import math
import unicodedata

import numpy as np
import pytest

from ds2cli.errors import DataError
from ds2cli.kernels.prefix import CHAR_LM, NO_LM, WORD_LM
from ds2cli.kernels.trie import find_child, trie_child
from ds2cli.search.lexicon import build_lexicon, trie
from ds2cli.text.vocab import BLANK, Vocab

VOCAB = Vocab((BLANK, " ", "a", "b", "c", "é", "ж"))
DENSE = Vocab((BLANK, "a", "b"))


def walk(lexicon, symbols):
    node = 0
    for symbol in symbols:
        node = trie_child(lexicon.first, lexicon.symbol, node, symbol)
    return node


def known(lexicon, vocab=VOCAB):
    """The words of a lexicon, and what the model knows them as."""
    found, todo = {}, [(0, "")]
    while todo:
        node, text = todo.pop()
        if lexicon.word[node] >= 0:
            found[text] = int(lexicon.word[node])
        children = range(lexicon.first[node], lexicon.first[node + 1])
        todo += [(child, text + vocab.symbols[lexicon.symbol[child]]) for child in children]
    return found


@pytest.mark.parametrize("seed", range(10))
def test_every_word_is_found_and_nothing_else(seed):
    rng = np.random.default_rng(seed)
    words = {tuple(rng.integers(1, 5, rng.integers(1, 6)).tolist()) for _ in range(30)}
    spelled = sorted(words, key=lambda w: rng.random())
    chances = rng.normal(size=len(spelled)).tolist()
    lexicon = trie(spelled, list(range(len(spelled))), chances, 5)
    for i, word in enumerate(spelled):
        assert lexicon.word[walk(lexicon, word)] == i
        for end in range(1, len(word) + 1):
            below = [chances[k] for k, other in enumerate(spelled) if other[:end] == word[:end]]
            assert lexicon.lookahead[walk(lexicon, word[:end])] == max(below)
    prefixes = {w[:i] for w in words for i in range(len(w) + 1)}
    assert len(lexicon.symbol) == len(prefixes)
    for _ in range(100):
        other = tuple(rng.integers(1, 5, rng.integers(1, 7)).tolist())
        node = walk(lexicon, other)
        longest = max(i for i in range(len(other) + 1) if other[:i] in prefixes)
        assert node == longest - len(other) if longest < len(other) else node >= 0
        assert node < 0 or other in words or lexicon.word[node] == -1
        assert find_child(lexicon.first, lexicon.symbol, 0, other[0]) == max(walk(lexicon, other[:1]), -1)


def test_no_model_and_no_words():
    lexicon = build_lexicon(VOCAB, None)
    assert lexicon.kind == NO_LM and not lexicon.closed
    assert trie_child(lexicon.first, lexicon.symbol, 0, 1) == -1


def test_words_that_cannot_be_spelled_are_left_out(unigrams):
    lm = unigrams(["ab", "жé", "a", "xyz"])
    lexicon = build_lexicon(VOCAB, lm)
    assert lexicon.kind == WORD_LM and not lexicon.closed
    assert known(lexicon) == {w: lm.ids[w] for w in ("ab", "жé", "a")}


def test_sentence_marks_are_no_words(unigrams):
    lm = unigrams(["ab", "a"])
    lexicon = build_lexicon(Vocab((BLANK, " ", *"<>/absunk")), lm)
    assert set(known(lexicon, Vocab((BLANK, " ", *"<>/absunk")))) == {"ab", "a"}


def test_a_character_model_is_known_by_its_units(unigrams):
    letters = unigrams(["a", "b", "c", "é", "ж", "<space>"])
    lexicon = build_lexicon(VOCAB, letters)
    assert lexicon.kind == CHAR_LM and not lexicon.closed
    assert lexicon.unit[1:].tolist() == [letters.ids[s] for s in ("<space>", "a", "b", "c", "é", "ж")]


def test_a_model_of_tokens_gives_each_symbol_its_unit(unigrams):
    vocab = Vocab((BLANK, "a ", "th", "▁e", "é"))
    lm = unigrams(["a<space>", "th", "▁e"])
    lexicon = build_lexicon(vocab, lm)
    assert lexicon.kind == CHAR_LM
    assert lexicon.unit[1:].tolist() == [lm.ids["a<space>"], lm.ids["th"], lm.ids["▁e"], lm.tables.unk]


def test_the_unknown_word_is_what_the_search_looks_ahead_to_off_the_trie(unigrams):
    assert build_lexicon(VOCAB, unigrams(["ab", "ba"])).unk_logprob == pytest.approx(-3 * math.log(10))


def test_a_list_of_words_alone():
    lexicon = build_lexicon(VOCAB, None, ["ab", " жé  c", "ab", "xyz", ""])
    assert lexicon.kind == WORD_LM and lexicon.closed
    assert set(known(lexicon)) == {"ab", "жé", "c"}
    assert set(lexicon.lookahead.tolist()) == {0.0} and lexicon.unk_logprob == 0.0


def test_a_list_of_words_and_a_model(unigrams):
    lm = unigrams({"ab": 3.0, "a": 1.0, "c": 1.0})
    lexicon = build_lexicon(VOCAB, lm, ["ab", "c", "жж"])
    assert lexicon.kind == WORD_LM and lexicon.closed
    assert known(lexicon) == {"ab": lm.ids["ab"], "c": lm.ids["c"], "жж": lm.tables.unk}
    assert lexicon.lookahead[walk(lexicon, VOCAB.encode("ж"))] == pytest.approx(-3 * math.log(10))


def test_a_list_of_words_and_a_character_model(unigrams):
    lexicon = build_lexicon(VOCAB, unigrams(["a", "b", "<space>"]), ["ab", "c"])
    assert lexicon.kind == CHAR_LM and lexicon.closed
    assert set(known(lexicon)) == {"ab", "c"}


@pytest.mark.parametrize("words", [[unicodedata.normalize("NFD", "éé")], ["AB", "Ж"], ["xyz"]])
def test_a_model_and_a_list_of_which_no_word_can_be_spelled(unigrams, words):
    vocab = Vocab((BLANK, " ", "a", "é"))
    with pytest.raises(DataError, match=f"of {len(words)} words none can be spelled, as '.' in '{words[0]}' is not"):
        build_lexicon(vocab, None, words)
    with pytest.raises(DataError, match="none can be spelled"):
        build_lexicon(vocab, unigrams([*words, "longer"]))


def test_nothing_to_search(unigrams):
    with pytest.raises(DataError, match="there are no words"):
        build_lexicon(VOCAB, unigrams([]))
    with pytest.raises(DataError, match="there are no words"):
        build_lexicon(VOCAB, None, ["", "  "])
    with pytest.raises(DataError, match="knows none of the network's 6 symbols"):
        build_lexicon(VOCAB, unigrams(["你", "好"]))


def test_words_need_a_space_to_end(unigrams):
    with pytest.raises(DataError, match="no space"):
        build_lexicon(DENSE, unigrams(["ab", "ba"]))
    for lm in (None, unigrams(["a", "b"])):
        with pytest.raises(DataError, match="no space"):
            build_lexicon(DENSE, lm, ["ab"])
