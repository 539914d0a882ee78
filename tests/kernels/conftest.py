"""Language models for the alphabet of blank, space, a and b."""

from __future__ import annotations

import pytest

from ds2cli.lm.query import NgramLm

WORDS = """
\\data\\
ngram 1=6
ngram 2=4

\\1-grams:
-1.2\t<unk>\t0
0\t<s>\t-0.4
-0.9\t</s>\t0
-0.6\ta\t-0.3
-0.8\tab\t-0.2
-1.1\tbb\t-0.1

\\2-grams:
-0.3\t<s> a
-0.5\ta ab
-0.2\tab </s>
-0.7\tbb a

\\end\\
"""
LETTERS = """
\\data\\
ngram 1=6
ngram 2=3

\\1-grams:
-1.5\t<unk>\t0
0\t<s>\t-0.2
-0.9\t</s>\t0
-0.5\ta\t-0.3
-0.7\tb\t-0.2
-0.6\t<space>\t-0.1

\\2-grams:
-0.2\t<s> a
-0.4\ta b
-0.3\tb </s>

\\end\\
"""


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Language models by kind: "none" is None, "word" has the words a, ab and bb, "char" the letters."""
    folder = tmp_path_factory.mktemp("lm")
    loaded = {"none": None}
    for name, text in (("word", WORDS), ("char", LETTERS)):
        (folder / name).write_text(text.lstrip())
        loaded[name] = NgramLm.load(str(folder / name))
    return loaded
