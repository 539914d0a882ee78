"""The trie of a language model's words, word lists, and combinations that cannot be searched."""

from __future__ import annotations

import math
import unicodedata

import numpy as np
import pytest

from ds2cli.errors import DataError
from ds2cli.kernels.prefix import CHAR_LM, NO_LM, WORD_LM
from ds2cli.kernels.trie import find_child, trie_child
from ds2cli.search.lexicon import build_lexicon, build_trie
from ds2cli.text.vocab import BLANK, Vocab

VOCAB = Vocab((BLANK, " ", "a", "b", "c", "é", "ж"))
UNSPACED = Vocab((BLANK, "a", "b"))


def walk(lexicon, symbols):
    node = 0
    for symbol in symbols:
        node = trie_child(lexicon.first, lexicon.symbol, node, symbol)
    return node


def words_in(lexicon, vocab=VOCAB):
    """The words of a lexicon and their ids in the language model."""
    ids, stack = {}, [(0, "")]
    while stack:
        node, text = stack.pop()
        if lexicon.word[node] >= 0:
            ids[text] = int(lexicon.word[node])
        children = range(lexicon.first[node], lexicon.first[node + 1])
        stack += [(child, text + vocab.symbols[lexicon.symbol[child]]) for child in children]
    return ids


@pytest.mark.parametrize("seed", range(10))
def test_trie_has_the_words_and_nothing_else(seed):
    rng = np.random.default_rng(seed)
    words = {tuple(rng.integers(1, 5, rng.integers(1, 6)).tolist()) for _ in range(30)}
    spelled = sorted(words, key=lambda w: rng.random())
    logps = rng.normal(size=len(spelled)).tolist()
    lexicon = build_trie(spelled, list(range(len(spelled))), logps, 5)
    for i, word in enumerate(spelled):
        assert lexicon.word[walk(lexicon, word)] == i
        for end in range(1, len(word) + 1):
            below = [logps[k] for k, other in enumerate(spelled) if other[:end] == word[:end]]
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


def test_neither_model_nor_words():
    lexicon = build_lexicon(VOCAB, None)
    assert lexicon.kind == NO_LM and not lexicon.closed
    assert trie_child(lexicon.first, lexicon.symbol, 0, 1) == -1


def test_unspellable_words_are_left_out(unigrams):
    lm = unigrams(["ab", "жé", "a", "xyz"])
    lexicon = build_lexicon(VOCAB, lm)
    assert lexicon.kind == WORD_LM and not lexicon.closed
    assert words_in(lexicon) == {w: lm.ids[w] for w in ("ab", "жé", "a")}


def test_sentence_marks_are_not_words(unigrams):
    lm = unigrams(["ab", "a"])
    lexicon = build_lexicon(Vocab((BLANK, " ", *"<>/absunk")), lm)
    assert set(words_in(lexicon, Vocab((BLANK, " ", *"<>/absunk")))) == {"ab", "a"}


def test_character_model_is_detected(unigrams):
    letters = unigrams(["a", "b", "c", "é", "ж", "<space>"])
    lexicon = build_lexicon(VOCAB, letters)
    assert lexicon.kind == CHAR_LM and not lexicon.closed
    assert lexicon.unit[1:].tolist() == [letters.ids[s] for s in ("<space>", "a", "b", "c", "é", "ж")]


def test_token_model_maps_each_symbol_to_its_unit(unigrams):
    vocab = Vocab((BLANK, "a ", "th", "▁e", "é"))
    lm = unigrams(["a<space>", "th", "▁e"])
    lexicon = build_lexicon(vocab, lm)
    assert lexicon.kind == CHAR_LM
    assert lexicon.unit[1:].tolist() == [lm.ids["a<space>"], lm.ids["th"], lm.ids["▁e"], lm.tables.unk]


def test_look_ahead_off_the_trie_is_the_unknown_word(unigrams):
    assert build_lexicon(VOCAB, unigrams(["ab", "ba"])).unk_logprob == pytest.approx(-3 * math.log(10))


def test_word_list_without_a_model():
    lexicon = build_lexicon(VOCAB, None, ["ab", " жé  c", "ab", "xyz", ""])
    assert lexicon.kind == WORD_LM and lexicon.closed
    assert set(words_in(lexicon)) == {"ab", "жé", "c"}
    assert set(lexicon.lookahead.tolist()) == {0.0} and lexicon.unk_logprob == 0.0


def test_word_list_and_a_word_model(unigrams):
    lm = unigrams({"ab": 3.0, "a": 1.0, "c": 1.0})
    lexicon = build_lexicon(VOCAB, lm, ["ab", "c", "жж"])
    assert lexicon.kind == WORD_LM and lexicon.closed
    assert words_in(lexicon) == {"ab": lm.ids["ab"], "c": lm.ids["c"], "жж": lm.tables.unk}
    assert lexicon.lookahead[walk(lexicon, VOCAB.encode("ж"))] == pytest.approx(-3 * math.log(10))


def test_word_list_and_a_character_model(unigrams):
    lexicon = build_lexicon(VOCAB, unigrams(["a", "b", "<space>"]), ["ab", "c"])
    assert lexicon.kind == CHAR_LM and lexicon.closed
    assert set(words_in(lexicon)) == {"ab", "c"}


@pytest.mark.parametrize("words", [[unicodedata.normalize("NFD", "éé")], ["AB", "Ж"], ["xyz"]])
def test_no_word_can_be_spelled(unigrams, words):
    vocab = Vocab((BLANK, " ", "a", "é"))
    with pytest.raises(DataError, match=f"none of {len(words)} words can be spelled: '.' in '{words[0]}' is not"):
        build_lexicon(vocab, None, words)
    with pytest.raises(DataError, match=r"none of \d+ words can be spelled"):
        build_lexicon(vocab, unigrams([*words, "longer"]))


def test_empty_lexicons_are_refused(unigrams):
    with pytest.raises(DataError, match="there are no words"):
        build_lexicon(VOCAB, unigrams([]))
    with pytest.raises(DataError, match="there are no words"):
        build_lexicon(VOCAB, None, ["", "  "])
    with pytest.raises(DataError, match="has none of the network's 6 symbols"):
        build_lexicon(VOCAB, unigrams(["你", "好"]))


def test_words_need_a_space_in_the_alphabet_of_a_script_without_spaces(unigrams):
    for vocab, words in ((Vocab((BLANK, "打", "开")), ["打开", "开打"]), (Vocab.from_texts(["เปิด"]), ["เปิด", "ปิด"])):
        with pytest.raises(DataError, match="no space"):
            build_lexicon(vocab, unigrams(words))
        for lm in (None, unigrams(list(words[0]))):
            with pytest.raises(DataError, match="no space"):
                build_lexicon(vocab, lm, words)


def test_without_a_space_in_the_alphabet_each_text_is_one_word(unigrams):
    lm = unigrams(["ab", "ba"])
    lexicon = build_lexicon(UNSPACED, lm)
    assert (lexicon.kind, lexicon.closed) == (WORD_LM, False)
    assert words_in(lexicon, UNSPACED) == {"ab": lm.ids["ab"], "ba": lm.ids["ba"]}
    for model in (None, lm):
        lexicon = build_lexicon(UNSPACED, model, ["ab"])
        assert lexicon.closed and list(words_in(lexicon, UNSPACED)) == ["ab"]
