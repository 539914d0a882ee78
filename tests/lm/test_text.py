import numpy as np
import pytest

from ds2cli.errors import BadUtterance
from ds2cli.lm.counts import count_ngrams, spell
from ds2cli.lm.text import most_frequent, number, token_of, tokens, unit_of
from ds2cli.text.vocab import BLANK, Vocab


def test_tokens():
    assert tokens("so am i", "word") == ["so", "am", "i"]
    assert tokens("so é", "char") == ["s", "o", "<space>", "é"]
    assert tokens("", "word") == tokens("", "char") == []


def test_tokens_of_a_network():
    letters, pairs = Vocab.from_texts(["os aé"]), Vocab((BLANK, " ", "a", "s", "o", "so"))
    assert tokens("so a", "token", letters) == tokens("so a", "char")
    assert tokens("so sa osso a", "token", pairs) == ["so", "<space>", *"sa", "<space>", *"os", "so", "<space>", "a"]
    assert tokens("sosoo a", "token", pairs) == ["so", "so", "o", "<space>", "a"]
    assert token_of("o ") == "o<space>"
    with pytest.raises(BadUtterance, match="'x'"):
        tokens("x", "token", letters)
    with pytest.raises(ValueError, match="expected a vocab"):
        tokens("x", "token")


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
def test_what_the_units_of_a_model_are(words, symbols, unit):
    assert unit_of(["<unk>", "<s>", "</s>", *words], symbols) == unit


def test_numbering():
    corpus = number([["b", "a"], [], ["b"]])
    assert corpus.words == ["<unk>", "<s>", "</s>", "b", "a"]
    assert corpus.ids.tolist() == [1, 3, 4, 2, 1, 2, 1, 3, 2]
    assert (corpus.tokens, corpus.sentences) == (3, 3)


def test_the_most_frequent_words():
    corpus = number([["c", "b", "b", "a"]])
    assert [w for w, i in zip(corpus.words, most_frequent(corpus, 2), strict=True) if i] == [
        "<unk>",
        "<s>",
        "</s>",
        "c",
        "b",
    ]
    assert most_frequent(corpus, 100).all()


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
def test_counts_equal_the_plain_way(seed):
    rng = np.random.default_rng(seed)
    sentences = [[f"w{i}" for i in rng.integers(0, 4, rng.integers(0, 7))] for _ in range(rng.integers(1, 20))]
    corpus = number(sentences)
    grams = count_ngrams(corpus.ids, 4, len(corpus.words))
    for n, (g, words, want) in enumerate(zip(grams, spell(grams), naive_counts(sentences, 4), strict=True)):
        got = {tuple(corpus.words[i] for i in row): int(c) for row, c in zip(words, g.count, strict=True) if c}
        assert got == want
        keys = [tuple(reversed(row)) for row in words.tolist()]
        assert keys == sorted(keys)
        if n:
            below = spell(grams)[n - 1]
            np.testing.assert_array_equal(below[g.prefix], words[:, :-1])
            np.testing.assert_array_equal(below[g.suffix], words[:, 1:])


def test_no_text():
    corpus = number([])
    assert [len(g) for g in count_ngrams(corpus.ids, 3, len(corpus.words))] == [3, 0, 0]
