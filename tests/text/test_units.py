"""Segmentation of texts, and sentencepiece models."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest

from ds2cli.errors import DataError, UsageError
from ds2cli.text.units import is_run, load_sentencepiece, split_bigrams, split_runs, train_sentencepiece

WORDS = Counter({"the": 9, "then": 3, "other": 4, "don't": 2, "été": 2, "a": 5, "mother": 1})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("a", ["a"]),
        ("the cat", ["the", " ", "cat"]),
        ("  the  ", [" ", " ", "the", " ", " "]),
        ("don't été", ["don't", " ", "été"]),
        ("我用ipad看书", ["我", "用", "ipad", "看", "书"]),
        ("ok 你 好ok", ["ok", " ", "你", " ", "好", "ok"]),
        ("東京タワーへ行くab", [*"東京タワーへ行く", "ab"]),
        ("々〇𠀀ｱ", list("々〇𠀀ｱ")),
        ("a〆〡ㇰ㐀\uf900ﾟb", ["a", *"〆〡ㇰ㐀\uf900ﾟ", "b"]),
        ("한국 жизнь", ["한국", " ", "жизнь"]),
        ("a\u00a0b", ["a\u00a0b"]),
    ],
)
def test_split_runs(text, expected):
    assert split_runs(text) == expected
    single = re.compile(r"[ 々〇𠀀ｱ〆〡ㇰ㐀\uf900ﾟ\u3040-\u30ff\u4e00-\u9fff]")
    assert [is_run(part) for part in expected] == [not single.fullmatch(part) for part in expected]


def test_the_papers_example():
    """Deep Speech 2, section 3.6."""
    units = [unit for part in split_runs("the cat sat") for unit in split_bigrams(part)]
    assert units == ["th", "e", " ", "ca", "t", " ", "sa", "t"]


@pytest.mark.parametrize("run", ["", "a", "ab", "abc", "été", "a" * 9])
def test_bigrams_do_not_overlap_and_only_the_last_may_be_single(run):
    bigrams = split_bigrams(run)
    assert "".join(bigrams) == run
    assert [len(b) for b in bigrams] == [2] * (len(run) // 2) + [1] * (len(run) % 2)


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_the_same_counts_give_the_same_bytes(kind):
    backwards = dict(reversed(WORDS.items()))
    model = train_sentencepiece(WORDS, kind, 24)
    assert model == train_sentencepiece(WORDS, kind, 24) == train_sentencepiece(backwards, kind, 24)
    assert model != train_sentencepiece({**WORDS, "zoo": 3}, kind, 24)


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_pieces_include_all_letters_and_segment_any_word(kind):
    pieces, segment = load_sentencepiece(train_sentencepiece(WORDS, kind, 24))
    letters = set("".join(WORDS))
    assert letters <= set(pieces) and "the" in pieces and len(letters) < len(pieces) <= 24
    assert not any(" " in p or "▁" in p or "<" in p for p in pieces)
    assert segment("the") == ["the"]
    for word in [*WORDS, "thethe", "xtheß", "中the", "<unk>", "t" * 300, "the\ud800", "0\udfff"]:
        assert "".join(segment(word)) == word


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_a_word_without_shared_substrings_can_be_a_piece(kind):
    """Unigram must consider words that share no substring, as in a small grammar."""
    pieces, _ = load_sentencepiece(train_sentencepiece({"zero": 8, "one": 8, "two": 8}, kind, 20))
    assert {"zero", "one", "two"} <= set(pieces)


def test_frequent_words_become_pieces_first():
    rare, frequent = (train_sentencepiece({"qx": n, "vwyz": 20 - n}, "bpe", 7) for n in (1, 19))
    assert "qx" not in load_sentencepiece(rare)[0] and "qx" in load_sentencepiece(frequent)[0]


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_too_few_pieces_and_no_words(kind):
    with pytest.raises(
        UsageError, match=r"units.size: expected at least 11, the number of letters in the texts, got 5"
    ):
        train_sentencepiece(WORDS, kind, 5)
    for empty in ({}, {"▁": 3, "\x07": 2, "a▅": 2}):
        with pytest.raises(UsageError, match="the texts have no words to learn"):
            train_sentencepiece(empty, kind, 9)
    with pytest.raises(UsageError, match=f"sentencepiece cannot learn {kind} pieces from the texts"):
        train_sentencepiece({"ab" * 3000: 2}, kind, 9)


@pytest.mark.parametrize("data", [b"not a model", b"\x00", bytes(np.random.default_rng(0).bytes(200))])
def test_a_damaged_model_is_refused(data):
    with pytest.raises(DataError, match="sentencepiece model is damaged"):
        load_sentencepiece(data)
    model = train_sentencepiece(WORDS, "bpe", 20)
    with pytest.raises(DataError, match="sentencepiece model is damaged"):
        load_sentencepiece(model[: len(model) // 2])
    with pytest.raises(DataError, match="sentencepiece model is damaged"):
        load_sentencepiece(train_sentencepiece({"né": 8}, "bpe", 4).replace(b"\xc3\xa9", b"\xc3\x29"))
