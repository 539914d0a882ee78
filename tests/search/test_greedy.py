"""Greedy search, checked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ds2cli.errors import BadUtterance, DataError
from ds2cli.search.emission import check_emission
from ds2cli.search.greedy import collapse, collapse_spaces, greedy
from ds2cli.text.vocab import BLANK, Vocab

VOCAB = Vocab((BLANK, " ", "a", "é", "ж"))


def decode(*path):
    lp = np.log(np.full((len(path), 5), 0.1, dtype=np.float32))
    lp[np.arange(len(path)), list(path)] = np.log(0.6)
    return greedy(lp, VOCAB)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), ""),
        ((0, 0), ""),
        ((2,), "a"),
        ((2, 2, 2), "a"),
        ((2, 0, 2), "aa"),
        ((3, 4), "éж"),
        ((1, 2, 1, 0, 1, 4, 1), "a ж"),
    ],
)
def test_paths_collapse(path, text):
    hypothesis = decode(*path)
    assert hypothesis.text == text
    assert hypothesis.score == pytest.approx(len(path) * np.log(0.6), abs=1e-5)


def test_collapse_of_an_empty_path():
    assert collapse(np.empty(0, dtype=np.int64)).size == 0


@pytest.mark.parametrize("seed", range(20))
def test_one_space_between_words_and_none_at_the_ends(seed):
    labels = np.random.default_rng(seed).integers(1, 4, seed)
    text = "".join(" ab"[i - 1] for i in labels)
    assert "".join(" ab"[i - 1] for i in collapse_spaces(labels, 1)) == " ".join(text.split())
    assert collapse_spaces(labels, 9).tolist() == labels.tolist()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_error_names_the_bad_value(bad):
    lp = np.zeros((4, 5))
    lp[2, 3] = bad
    with pytest.raises(BadUtterance, match="step 2, symbol 3") as e:
        check_emission(lp, VOCAB)
    assert e.value.reason == "not-a-number"


def test_minus_infinity_is_allowed():
    assert check_emission(np.full((1, 5), -np.inf), VOCAB).dtype == np.float32


def test_emission_of_another_alphabet_is_refused():
    with pytest.raises(DataError, match="expected 5 symbols"):
        check_emission(np.zeros((4, 6)), VOCAB)


def test_read_only_emission_is_copied_so_that_kernels_see_one_type():
    lp = np.zeros((4, 5), dtype=np.float32)
    lp.flags.writeable = False
    assert check_emission(lp, VOCAB).flags.writeable
