"""Words and characters as numbers: what `str.split` does, for every code point."""

from __future__ import annotations

import random
import sys

import numpy as np
import pytest

from ds2cli.kernels.text_units import is_han, is_space, join_words, number_words
from ds2cli.metrics.unit_split import HAN, join_characters

TEXTS = [
    "",
    " ",
    "a",
    " a\tbb  a\n",
    "naïve\u00a0café\u3000b",
    "你 好 world 再 见",
    "\ud800 x\udfff",
    "𠀀 𠀁 x",
    "a" * 300,
    "a a a",
]


def flat(texts):
    points = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), "<i4")
    return points, np.cumsum([len(text) for text in texts], dtype=np.int64)


def text_of(points):
    return points.tobytes().decode("utf-32-le", "surrogatepass")


def random_texts(seed):
    draw = random.Random(seed)
    return ["".join(draw.choices("ab \t中。\u2003é𠀀", k=draw.randrange(12))) for _ in range(200)]


@pytest.mark.parametrize(
    "texts", [[], TEXTS, random_texts(0), random_texts(1)], ids=["none", "known", "random", "other"]
)
def test_words_are_those_of_split_and_equal_words_have_one_number(texts):
    points, ends = flat(texts)
    ids, word_ends, spans = number_words(points, ends)
    names = [text_of(points[begin:end]) for begin, end in spans]
    assert len(set(names)) == len(names)
    starts = [0, *word_ends]
    found = [[names[k] for k in ids[starts[n] : starts[n + 1]]] for n in range(len(texts))]
    assert found == [text.split() for text in texts]


def test_many_words_of_one_length_share_no_number():
    words = [f"{n:05d}" for n in range(50_000)]
    ids, _, spans = number_words(*flat([" ".join(words), " ".join(reversed(words))]))
    assert len(spans) == 50_000 and ids.tolist() == [*range(50_000), *reversed(range(50_000))]


@pytest.mark.parametrize("spaces", [True, False])
@pytest.mark.parametrize("texts", [[], TEXTS, random_texts(2)], ids=["none", "known", "random"])
def test_characters_are_those_of_the_plain_function(texts, spaces):
    points, ends = join_words(*flat(texts), spaces)
    starts = [0, *ends]
    found = [text_of(points[starts[n] : starts[n + 1]]) for n in range(len(texts))]
    assert found == [join_characters(text, spaces) for text in texts]


def test_every_code_point_is_a_space_or_a_chinese_character_as_in_python():
    import re

    han = re.compile(f"[{HAN}]")
    for point in range(sys.maxunicode + 1):
        c = chr(point)
        assert is_space(point) == c.isspace() and is_han(point) == (han.match(c) is not None), hex(point)
