"""The spaces between words: those of a text whose words are known, also where the script is written without spaces."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ds2cli.text.units import UNSPACED, is_unspaced

_BESIDE_UNSPACED = re.compile(f" +(?=[{UNSPACED}])|(?<=[{UNSPACED}]) +")


def find_spaces(words: Sequence[str], text: str) -> list[str]:
    """What stands before each word in a text, "" or " ".

    words: all words of the text in order; in a script without spaces they are parts of it, such as its characters.
    If they do not spell the text, a space stands between two words unless both are of such a script.

    >>> find_spaces(["打", "开", "wifi", "设", "置"], "打开wifi 设置")
    [' ', '', '', ' ', '']
    """
    spaces = [" "] * len(words)
    if not any(map(is_unspaced, words)):
        return spaces
    letters = "".join(text.split())
    if letters != "".join("".join(words).split()):
        for i in range(1, len(words)):
            if is_unspaced(words[i - 1][-1:]) and is_unspaced(words[i][:1]):
                spaces[i] = ""
        return spaces
    starts, length = {0}, 0
    for part in text.split():
        length += len(part)
        starts.add(length)
    at = 0
    for i, word in enumerate(words):
        spaces[i] = " " if at in starts else ""
        at += len("".join(word.split()))
    return spaces


def join_words(words: Sequence[str], spaces: Sequence[str]) -> str:
    """Some adjacent words of a text, given what stands before each, as in `find_spaces`.

    >>> join_words(["开", "wifi", "设"], ["", "", " "])
    '开wifi 设'
    """
    return "".join(space + word for space, word in zip(spaces, words, strict=True))[len(spaces[0]) if spaces else 0 :]


def join_texts(texts: Iterable[str]) -> str:
    """Texts that follow each other as one, such as those of utterances; empty ones are left out.

    >>> join_texts(["打开", "", "设置", "wifi please", "now"])
    '打开设置 wifi please now'
    """
    joined = ""
    for text in texts:
        joined += f"{space_between(joined, text)}{text}"
    return joined


def space_between(before: str, after: str) -> str:
    """What stands between two texts, "" or " ": nothing beside an empty one, nor in a script without spaces."""
    if not before or not after or (is_unspaced(before[-1]) and is_unspaced(after[0])):
        return ""
    return " "


def remove_spaces(text: str) -> str:
    """A Chinese text without the spaces beside its characters; those between words in Latin letters stay.

    >>> remove_spaces("打开 wi fi 设 置")
    '打开wi fi设置'
    """
    return _BESIDE_UNSPACED.sub("", text)
