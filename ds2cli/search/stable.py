"""Which part of a partial result to show, so that what is shown seldom changes."""

from __future__ import annotations

from collections import deque

ROUNDING_S = 1e-6
"""Times are sums of durations."""


def complete_words(text: str) -> str:
    """The words of a partial result that another word follows: the last one may be incomplete."""
    return text.rpartition(" ")[0]


class LocalAgreement:
    """The beginning that the partial results of the last `span` seconds have in common, letter by letter.

    Local agreement (Liu, Spanakis and Niehues 2020, Interspeech), here of a time and not of a number of results, so
    that it means the same for chunks of any length. A longer time shows words later and takes fewer of them back; 0
    shows each result as it is. By letters, as a last word that gets more of them has not changed.
    """

    def __init__(self, span: float) -> None:
        self.span = span
        self._results: deque[tuple[float, str]] = deque()

    def advance(self, text: str, time: float) -> str:
        """What to show after one more partial result, at a time (s) in the stream; nothing within the first span."""
        results, begin = self._results, time - self.span + ROUNDING_S
        results.append((time, text))
        # the last result before the span was shown when it began
        while len(results) > 1 and results[1][0] <= begin:
            results.popleft()
        if results[0][0] > begin:
            return ""
        # what the first and the last in alphabetical order share, those between share too
        first, last = min(text for _, text in results), max(text for _, text in results)
        count = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
        return first[:count].rstrip()
