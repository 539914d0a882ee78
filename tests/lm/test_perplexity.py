import math

import pytest

from ds2cli.lm.perplexity import measure
from ds2cli.lm.query import NgramLm


@pytest.fixture
def lm(estimate_lm):
    return NgramLm.from_arpa(estimate_lm("a b\nb\n", 2))


def test_in_vocabulary_words(lm):
    p = measure(lm, [["a", "b"], ["b"]])
    total = lm.sentence_log10("a b") + lm.sentence_log10("b")
    assert (p.sentences, p.words, p.types, p.oov, p.oov_types) == (2, 3, 2, 0, 0)
    assert p.including_oov == p.excluding_oov == pytest.approx(10 ** (-total / 5))
    assert p.oov_percent == p.oov_types_percent == 0.0


def test_oov_words(lm):
    p = measure(lm, [["a", "x", "x"]])
    assert (p.oov, p.oov_types, p.types) == (2, 1, 2)
    assert p.oov_counts == {"x": 2}
    assert p.oov_percent == pytest.approx(200 / 3)
    assert p.oov_types_percent == 50.0
    scores = lm.word_log10(["a", "x", "x"])
    assert p.excluding_oov == pytest.approx(10 ** (-(scores[0] + scores[3]) / 2))
    assert p.including_oov > p.excluding_oov


def test_no_text(lm):
    p = measure(lm, [])
    assert math.isnan(p.including_oov)
    assert p.oov_percent == 0.0
