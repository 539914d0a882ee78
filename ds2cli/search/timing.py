"""Correct the systematic error of word times: CTC networks emit the symbols of a word late."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ds2cli.search.align import Alignment, Word

EDGE_SLOPE = 0.1
"""Times that the shift would move out of the recording keep this share of their distance to its edge, so that they stay
in order."""

Span = tuple[float, float]


@dataclass(frozen=True)
class Timing:
    """shift_s: subtracted from all times.  extend_s: words and symbols also end this much later (s).

    What is extended ends no later than the next word, symbol or gap begins.
    """

    shift_s: float = 0.0
    extend_s: float = 0.0

    def correct(self, alignment: Alignment, duration_s: float) -> Alignment:
        """The alignment of a recording of this duration with corrected times of words, symbols and gaps.

        Times stay in the recording and in order; no word is empty that was not.
        """
        if not self.shift_s and not self.extend_s:
            return alignment
        gaps = [(gap.start, gap.end) for gap in alignment.gaps]
        unspelled = [(word.start, word.end) for word in alignment.words if word.conf is None]
        return replace(
            alignment,
            words=self.correct_words(alignment.words, duration_s, gaps),
            chars=self.correct_words(alignment.chars, duration_s, sorted([*gaps, *unspelled])),
            gaps=[
                replace(gap, start=self._move(gap.start, duration_s), end=self._move(gap.end, duration_s))
                for gap in alignment.gaps
            ],
        )

    def correct_words(self, words: Sequence[Word], duration_s: float, others: Sequence[Span] = ()) -> list[Word]:
        """The words, which are in order, with corrected times.  others: start and end of what lies between them."""
        starts = sorted([*(word.start for word in words), *(start for start, _ in others), duration_s])
        corrected = []
        for word in words:
            # the next start; a word never ends before its own end
            after = starts[min(bisect.bisect_left(starts, word.end), len(starts) - 1)]
            end = max(word.end, min(word.end + self.extend_s, after))
            start, end = self._move(word.start, duration_s), self._move(end, duration_s)
            corrected.append(replace(word, start=start, end=end))
        return corrected

    def _move(self, time: float, duration_s: float) -> float:
        """A time without the shift: in the recording, and later than every earlier one."""
        earlier = time - self.shift_s
        if self.shift_s > 0:
            return max(earlier, EDGE_SLOPE * time)
        return min(earlier, duration_s - EDGE_SLOPE * (duration_s - time))
