import numpy as np
import pytest

from ds2cli.errors import BadUtterance
from ds2cli.lm.counts import count_ngrams, expand_words
from ds2cli.lm.text import build_corpus, detect_unit, symbol_to_token, tokenize, vocabulary_mask
from ds2cli.text.vocab import BLANK, Vocab


def test_words_and_characters():
    assert tokenize("so am i", "word") == ["so", "am", "i"]
    assert tokenize("so é", "char") == ["s", "o", "<space>", "é"]
    assert tokenize("", "word") == tokenize("", "char") == []


def test_tokens_of_a_network():
    letters, pairs = Vocab.from_texts(["os aé"]), Vocab((BLANK, " ", "a", "s", "o", "so"))
    assert tokenize("so a", "token", letters) == tokenize("so a", "char")
    assert tokenize("so sa osso a", "token", pairs) == ["so", "<space>", *"sa", "<space>", *"os", "so", "<space>", "a"]
    assert tokenize("sosoo a", "token", pairs) == ["so", "so", "o", "<space>", "a"]
    assert symbol_to_token("o ") == "o<space>"
    with pytest.raises(BadUtterance, match="'x'"):
        tokenize("x", "token", letters)
    with pytest.raises(ValueError, match="expected a vocab"):
        tokenize("x", "token")


@pytest.mark.parametrize(
    "words, symbols, unit",
    [
        (["so", "a"], (), "word"),
        (["s", "o", "<space>"], (), "char"),
        (["你", "好"], (), "char"),
        (["so", "<space>"], (), "token"),
        (["▁so", "s"], (), "token"),
        (["so", "s"], (BLANK, "so", "s", "o"), "token"),
        (["so", "sos"], (BLANK, "so", "s", "o"), "word"),
        (["s", "o"], (BLANK, "so", "s", "o"), "token"),
        (["s", "o"], (BLANK, "s", "o"), "char"),
        (["so", "s", "<space>"], (BLANK, " ", "so", "s", "o"), "token"),
        (["s", "o", "<space>"], (BLANK, " ", "so", "s", "o"), "token"),
        (["so"], (BLANK, " ", "so", "s", "o"), "word"),
        (["so", "sos"], (BLANK, " ", "so", "s", "o"), "word"),
        (["s", "o"], (BLANK, " ", "so", "s", "o"), "char"),
        ([], (), "word"),
    ],
)
def test_detect_unit(words, symbols, unit):
    assert detect_unit(["<unk>", "<s>", "</s>", *words], symbols) == unit


def test_word_ids():
    corpus = build_corpus([["b", "a"], [], ["b"]])
    assert corpus.words == ["<unk>", "<s>", "</s>", "b", "a"]
    assert corpus.ids.tolist() == [1, 3, 4, 2, 1, 2, 1, 3, 2]
    assert (corpus.tokens, corpus.sentences) == (3, 3)


def test_the_most_frequent_words():
    corpus = build_corpus([["c", "b", "b", "a"]])
    assert [w for w, i in zip(corpus.words, vocabulary_mask(corpus, 2), strict=True) if i] == [
        "<unk>",
        "<s>",
        "</s>",
        "c",
        "b",
    ]
    assert vocabulary_mask(corpus, 100).all()


def naive_counts(sentences, order):
    out = [{} for _ in range(order)]
    for words in sentences:
        padded = ["<s>", *words, "</s>"]
        for n in range(1, order + 1):
            for i in range(len(padded) - n + 1):
                gram = tuple(padded[i : i + n])
                if gram != ("<s>",):
                    out[n - 1][gram] = out[n - 1].get(gram, 0) + 1
    return out


@pytest.mark.parametrize("seed", range(10))
def test_counts_equal_naive_counting(seed):
    rng = np.random.default_rng(seed)
    sentences = [[f"w{i}" for i in rng.integers(0, 4, rng.integers(0, 7))] for _ in range(rng.integers(1, 20))]
    corpus = build_corpus(sentences)
    grams = count_ngrams(corpus.ids, 4, len(corpus.words))
    for n, (g, words, expected) in enumerate(zip(grams, expand_words(grams), naive_counts(sentences, 4), strict=True)):
        got = {tuple(corpus.words[i] for i in row): int(c) for row, c in zip(words, g.count, strict=True) if c}
        assert got == expected
        keys = [tuple(reversed(row)) for row in words.tolist()]
        assert keys == sorted(keys)
        if n:
            below = expand_words(grams)[n - 1]
            np.testing.assert_array_equal(below[g.prefix], words[:, :-1])
            np.testing.assert_array_equal(below[g.suffix], words[:, 1:])


def test_no_text():
    corpus = build_corpus([])
    assert [len(g) for g in count_ngrams(corpus.ids, 3, len(corpus.words))] == [3, 0, 0]
