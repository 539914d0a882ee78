"""Count what is in a manifest."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from ds2cli.drops import no_utterances
from ds2cli.manifest_lines import Line

FIELDS = ("speaker", "text")
"""The fields that `stats` asks for."""

BATCH = 4096
"""Texts that are counted at a time."""


def stats(lines: Iterable[Line], name: str = "IN") -> dict[str, Any]:
    """Counts of a manifest: utterances, hours, durations (s), speakers, words, characters, characters per second.

    lines: with the values of `FIELDS`.  DataError if there are none.
    """
    seconds, speakers, texts = array("d"), set[Any](), _TextCounts()
    for line in lines:
        seconds.append(0.0 if math.isnan(line.duration) else line.duration)
        speaker, text = line.values
        speakers.add(speaker)
        if text:
            texts.add(text)
    texts.count()
    if not seconds:
        raise no_utterances(name)
    durations = np.frombuffer(seconds, np.float64)
    durations.sort()
    total = sum(seconds)

    def quantile(q: float) -> float:
        return float(durations[min(len(durations) - 1, int(q * len(durations)))])

    characters = int(texts.characters.sum())
    return {
        "utterances": len(durations),
        "hours": round(total / 3600, 3),
        "shortest": float(durations[0]),
        "median": quantile(0.5),
        "p95": quantile(0.95),
        "longest": float(durations[-1]),
        "speakers": len(speakers - {None}),
        "words": texts.words.total(),
        "distinct_words": len(texts.words),
        "characters": characters,
        "characters_per_second": round(characters / total, 1) if total else 0.0,
        "alphabet": "".join(map(chr, texts.characters.nonzero()[0])),
    }


class _TextCounts:
    """Words and characters of texts, counted many at a time. characters: by their code points."""

    def __init__(self) -> None:
        self.words, self.characters = Counter[str](), np.zeros(0, np.int64)
        self._texts: list[str] = []

    def add(self, text: str) -> None:
        """Add one text."""
        self._texts.append(text)
        if len(self._texts) == BATCH:
            self.count()

    def count(self) -> None:
        """Count the texts that were added."""
        self.words.update(" ".join(self._texts).split())
        points = np.frombuffer("".join(self._texts).encode("utf-32-le"), np.uint32)
        counts = np.bincount(points, minlength=len(self.characters))
        counts[: len(self.characters)] += self.characters
        self.characters = counts
        self._texts.clear()
