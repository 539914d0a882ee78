"""How much the partial results of a live stream change, and how late they are.

Measures of the literature: the unstable partial word ratio (Shangguan et al. 2020, arXiv 2006.01416), the edit overhead
and the time to the final decision on a word (Baumann, Atterer and Schlangen 2009, N09-1043). What was shown of an
utterance is a list of (time in s, text); the last one is the final result. A last word that only grows by letters,
such as "hel" to "hello", has not changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ds2cli.metrics.alignment import align_units

Shown = Sequence[tuple[float, str]]
"""Time (s) and text of each partial result of an utterance, and of the final one."""


@dataclass(frozen=True)
class Changes:
    """Sums over utterances; they add up.

    words: of the final results.  unstable: words shown that the next result changes or leaves out (aligned for the
    fewest errors).  added, revoked: edits at the end of the text that turn each result into the next one: words after
    the first difference are revoked and written again.  results: partial and final results.
    """

    words: int = 0
    unstable: int = 0
    added: int = 0
    revoked: int = 0
    results: int = 0

    @property
    def unstable_ratio(self) -> float | None:
        """Unstable partial word ratio: unstable words per word of the final results; None if there are none."""
        return self.unstable / self.words if self.words else None

    @property
    def unstable_share(self) -> float | None:
        """Share of the words shown that later change or vanish; None if none was shown."""
        shown = self.words + self.unstable
        return self.unstable / shown if shown else None

    @property
    def edit_overhead(self) -> float | None:
        """Share of the edits that were unnecessary: all but one for each word of the final results."""
        edits = self.added + self.revoked
        return (edits - self.words) / edits if edits else None

    def __add__(self, other: Changes) -> Changes:
        return Changes(
            self.words + other.words,
            self.unstable + other.unstable,
            self.added + other.added,
            self.revoked + other.revoked,
            self.results + other.results,
        )


def count_changes(utterances: Iterable[Shown]) -> Changes:
    """What changed in the results of utterances. Times are not looked at; an utterance without any result has none."""
    refs: list[list[str]] = []
    hyps: list[list[str]] = []
    words = added = revoked = results = 0
    for shown in utterances:
        texts = [text.split() for _, text in shown]
        results += len(texts)
        words += len(texts[-1]) if texts else 0
        for before, after in pairwise([[], *texts]):
            if before == after:
                continue
            grown = _grow(before, after)
            same = _shared(grown, after)
            added, revoked = added + len(after) - same, revoked + len(grown) - same
            if same < len(grown):
                refs.append(grown[same:])
                hyps.append(after[same:])
    unstable = 0
    if refs:
        counts = align_units(refs, hyps, "kaldi").counts
        # substitutions and deletions
        unstable = int(counts[:, 1].sum() + counts[:, 3].sum())
    return Changes(words, unstable, added, revoked, results)


class WordDelay(NamedTuple):
    """From the end of a word to the result that shows it (s): the first one, and the first one that shows it for good.

    Negative if the word was guessed before its end.
    """

    first_s: float
    final_s: float


def word_delays(shown: Shown, ends: Sequence[float | None]) -> list[WordDelay]:
    """The delay of each word of the final result, whose end is known.

    ends: the end of each word of the final result (s), None if it is not known. A word counts as shown by a result
    that has it, complete, as the word with the same number. ValueError if there are more or fewer ends than words.
    """
    times = [time for time, _ in shown]
    texts = [text.split() for _, text in shown]
    words = texts[-1] if texts else []
    if len(ends) != len(words):
        raise ValueError(f"expected the ends of {len(words)} words, got {len(ends)}")
    delays = []
    for i, (word, end) in enumerate(zip(words, ends, strict=True)):
        if end is None:
            continue
        shows = [text[i : i + 1] == [word] for text in texts]
        final = len(shows)
        while final and shows[final - 1]:
            final -= 1
        delays.append(WordDelay(times[shows.index(True)] - end, times[final] - end))
    return delays


class Quantiles(NamedTuple):
    """The median and the 95 % quantile of delays (ms)."""

    median_ms: float
    p95_ms: float


def summarize_delays(seconds: Sequence[float]) -> Quantiles | None:
    """The quantiles of delays (s), with linear interpolation; None if there are none."""
    if not len(seconds):
        return None
    median, p95 = np.percentile(np.array(seconds), [50, 95]).tolist()
    return Quantiles(1000 * median, 1000 * p95)


def _grow(before: list[str], after: list[str]) -> list[str]:
    """The words before, the last one as it is after, if it only got more letters."""
    last = len(before) - 1
    if last >= 0 and len(after) > last and after[last].startswith(before[last]):
        return [*before[:last], after[last]]
    return before


def _shared(a: list[str], b: list[str]) -> int:
    """The number of words before the first difference."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
