"""Cut an aligned recording into segments at pauses (Deep Speech 2, section 5.1). Times are whole milliseconds.

The paper cuts at every run of blanks longer than a threshold, in English only if a space lies in the run, and tunes the
threshold until the mean length is 7 s. Such a run is the pause between two adjacent words. Here every pause of
`min_pause` is a candidate, and dynamic programming chooses among them for the lengths that result: it keeps as many
words as possible in segments within the bounds, and among those choices takes segments whose lengths are close to
`mean_duration` and whose cuts lie in long pauses. What the paper tunes is thus a setting, and long segments, which a
threshold leaves wherever a speaker pauses little, are cut at the best of their short pauses.

A stretch is a part of the recording that may be one segment as far as pauses are concerned: no gap of the alignment and
no pause longer than `max_pause` lies in it. A piece is what lies between two adjacent candidates of a stretch.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ds2cli.config.segment import SegmentConfig
from ds2cli.errors import BadUtterance

Span = tuple[int, int]
"""Start and end (ms)."""

TOO_LONG, TOO_SHORT = "longer-than-max-duration", "shorter-than-min-duration"
"""Why a part of a recording is in no segment."""

_HALF_PAUSE_MS = 300.0
"""The pause at which the cost of a cut is half of that of a cut without any pause."""

_USUAL_CUT = 0.3
"""Cost of a cut in a pause of 0.7 s. It is subtracted, since cuts that cost something make segments longer than the
mean to aim for: where all pauses last 50 ms, for example, by 25 % now, else by 36 %."""


class Segment(NamedTuple):
    """Words first … last - 1 and the part of the recording from `start` to `end` (ms), padding included.

    reason: why it is dropped: TOO_LONG (no pause to cut at) or TOO_SHORT; "" if it is kept.
    """

    first: int
    last: int
    start: int
    end: int
    reason: str = ""


@dataclass(frozen=True)
class _Cut:
    """A place between words where a segment may end, or has to.

    word: the first one after it.  end: of a segment that ends here.  start: of one that starts here.
    cost: of ending or starting a segment here; 0 where it has to.
    """

    word: int
    end: int
    start: int
    cost: float
    is_forced: bool


def cut(words: Sequence[Span], gaps: Sequence[Span], duration: int, config: SegmentConfig) -> list[Segment]:
    """Cut the words of a recording into segments, kept or dropped, in order: every word is in exactly one.

    words: neither their starts nor their ends decrease.  gaps: spans of the recording that do not align, in any order.
    No segment contains a gap.  duration: of the recording.  All times are from 0 to `duration`.
    O(words x candidates within max_duration) time.  BadUtterance "words-in-gap" if a gap is not between two words.
    """
    segments: list[Segment] = []
    stretch: list[_Cut] = []
    for place in _find_cuts(words, gaps, duration, config):
        stretch.append(place)
        if place.is_forced and len(stretch) > 1:
            segments += _cut_stretch(stretch, config)
            stretch = [place]
    return segments


def segment_cost(duration: int, cuts: float, config: SegmentConfig) -> float:
    """The cost of a segment: its squared relative deviation from the mean to aim for, and half of that of its cuts.

    For a recording of a given length, the sum of the first part is least for equal segments of exactly that mean.
    """
    deviation = duration / (1000 * config.mean_duration) - 1
    return deviation * deviation + cuts / 2


def pause_cost(pause: int) -> float:
    """The cost of a cut in a pause (ms): 0.7 without any pause, 0.2 for 0.3 s, 0 for 0.7 s, -0.17 for 2 s."""
    return _HALF_PAUSE_MS / (_HALF_PAUSE_MS + pause) - _USUAL_CUT


def _find_cuts(words: Sequence[Span], gaps: Sequence[Span], duration: int, config: SegmentConfig) -> list[_Cut]:
    """The candidates, in order; the first is before the first word, the last after the last one."""
    padding = round(1000 * config.padding)
    shortest, longest = round(1000 * config.min_pause), round(1000 * config.max_pause)
    gaps_before = _place_gaps(words, gaps)
    cuts = []
    for i in range(len(words) + 1 if words else 0):
        before = words[i - 1][1] if i > 0 else 0
        after = words[i][0] if i < len(words) else duration
        if i in gaps_before:
            # the padding ends at the gap; a gap that overlaps the words next to it begins and ends with them
            gap_start, gap_end = gaps_before[i]
            end_edge, start_edge, is_forced = max(before, min(after, gap_start)), min(after, max(before, gap_end)), True
        elif 0 < i < len(words):
            pause = after - before
            if pause < shortest:
                continue
            end_edge, start_edge, is_forced = before + pause // 2, after - pause // 2, pause > longest
        else:
            end_edge, start_edge, is_forced = duration, 0, True
        end = min(before + padding, end_edge) if i > 0 else 0
        start = max(after - padding, start_edge) if i < len(words) else duration
        cuts.append(_Cut(i, end, start, 0.0 if is_forced else pause_cost(after - before), is_forced))
    return cuts


def _place_gaps(words: Sequence[Span], gaps: Sequence[Span]) -> dict[int, Span]:
    """The span of the gaps before each word that has any, by the index of the word; len(words) after the last one."""
    # doubled, so that they are whole numbers
    middles = [start + end for start, end in words]
    placed: dict[int, Span] = {}
    for begin, end in sorted(gaps):
        i = bisect_left(middles, begin + end)
        for start, stop in words[max(0, i - 1) : i + 1]:
            if 2 * start < begin + end < 2 * stop or 2 * begin < start + stop < 2 * end:
                detail = f"a word lasts from {start / 1000:g} to {stop / 1000:g} s, a gap from {begin / 1000:g} to "
                raise BadUtterance("words-in-gap", f"{detail}{end / 1000:g} s")
        first, last = placed.get(i, (begin, end))
        placed[i] = min(first, begin), max(last, end)
    return placed


def _cut_stretch(cuts: Sequence[_Cut], config: SegmentConfig) -> list[Segment]:
    """Cut a stretch, given its candidates with both ends, into segments, kept or dropped."""
    shortest, longest = max(1, round(1000 * config.min_duration)), round(1000 * config.max_duration)
    # best[j]: the words lost and the cost of the best segmentation up to candidate j, the candidate at which its last
    # segment starts, and why that is dropped
    best: list[tuple[int, float, int, str]] = [(0, 0.0, 0, "")]
    for j in range(1, len(cuts)):
        right = cuts[j]
        lost, cost, *_ = best[j - 1]
        reason = TOO_LONG if right.end - cuts[j - 1].start > longest else TOO_SHORT
        choice = (lost + right.word - cuts[j - 1].word, cost, j - 1, reason)
        for i in range(j - 1, -1, -1):
            left = cuts[i]
            duration = right.end - left.start
            if duration > longest:
                break
            if duration >= shortest:
                lost, cost = best[i][0], best[i][1] + segment_cost(duration, left.cost + right.cost, config)
                if (lost, cost) < choice[:2]:
                    choice = (lost, cost, i, "")
        best.append(choice)
    segments = []
    j = len(cuts) - 1
    while j:
        _, _, i, reason = best[j]
        segments.append(Segment(cuts[i].word, cuts[j].word, cuts[i].start, cuts[j].end, reason))
        j = i
    return segments[::-1]
