"""How texts are cut, and what sentencepiece learns."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest

from ds2cli.errors import DataError, UsageError
from ds2cli.text.units import is_run, train_sentencepiece, split_bigrams, split_runs, load_sentencepiece

WORDS = Counter({"the": 9, "then": 3, "other": 4, "don't": 2, "été": 2, "a": 5, "mother": 1})


@pytest.mark.parametrize(
    ("text", "found"),
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
        ("한국 жизнь", ["한국", " ", "жизнь"]),
        ("a\u00a0b", ["a\u00a0b"]),
    ],
)
def test_parts(text, found):
    assert split_runs(text) == found
    alone = re.compile(r"[ 々〇𠀀ｱ\u3040-\u30ff\u4e00-\u9fff]")
    assert [is_run(part) for part in found] == [not alone.fullmatch(part) for part in found]


def test_the_papers_example():
    """Deep Speech 2, section 3.6."""
    found = [unit for part in split_runs("the cat sat") for unit in split_bigrams(part)]
    assert found == ["th", "e", " ", "ca", "t", " ", "sa", "t"]


@pytest.mark.parametrize("run", ["", "a", "ab", "abc", "été", "a" * 9])
def test_pairs_do_not_overlap_and_only_the_last_may_be_odd(run):
    found = split_bigrams(run)
    assert "".join(found) == run
    assert [len(p) for p in found] == [2] * (len(run) // 2) + [1] * (len(run) % 2)


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_the_same_counts_give_the_same_bytes(kind):
    backwards = dict(reversed(WORDS.items()))
    model = train_sentencepiece(WORDS, kind, 24)
    assert model == train_sentencepiece(WORDS, kind, 24) == train_sentencepiece(backwards, kind, 24)
    assert model != train_sentencepiece({**WORDS, "zoo": 3}, kind, 24)


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_pieces_are_letters_and_more_and_cut_any_word(kind):
    pieces, cut = load_sentencepiece(train_sentencepiece(WORDS, kind, 24))
    letters = set("".join(WORDS))
    assert letters <= set(pieces) and "the" in pieces and len(letters) < len(pieces) <= 24
    assert not any(" " in p or "▁" in p or "<" in p for p in pieces)
    assert cut("the") == ["the"]
    for word in [*WORDS, "thethe", "xtheß", "中the", "<unk>", "t" * 300]:
        assert "".join(cut(word)) == word


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_a_word_of_its_own_letters_can_be_a_piece(kind):
    """A word that shares no substring with any other is still a candidate, as the words of a small grammar."""
    pieces, _ = load_sentencepiece(train_sentencepiece({"zero": 8, "one": 8, "two": 8}, kind, 20))
    assert {"zero", "one", "two"} <= set(pieces)


def test_a_frequent_word_is_worth_more_than_a_rare_one():
    rare, frequent = (train_sentencepiece({"qx": n, "vwyz": 20 - n}, "bpe", 7) for n in (1, 19))
    assert "qx" not in load_sentencepiece(rare)[0] and "qx" in load_sentencepiece(frequent)[0]


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_too_few_pieces_and_no_words(kind):
    with pytest.raises(UsageError, match=r"units.size: the texts have 11 letters, expected as many .*got 5"):
        train_sentencepiece(WORDS, kind, 5)
    for nothing in ({}, {"▁": 3, "\x07": 2, "a▅": 2}):
        with pytest.raises(UsageError, match="no words in the texts"):
            train_sentencepiece(nothing, kind, 9)
    with pytest.raises(UsageError, match=f"sentencepiece cannot learn {kind} from the texts"):
        train_sentencepiece({"ab" * 3000: 2}, kind, 9)


@pytest.mark.parametrize("model", [b"no model", b"\x00", bytes(np.random.default_rng(0).bytes(200))])
def test_a_broken_model_is_refused(model):
    with pytest.raises(DataError, match="sentencepiece model is broken"):
        load_sentencepiece(model)
    whole = train_sentencepiece(WORDS, "bpe", 20)
    with pytest.raises(DataError, match="sentencepiece model is broken"):
        load_sentencepiece(whole[: len(whole) // 2])
