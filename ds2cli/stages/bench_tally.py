"""What a load generator counts, and what that says."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

PERCENTILES = {"median": 50.0, "p95": 95.0, "p98": 98.0, "max": 100.0}


@dataclass
class Tally:
    """The counts of one run, all times in seconds.

    finals: from the last samples to the last final text.  firsts: from the first samples to the first partial text.
    lags: from the moment at which the last sound of a partial text was sent to the text.
    late: by how much samples were sent late: for want of CPU time of the generator, or as the server did not read.
    refused, closed: refusals by their code, and connections that ended early by the code of their close frame.
    texts: of each recording, how often each text came.  audio_s: in recordings that came to their end.
    """

    finals: list[float] = field(default_factory=list)
    firsts: list[float] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    closed: Counter[str] = field(default_factory=Counter)
    texts: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    audio_s: float = 0.0

    def restart(self) -> None:
        """Forget the times: what came until now was not yet the load to measure. Refusals and errors still count."""
        for times in (self.finals, self.firsts, self.lags, self.late):
            times.clear()
        self.audio_s = 0.0

    def end(self, name: str, text: str, seconds: float, audio_s: float) -> None:
        """A recording has come to its end, `seconds` after its last samples."""
        self.finals.append(seconds)
        self.texts[name][text] += 1
        self.audio_s += audio_s

    @property
    def different_texts(self) -> int:
        """How many recordings got another text than most of the same recording did."""
        return sum(counts.total() - max(counts.values()) for counts in self.texts.values())

    def summarize(self) -> dict[str, Any]:
        """The fields of a measurement that come from the generator; times in ms, None where there are none."""
        return {
            "ended": len(self.finals),
            "audio_s": round(self.audio_s, 1),
            "final_ms": milliseconds(self.finals),
            "first_partial_ms": milliseconds(self.firsts),
            "partial_lag_ms": milliseconds(self.lags),
            "late_ms": milliseconds(self.late),
            "refused": dict(self.refused),
            "closed": dict(self.closed),
            "different_texts": self.different_texts,
        }


def milliseconds(seconds: Sequence[float]) -> dict[str, float] | None:
    """Median, percentiles and maximum in ms."""
    if not seconds:
        return None
    values = np.percentile(np.asarray(seconds), list(PERCENTILES.values())) * 1e3
    return {name: round(float(value), 1) for name, value in zip(PERCENTILES, values, strict=True)}
