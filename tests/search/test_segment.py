"""Cuts at pauses: cases known by construction, and dynamic programming against all ways of cutting."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ds2cli.config.segment import SegmentConfig
from ds2cli.errors import BadUtterance, UsageError
from ds2cli.search.segment import TOO_LONG, TOO_SHORT, Segment, cut, pause_cost, segment_cost


def configured(**values):
    return SegmentConfig(**{"padding": 0.2, **values})


def speak(*lengths, start=0):
    """Words and the pauses between them (ms), in turn, as (start, end) of the words."""
    words, at = [], start
    for word, pause in zip(lengths[::2], [*lengths[1::2], 0], strict=True):
        words.append((at, at + word))
        at += word + pause
    return words


def sentences(*seconds, pause=600):
    """Sentences of these lengths: words of 400 ms with pauses of 100 ms, and longer pauses between sentences."""
    lengths = [part for n in seconds for part in [400, 100] * (2 * n - 1) + [500, pause]]
    return speak(*lengths[:-1])


def test_a_long_recording_is_cut_into_segments_of_about_the_mean():
    words = sentences(*[3] * 40, pause=500)
    segments = cut(words, [], words[-1][1], configured())
    assert {(s.end - s.start) for s in segments if s.first > 0 and s.last < len(words)} == {2 * 3000 + 500 + 2 * 200}
    assert [s.last for s in segments[:-1]] == [s.first for s in segments[1:]]
    assert len(segments) == 20 and not any(s.reason for s in segments)


def test_among_equal_lengths_the_longest_pause_is_cut():
    assert [s.first for s in cut(speak(6500, 900, 100, 400, 6500), [], 14400, configured())] == [0, 1]
    assert [s.first for s in cut(speak(6500, 400, 100, 900, 6500), [], 14400, configured())] == [0, 2]


def test_padding_takes_at_most_half_of_a_pause_and_ends_at_the_edges():
    config = configured(max_duration=7.0, padding=0.3, max_pause=5.0)
    words = speak(5000, 301, 5000, 1000, 5000, start=100)
    assert cut(words, [], 16500, config) == [
        Segment(0, 1, 0, 5250),
        Segment(1, 2, 5251, 10701),
        Segment(2, 3, 11101, 16500),
    ]


def test_short_pauses_and_overlapping_words_are_not_cut():
    config = configured(max_duration=8.0)
    words = speak(5000, 199, 5000)
    assert [s.reason for s in cut(words, [], 10199, config)] == [TOO_LONG]
    assert [s.reason for s in cut(speak(5000, 200, 5000), [], 10200, config)] == ["", ""]
    config = configured(max_duration=8.0, min_pause=0.0)
    assert [s.last for s in cut([(0, 5000), (5000, 7000), (6000, 9000)], [], 9000, config)] == [1, 3]
    assert [s.reason for s in cut([(0, 5000), (4999, 9000)], [], 9000, config)] == [TOO_LONG]


def test_a_pause_beyond_the_longest_is_always_cut():
    words = speak(2000, 2001, 2000)
    assert cut(words, [], 6001, configured()) == [Segment(0, 1, 0, 2200), Segment(1, 2, 3801, 6001)]
    assert len(cut(speak(2000, 2000, 2000), [], 6000, configured())) == 1


def test_what_cannot_be_kept_is_named():
    config = configured(min_duration=1.0, mean_duration=4.0, max_duration=5.0)
    words = speak(300, 3000, 6000, 400, 2000, 3000, 100)
    assert cut(words, [], 15000, config) == [
        Segment(0, 1, 0, 500, TOO_SHORT),
        Segment(1, 2, 3100, 9500, TOO_LONG),
        Segment(2, 3, 9500, 11900),
        Segment(3, 4, 14500, 15000, TOO_SHORT),
    ]


def test_a_short_piece_joins_the_next_one_rather_than_being_dropped():
    config = configured(min_duration=1.0)
    segments = cut(speak(300, 1900, 7000), [], 9200, config)
    assert segments == [Segment(0, 2, 0, 9200)]
    segments = cut(speak(6700, 400, 300, 400, 11000), [], 18800, config)
    assert segments == [Segment(0, 2, 0, 7600), Segment(2, 3, 7600, 18800)]


def test_a_gap_ends_a_segment_and_limits_its_padding():
    words = speak(1000, 500, 1000, 20, 1000, 0, 1000)
    gaps = [(1050, 1490), (2515, 2515), (3520, 3520)]
    assert cut(words, gaps, 4520, configured()) == [
        Segment(0, 1, 0, 1050),
        Segment(1, 2, 1490, 2515),
        Segment(2, 3, 2515, 3520),
        Segment(3, 4, 3520, 4520),
    ]


def test_gaps_at_the_edges_and_several_between_two_words():
    words = speak(1000, 3000, 1000, start=500)
    gaps = [(3000, 4000), (0, 450), (5600, 9000), (1600, 1700)]
    assert cut(words, gaps, 9000, configured()) == [Segment(0, 1, 450, 1600), Segment(1, 2, 4300, 5600)]


@pytest.mark.parametrize("gap", [(200, 800), (0, 2000), (500, 500), (900, 3000), (1100, 1900), (1000, 2000)])
def test_a_gap_with_a_word_in_it_is_refused(gap):
    words = [(0, 1000), (1200, 1800), (1900, 2600)]
    with pytest.raises(BadUtterance, match="words-in-gap: a word lasts from"):
        cut(words, [gap], 3000, configured())


def test_a_gap_may_overlap_the_edges_of_words():
    words = [(0, 1000), (2000, 3000)]
    assert cut(words, [(950, 2100)], 3000, configured()) == [Segment(0, 1, 0, 1000), Segment(1, 2, 2000, 3000)]


def test_no_words():
    assert cut([], [], 0, configured()) == []
    assert cut([], [(0, 5000)], 5000, configured()) == []


def test_one_word():
    assert cut([(400, 900)], [], 10000, configured()) == [Segment(0, 1, 200, 1100)]
    assert cut([(400, 30000)], [], 40000, configured()) == [Segment(0, 1, 200, 30200, TOO_LONG)]
    config = configured(min_duration=0.0, padding=0.0)
    assert cut([(400, 400)], [], 1000, config) == [Segment(0, 1, 400, 400, TOO_SHORT)]
    assert cut([(400, 401)], [], 1000, config) == [Segment(0, 1, 400, 401)]


def test_equal_times():
    config = configured(min_pause=0.0, padding=0.0)
    segments = cut([(1000, 1000)] * 3 + [(1000, 2000)], [], 2000, config)
    assert segments == [Segment(0, 4, 1000, 2000)]


def test_costs():
    config = configured()
    assert segment_cost(7000, 0.0, config) == 0
    assert segment_cost(14000, 0.5, config) == pytest.approx(1.25)
    assert [round(pause_cost(ms), 2) for ms in (0, 300, 700, 2000)] == [0.7, 0.2, 0.0, -0.17]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mean_duration": 25.0}, "--mean-duration 25: expected a length from --min-duration 0.5 to --max-duration 20"),
        ({"min_duration": 8.0}, "--mean-duration 7: expected a length from --min-duration 8"),
        ({"min_pause": 3.0}, "--min-pause 3: expected at most --max-pause 2"),
    ],
)
def test_settings_that_contradict_each_other(values, message):
    with pytest.raises(UsageError, match=message):
        SegmentConfig(**values).check()


@st.composite
def recordings(draw):
    """Words in order with short and long pauses, gaps between some of them, and settings for which much can happen."""
    words, gaps, at = [], [], draw(st.sampled_from([0, 0, 150, 700]))
    for _ in range(draw(st.integers(1, 9))):
        length = draw(st.sampled_from([0, 1, 50, 300, 301, 900, 2500]))
        words.append((at, at + length))
        pause = draw(st.sampled_from([0, 0, 1, 99, 100, 101, 333, 500, 1500]))
        at += length + pause
        if draw(st.integers(0, 5)) == 0:
            first = at - pause + draw(st.integers(0, pause))
            gaps.append((first, draw(st.integers(first, at))))
    bounds = sorted(draw(st.tuples(*[st.sampled_from([0.1, 0.3, 0.8, 1.0, 2.0, 2.7, 4.0])] * 3)))
    config = configured(
        min_duration=draw(st.sampled_from([0.0, bounds[0]])),
        mean_duration=bounds[1],
        max_duration=bounds[2],
        min_pause=draw(st.sampled_from([0.0, 0.1, 0.4])),
        max_pause=draw(st.sampled_from([0.4, 1.0, 9.0])),
        padding=draw(st.sampled_from([0.0, 0.03, 0.2, 1.0])),
    )
    return words, gaps, max(at, words[-1][1]), config


def gaps_before(i, words, gaps):
    """The gaps between the words i - 1 and i."""
    return [gap for gap in gaps if sum(word_middle < sum(gap) for word_middle in map(sum, words)) == i]


def span_ref(first, last, words, gaps, duration, config):
    """Start and end of the segment of the words first … last - 1, padding included."""
    start, end, padding = words[first][0], words[last - 1][1], round(1000 * config.padding)
    if found := gaps_before(first, words, gaps):
        low = max(gap_end for _, gap_end in found)
    else:
        low = start - (start - words[first - 1][1]) // 2 if first else 0
    if found := gaps_before(last, words, gaps):
        high = min(gap_start for gap_start, _ in found)
    else:
        high = end + (words[last][0] - end) // 2 if last < len(words) else duration
    return max(start - padding, low), min(end + padding, high)


def cost_ref(segment, words, gaps, duration, config):
    """Cost of a segment that is kept; cuts at gaps and at the longest pauses cost nothing."""
    first, last = segment
    cuts = 0.0
    for i in (first, last):
        if 0 < i < len(words) and not gaps_before(i, words, gaps):
            pause = words[i][0] - words[i - 1][1]
            cuts += pause_cost(pause) if pause <= 1000 * config.max_pause else 0
    start, end = span_ref(first, last, words, gaps, duration, config)
    return ((end - start) / 1000 / config.mean_duration - 1) ** 2 + cuts / 2


def is_within(segment, words, gaps, duration, config):
    start, end = span_ref(*segment, words, gaps, duration, config)
    return max(1, 1000 * config.min_duration) <= end - start <= 1000 * config.max_duration


def places_ref(words, gaps, config):
    """Indexes of words before which a segment may end, and those before which it has to."""
    pauses = {i: words[i][0] - words[i - 1][1] for i in range(1, len(words))}
    must = {i for i, p in pauses.items() if p > 1000 * config.max_pause or gaps_before(i, words, gaps)}
    return {i for i, p in pauses.items() if p >= 1000 * config.min_pause} - must, must


def cut_ref(words, gaps, duration, config):
    """The fewest words that can be lost and the least cost then, from all sets of cuts."""
    may, must = places_ref(words, gaps, config)
    results = []
    for chosen in itertools.chain.from_iterable(itertools.combinations(sorted(may), k) for k in range(len(may) + 1)):
        parts = list(itertools.pairwise(sorted({0, *must, *chosen, len(words)})))
        kept = [part for part in parts if is_within(part, words, gaps, duration, config)]
        lost = len(words) - sum(last - first for first, last in kept)
        results.append((lost, sum(cost_ref(part, words, gaps, duration, config) for part in kept)))
    fewest = min(lost for lost, _ in results)
    return fewest, min(cost for lost, cost in results if lost == fewest)


@settings(deadline=None, max_examples=400)
@given(recordings())
def test_the_best_of_all_ways_to_cut(recording):
    words, gaps, duration, config = recording
    segments = cut(*recording)
    kept = [(s.first, s.last) for s in segments if not s.reason]
    lost, cost = cut_ref(*recording)
    assert sum(s.last - s.first for s in segments if s.reason) == lost
    assert sum(cost_ref(part, words, gaps, duration, config) for part in kept) == pytest.approx(cost, abs=1e-9)


@settings(deadline=None, max_examples=400)
@given(recordings())
def test_every_segment_is_what_it_should_be(recording):
    words, gaps, duration, config = recording
    segments = cut(*recording)
    assert [s.first for s in segments] == [0, *(s.last for s in segments[:-1])]
    assert segments[-1].last == len(words)
    may, must = places_ref(words, gaps, config)
    assert must <= {s.first for s in segments} <= may | must | {0}
    for s in segments:
        assert (s.start, s.end) == span_ref(s.first, s.last, words, gaps, duration, config)
        assert s.first < s.last and 0 <= s.start <= words[s.first][0] <= words[s.last - 1][1] <= s.end <= duration
        assert not any(s.start < gap_end and gap_start < s.end for gap_start, gap_end in gaps)
        if s.reason == TOO_LONG:
            assert s.end - s.start > 1000 * config.max_duration and not any(s.first < i < s.last for i in may)
        elif s.reason:
            assert s.end - s.start < max(1, 1000 * config.min_duration)
        else:
            assert is_within((s.first, s.last), words, gaps, duration, config)
    assert all(a.end <= b.start for a, b in itertools.pairwise(segments))
    assert cut(words, gaps[::-1], duration, config) == segments


def test_four_hours_take_a_moment():
    """Each pause is a candidate, of which 20 s have many."""
    words = speak(*[150, 50] * 72_000, 150)
    segments = cut(words, [], words[-1][1], configured(min_pause=0.0))
    # all cuts cost more than the usual one, so fewer are made
    assert {round((s.end - s.start) / 1000) for s in segments} <= {7, 8, 9}
