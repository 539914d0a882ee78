"""The spaces of a text between the words it was aligned as."""

import pytest

from ds2cli.text.spacing import find_spaces, join_texts, join_words


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["the", "cat"], "the cat"),
        (["打", "开", "窗"], "打开窗"),
        (["打", "开", "wifi", "设", "置"], "打开wifi 设置"),
        (["打开", "wifi", "设置"], "打开 wifi 设置"),
        (["你好", "世界"], "你好 世界"),
        (["เปิด", "ประตู"], "เปิดประตู"),
        (["が", "a", "b"], "がa b"),
        ([], ""),
        (["一"], "一"),
    ],
)
def test_words_with_their_spaces_are_the_text(words, text):
    assert join_words(words, find_spaces(words, text)) == text


def test_a_part_of_a_text_begins_without_a_space():
    words = ["打", "开", "wifi", "设", "置"]
    spaces = find_spaces(words, "打开 wifi 设置")
    assert [join_words(words[i:j], spaces[i:j]) for i, j in ((0, 2), (1, 3), (2, 3), (3, 5), (2, 2))] == [
        *("打开", "开 wifi", "wifi", "设置", "")
    ]


def test_words_that_are_not_those_of_the_text():
    words = ["打", "开", "wifi", "x", "设", "置"]
    for text in ("打开wifi设置", "", "打 开 wifi x 设"):
        assert join_words(words, find_spaces(words, text)) == "打开 wifi x 设置"
    assert join_words(["a", "b"], find_spaces(["a", "b"], "ab")) == "a b"


def test_words_may_have_spaces_in_them():
    """Those of a gap are one string."""
    assert find_spaces(["打", "开 窗", "户"], "打开 窗户") == [" ", "", ""]


def test_texts_that_follow_each_other_are_joined_as_their_script_is_written():
    assert join_texts(["press one", "", "or hold"]) == "press one or hold"
    assert join_texts(["打开", "设置", "", "wifi", "吧"]) == "打开设置 wifi 吧"
    assert join_texts(["", "เปิด", "ปิด"]) == "เปิดปิด"
    assert join_texts([]) == join_texts([""]) == ""
