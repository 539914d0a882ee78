"""Small models for the searches."""

from __future__ import annotations

import math

import pytest

from ds2cli.lm.query import NgramLm


@pytest.fixture
def unigrams(tmp_path):
    """A model of the given words, all equally likely, or as likely as a dict says."""

    def make(words):
        chances = words if isinstance(words, dict) else dict.fromkeys(words, 1.0)
        lines = [f"{math.log10(p / (1 + sum(chances.values()))):.6f}\t{w}" for w, p in chances.items()]
        marks = ["-3\t<unk>", "0\t<s>", "-1\t</s>"]
        text = "\n".join(["\\data\\", f"ngram 1={3 + len(lines)}", "", "\\1-grams:", *marks, *lines, "", "\\end\\", ""])
        path = tmp_path / "lm.arpa"
        path.write_text(text, "utf-8")
        return NgramLm.load(str(path))

    return make
