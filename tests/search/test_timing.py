"""The correction of word times."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds2cli.search.align import Alignment, Gap, Word, align
from ds2cli.search.timing import Timing
from ds2cli.search.trellis import GapCosts
from ds2cli.text.vocab import BLANK, Vocab

VOCAB = Vocab((BLANK, " ", "a", "b", "c"))


def spikes(text, times, steps):
    """Emissions (steps, V) in which each symbol of a text has one step."""
    probs = np.full((steps, len(VOCAB)), 0.001)
    path = np.zeros(steps, int)
    path[times] = VOCAB.encode(text)
    probs[np.arange(steps), path] = 0.996
    return np.log(probs).astype(np.float32)


def words_of(*spans):
    return [Word(f"w{i}", start, end, 1.0) for i, (start, end) in enumerate(spans)]


def times_of(items):
    return [(pytest.approx(item.start), pytest.approx(item.end)) for item in items]


def test_the_shift_is_subtracted_from_words_symbols_and_gaps():
    words = words_of((0.5, 0.6), (1.0, 1.2))
    found = Alignment(words, -1.0, None, [], words, [Gap(0.7, 0.8, "", "ab")])
    corrected = Timing(0.1).correct(found, 2.0)
    assert times_of(corrected.words) == times_of(corrected.chars) == [(0.4, 0.5), (0.9, 1.1)]
    assert times_of(corrected.gaps) == [(0.6, 0.7)]
    assert (corrected.log_prob, corrected.gaps[0].heard, corrected.words[0].word) == (-1.0, "ab", "w0")


def test_nothing_changes_without_a_correction():
    found = Alignment(words_of((0.0, 0.1)), -1.0, None, [], [], [])
    assert Timing().correct(found, 1.0) is found


@pytest.mark.parametrize(
    ("extend", "gaps", "ends"),
    [
        (0.2, [], [0.8, 1.4, 2.0]),
        (0.6, [], [1.0, 1.6, 2.0]),
        (0.6, [Gap(0.7, 0.9, "x", "")], [0.7, 1.6, 2.0]),
        (0.6, [Gap(0.6, 0.9, "x", "")], [0.6, 1.6, 2.0]),
    ],
)
def test_an_extended_word_ends_before_the_next_word_or_gap_and_the_end_of_the_recording(extend, gaps, ends):
    found = Alignment(words_of((0.5, 0.6), (1.0, 1.2), (1.6, 1.9)), -1.0, None, [], [], gaps)
    corrected = Timing(0.0, extend).correct(found, 2.0)
    assert [word.end for word in corrected.words] == pytest.approx(ends)
    assert [word.start for word in corrected.words] == [0.5, 1.0, 1.6]
    assert corrected.gaps == gaps


def test_symbols_end_where_their_word_ends():
    log_probs = spikes("ab c", [3, 5, 8, 9], 20)
    found = Timing(0.02, 0.05).correct(align(log_probs, "ab c", VOCAB, 0.02, chars=True), 0.4)
    assert [char.word for char in found.chars] == ["a", "b", "c"]
    assert (found.chars[0].start, found.chars[1].end) == (found.words[0].start, found.words[0].end)
    assert (found.chars[2].start, found.chars[2].end) == (found.words[1].start, found.words[1].end)
    assert found.chars[0].end == found.chars[1].start


def test_symbols_end_before_a_word_that_has_none():
    log_probs = spikes("a b", [3, 6, 9], 20)
    found = Timing(0.0, 0.5).correct(align(log_probs, "a 1 b", VOCAB, 0.02, chars=True), 0.4)
    assert found.words[1].conf is None
    assert found.chars[0].end == found.words[0].end == found.words[1].start


@pytest.mark.parametrize("delay", [-3, 0, 2, 5])
def test_spikes_that_are_late_by_some_steps_are_moved_back(delay):
    places = np.array([10, 12, 15, 18, 21])
    exact, late = (align(spikes("ab ca", p, 40), "ab ca", VOCAB, 0.03) for p in (places, places + delay))
    corrected = Timing(0.03 * delay).correct(late, 1.2)
    assert times_of(exact.words) == [(word.start, word.end) for word in corrected.words]


@given(
    st.lists(st.integers(0, 3), min_size=2, max_size=40),
    st.floats(-0.5, 0.5),
    st.floats(0, 0.5),
    st.integers(0, 10),
    st.booleans(),
)
def test_times_stay_in_order_and_in_the_recording(steps, shift, extend, rest, has_gaps):
    edges = (0.03 * np.cumsum(steps)).tolist()
    spans = [span for span in zip(edges[::2], edges[1::2], strict=False) if span[0] < span[1]]
    duration = edges[-1] + 0.03 * rest
    gaps = [Gap(*span, "", "a") for span in spans[1::3]] if has_gaps else []
    words = words_of(*(span for i, span in enumerate(spans) if not has_gaps or i % 3 != 1))
    found = Timing(shift, extend).correct(Alignment(words, 0.0, None, [], words, gaps), duration)
    items = sorted([*found.words, *found.gaps], key=lambda item: item.start)
    names = [getattr(item, "word", "gap") for item in items]
    before = sorted([*words, *gaps], key=lambda item: item.start)
    assert names == [getattr(item, "word", "gap") for item in before]
    for item in items:
        assert -1e-9 <= item.start < item.end <= duration + 1e-9
    for item, following in pairwise(items):
        assert item.end <= following.start + 1e-9


def test_gaps_without_a_length_may_be_anywhere():
    log_probs = spikes("a b", [3, 6, 9], 20)
    costs = GapCosts(0.5, 0.1)
    plain = align(log_probs, "a c b", VOCAB, 0.02, costs)
    found = Timing(0.02, 0.1).correct(plain, 0.4)
    assert [gap.text for gap in found.gaps] == ["c"]
    assert found.words[0].end <= found.gaps[0].start <= found.gaps[0].end <= found.words[1].start


def test_an_empty_text_has_nothing_to_correct():
    empty = Alignment([], 0.0, 0.0, [], [], [])
    assert Timing(0.1, 0.1).correct(empty, 1.0) == empty
    assert Timing(0.1, 0.1).correct(empty, 0.0) == empty
