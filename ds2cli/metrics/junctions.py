"""Errors of word times in recordings that were joined from clips, whose edges are known. Notation: N clips."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ds2cli.search.align import Word
from ds2cli.search.timing import Timing

Errors = NDArray[np.float64]

FOUND_S = 0.3
"""A join is found if the middle of the pause is at most this far from the true one (s)."""

NEAR_S = 0.1
"""As FOUND_S, but stricter."""


class Edges(NamedTuple):
    """What is known of a clip in a recording: where its sound begins and ends (s), and how many words it has."""

    start: float
    end: float
    words: int


@dataclass(frozen=True)
class TimingErrors:
    """Found minus true times (s): of the starts and ends of clips (N,), and of the middles of the pauses after them.

    middles: NaN after the last clip of a recording.
    """

    starts: Errors
    ends: Errors
    middles: Errors

    @classmethod
    def measure(cls, words: Sequence[Word], clips: Sequence[Edges]) -> TimingErrors:
        """The errors of one recording.  words: all words of all clips, in order."""
        if len(words) != sum(clip.words for clip in clips):
            raise ValueError(f"{len(words)} words, expected {sum(clip.words for clip in clips)}")
        last = [*itertools.accumulate(clip.words for clip in clips)]
        starts = np.array([words[after - clip.words].start for clip, after in zip(clips, last, strict=True)])
        ends = np.array([words[after - 1].end for after in last])
        true_starts, true_ends = np.array([clip.start for clip in clips]), np.array([clip.end for clip in clips])
        middles = (ends[:-1] + starts[1:]) / 2 - (true_ends[:-1] + true_starts[1:]) / 2
        return cls(starts - true_starts, ends - true_ends, np.append(middles, np.nan))

    @classmethod
    def join(cls, parts: Sequence[TimingErrors]) -> TimingErrors:
        """The errors of several recordings."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("starts", "ends", "middles")))

    def select(self, chosen: NDArray[np.bool_]) -> TimingErrors:
        """Those of some of the clips.  chosen: (N,)."""
        return TimingErrors(self.starts[chosen], self.ends[chosen], self.middles[chosen])

    @property
    def joins(self) -> Errors:
        """The errors of the middles of all pauses."""
        return self.middles[~np.isnan(self.middles)]

    def share_found(self, within_s: float = FOUND_S) -> float:
        """The share of the joins that are found."""
        return float((np.abs(self.joins) <= within_s).mean()) if len(self.joins) else float("nan")

    def estimate(self) -> Timing:
        """The correction of these errors.

        Words begin late: the shift is the median of their starts. How late they end depends on their last sounds, and
        the median on which words there are; so ends are corrected as far as is sure: by that value of the 95 %
        confidence interval of their median that is nearest to 0. They only become later.
        """
        shift = float(np.median(self.starts))
        low, high = median_interval(self.ends)
        return Timing(shift, max(0.0, shift - min(max(0.0, low), high)))


def median_interval(values: Errors) -> tuple[float, float]:
    """The 95 % confidence interval of the median, by the binomial distribution of ranks: of any distribution."""
    ordered, half_width = np.sort(values), 0.98 * len(values) ** 0.5
    low = max(0, int(np.floor((len(values) - 1) / 2 - half_width)))
    return float(ordered[low]), float(ordered[len(values) - 1 - low])


class Measurable(Protocol):
    """An aligned recording, whose errors depend on the correction."""

    def errors(self, timing: Timing) -> TimingErrors:
        """The errors of its word times with this correction."""
        ...


def measure(recordings: Sequence[Measurable], timing: Timing = Timing()) -> TimingErrors:
    """The errors of all recordings with a correction."""
    return TimingErrors.join([recording.errors(timing) for recording in recordings])


def cross_validate(recordings: Sequence[Measurable]) -> TimingErrors:
    """The errors of each half of the clips with the correction that was estimated on the other half.

    Clips are halved by turns: their order is random.
    """
    raw = measure(recordings)
    halves = np.arange(len(raw.starts)) % 2 == 0
    corrected = measure(recordings, raw.select(~halves).estimate())
    other = measure(recordings, raw.select(halves).estimate())
    pairs = zip(
        (corrected.starts, corrected.ends, corrected.middles), (other.starts, other.ends, other.middles), strict=True
    )
    return TimingErrors(*(np.where(halves, mine, others) for mine, others in pairs))


class Spread(NamedTuple):
    """Of errors, in ms: their median, and of their absolute values the mean and the 95th percentile."""

    median: float
    mean_absolute: float
    largest: float


def describe(errors: Errors) -> Spread:
    """The spread of errors in seconds."""
    return Spread(
        *(1000 * float(x) for x in (np.median(errors), np.abs(errors).mean(), np.percentile(abs(errors), 95)))
    )
