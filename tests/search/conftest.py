"""Small language models for the searches."""

from __future__ import annotations

import math

import pytest

from ds2cli.lm.query import NgramLm


@pytest.fixture
def unigrams(tmp_path):
    """Builds a unigram model of words, equally likely, or from a dict of relative frequencies."""

    def build(words):
        weights = words if isinstance(words, dict) else dict.fromkeys(words, 1.0)
        lines = [f"{math.log10(p / (1 + sum(weights.values()))):.6f}\t{w}" for w, p in weights.items()]
        marks = ["-3\t<unk>", "0\t<s>", "-1\t</s>"]
        text = "\n".join(["\\data\\", f"ngram 1={3 + len(lines)}", "", "\\1-grams:", *marks, *lines, "", "\\end\\", ""])
        path = tmp_path / "lm.arpa"
        path.write_text(text, "utf-8")
        return NgramLm.load(str(path))

    return build
