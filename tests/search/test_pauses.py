"""Silent steps, and the best place to divide a stretch of an emission."""

from __future__ import annotations

import numpy as np
import pytest

from ds2cli.search.pauses import SilenceReader, find_cut
from ds2cli.text.vocab import BLANK, Vocab


def test_blank_and_space_are_silence():
    probs = np.array([[0.7, 0.25, 0.05], [0.1, 0.6, 0.3], [0.0, 0.0, 1.0]])
    with np.errstate(divide="ignore"):
        log_probs = np.log(probs).astype(np.float32)
    silences, word_ends = SilenceReader(Vocab((BLANK, " ", "a")))(log_probs)
    assert silences == pytest.approx([0.95, 0.7, 0.0]) and word_ends == [False, True, False]
    silences, word_ends = SilenceReader(Vocab((BLANK, "日", "本")))(log_probs)
    assert silences == pytest.approx([0.7, 0.1, 0.0]) and word_ends == [False] * 3
    assert SilenceReader(Vocab((BLANK, " ", "a")))(log_probs[:0]) == ([], [])


def cut(path):
    """What lies on both sides of the cut of a path: _ is silence, - a space in silence, . nearly silent, s a space."""
    at = find_cut([{"_": 0.97, "-": 0.97, ".": 0.8, "s": 0.7}.get(c, 0.1) for c in path], [c in "-s" for c in path])
    return path[:at], path[at:]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        # the middle of the longest pause
        ("aaa__aa____aaa", ("aaa__aa__", "__aaa")),
        # the first of two that are as long
        ("aaaa__aa__aaaa", ("aaaa_", "_aa__aaaa")),
        # a pause between words, and not a longer one within a word
        ("aaa____aa_-_aa", ("aaa____aa_", "-_aa")),
        # not in the first or last fifth
        ("_____aaa_aaaaaaaaaaa_____", ("_____aaa", "_aaaaaaaaaaa_____")),
        # without a pause, where a word ends; else at its most silent step
        ("aaaa.aasaaaa", ("aaaa.aa", "saaaa")),
        ("aaaaaaa.aaaa", ("aaaaaaa", ".aaaa")),
        ("aaaaaa", ("a", "aaaaa")),
        ("aa", ("a", "a")),
        ("a", ("a", "")),
        ("__________", ("_____", "_____")),
    ],
)
def test_the_cut_is_between_words(path, expected):
    assert cut(path) == expected
