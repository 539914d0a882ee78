"""Errors of word times at known joins, and their correction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from ds2cli.metrics.junctions import Edges, TimingErrors, cross_validate, describe, measure, median_interval
from ds2cli.search.align import Word
from ds2cli.search.timing import Timing


def words_at(*spans):
    return [Word("a", start, end, 1.0) for start, end in spans]


@dataclass
class Recording:
    """Words that begin late and end early."""

    clips: list
    words: list

    def errors(self, timing):
        return TimingErrors.measure(timing.correct_words(self.words, 1000.0), self.clips)


def recording(starts, ends):
    clips = [Edges(i + 0.1, i + 0.7, 1) for i in range(len(starts))]
    words = words_at(*((c.start + s, c.end + e) for c, s, e in zip(clips, starts, ends, strict=True)))
    return Recording(clips, words)


def test_errors_are_those_of_the_first_and_last_word_of_each_clip():
    clips = [Edges(0.5, 1.5, 2), Edges(1.8, 2.0, 1), Edges(2.3, 4.0, 3)]
    words = words_at((0.6, 0.9), (1.0, 1.4), (1.8, 2.1), (2.2, 2.5), (2.6, 2.7), (3.0, 4.1))
    found = TimingErrors.measure(words, clips)
    assert found.starts == pytest.approx([0.1, 0.0, -0.1])
    assert found.ends == pytest.approx([-0.1, 0.1, 0.1])
    # the middle of the pause: (1.4 + 1.8) / 2 - (1.5 + 1.8) / 2, ...
    assert found.joins == pytest.approx([-0.05, 0.0])
    assert np.isnan(found.middles[2])
    with pytest.raises(ValueError, match="5 words, expected 6"):
        TimingErrors.measure(words[:5], clips)


def test_the_share_of_joins_that_are_found():
    errors = TimingErrors(np.zeros(5), np.zeros(5), np.array([0.0, 0.09, -0.29, 0.31, np.nan]))
    assert (errors.share_found(), errors.share_found(0.1)) == (0.75, 0.5)
    assert np.isnan(TimingErrors(*np.full((3, 1), np.nan)).share_found())


def test_the_shift_is_the_median_of_the_starts_and_ends_follow_as_far_as_is_sure():
    starts = np.linspace(0.03, 0.05, 101)
    certain = TimingErrors(starts, np.full(101, -0.1), np.full(101, np.nan)).estimate()
    assert (certain.shift_s, certain.extend_s) == (pytest.approx(0.04), pytest.approx(0.14))
    # the median of the ends is 0 or not: then they stay where they are
    unsure = TimingErrors(starts, np.linspace(-0.3, 0.28, 101), np.full(101, np.nan)).estimate()
    assert (unsure.shift_s, unsure.extend_s) == (pytest.approx(0.04), pytest.approx(0.04))
    # ends that are even later than the starts are only shifted
    late = TimingErrors(starts, np.full(101, 0.2), np.full(101, np.nan)).estimate()
    assert (late.shift_s, late.extend_s) == (pytest.approx(0.04), 0.0)


@pytest.mark.parametrize("n", [1, 2, 5, 50, 400])
def test_the_interval_of_the_median_covers_it_as_often_as_it_says(n):
    rng = np.random.default_rng(n)
    intervals = [median_interval(rng.exponential(size=n)) for _ in range(500)]
    covered = np.mean([low <= np.log(2) <= high for low, high in intervals])
    assert (n < 3) or 0.92 <= covered <= 1.0
    assert all(low <= high for low, high in intervals)


def test_the_correction_removes_a_known_error():
    found = recording(np.full(20, 0.06), np.full(20, -0.02))
    timing = measure([found]).estimate()
    assert (timing.shift_s, timing.extend_s) == (pytest.approx(0.06), pytest.approx(0.08))
    corrected = measure([found], timing)
    assert corrected.starts == pytest.approx(np.zeros(20), abs=1e-9)
    assert corrected.ends == pytest.approx(np.zeros(20), abs=1e-9)


def test_each_half_is_corrected_by_what_the_other_one_shows():
    late, later = 0.02, 0.05
    starts = np.where(np.arange(40) % 2 == 0, late, later)
    found = [recording(starts[:21], starts[:21]), recording(starts[21:], starts[21:])]
    # the turns continue in the second recording
    corrected = cross_validate(found)
    assert corrected.starts == pytest.approx(starts - np.where(np.arange(40) % 2 == 0, later, late))
    assert len(corrected.joins) == 38


def test_spread_in_milliseconds():
    assert describe(np.array([-0.1, 0.0, 0.02])) == pytest.approx((0.0, 40.0, 92.0))


def test_without_a_correction_errors_are_as_measured():
    found = recording([0.01], [0.02])
    assert measure([found]).starts == pytest.approx([0.01])
    assert measure([found], Timing(0.01)).starts == pytest.approx([0.0], abs=1e-9)
