"""Join what was found in the segments of a long recording to one row. Notation: T steps, V symbols."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ds2cli.config.decode import SearchConfig
from ds2cli.errors import BadUtterance
from ds2cli.manifest import Row
from ds2cli.search.confidence import LOWEST
from ds2cli.text.spacing import join_texts


class Segment(NamedTuple):
    """Log-probabilities (T, V) of a part of a recording between two pauses.

    offset: where it begins (s).  start, end: of the sound in it (s). All are seconds of the recording.
    """

    log_probs: NDArray[np.float32]
    offset: float
    start: float
    end: float


class Results:
    """Collects the fields of decoded segments, in order.

    source: the recording, for warnings.
    notify: gets the fields of each segment with a text, with times of the recording.
    """

    def __init__(
        self, source: str, config: SearchConfig, warn: Callable[[str], None], notify: Callable[[Row], None]
    ) -> None:
        self.source, self.config, self.warn, self.notify = source, config, warn, notify
        self.segments: list[dict[str, Any]] = []
        self.score, self.empty_logp = 0.0, 0.0
        self.words: list[dict[str, Any]] = []
        self.partials: list[dict[str, Any]] = []

    def add(self, segment: Segment, decoded: Future[Row]) -> None:
        """Wait for the result of the next segment; one that cannot be decoded is left out with a warning."""
        try:
            row = decoded.result()
        except BadUtterance as e:
            self.warn(f"{self.source}: {segment.start:.2f} to {segment.end:.2f} s left out: {e}")
            return
        self.score += row["pred_score"]
        fields: Row = {"start": round(segment.start, 3), "end": round(segment.end, 3), "text": row["pred_text"]}
        if "pred_words" in row:
            row["pred_words"] = [_shift(word, segment.offset) for word in row["pred_words"]]
            self.words += row["pred_words"]
            fields["conf"] = row["pred_conf"]
            self.empty_logp += math.log(row["pred_conf"])
        if "partials" in row:
            row["partials"] = [_shift(partial, segment.offset) for partial in row["partials"]]
            self.partials += row["partials"]
        if "nbest" in row:
            fields["nbest"] = row["nbest"]
        if row["pred_text"]:
            self.segments.append(fields)
            self.notify(row)

    def join(self, silence: float) -> Row:
        """`pred_text`, `pred_score`, `segments`, and with the settings `pred_words`, `pred_conf` and `partials`.

        silence: log-probability of what is in no segment (nats).
        """
        text = join_texts(segment["text"] for segment in self.segments)
        row: Row = {"pred_text": text, "pred_score": round(self.score + silence, 4), "segments": self.segments}
        if self.config.timestamps:
            confidences = [word["conf"] for word in self.words]
            assert self.config.confidence_scale is not None
            empty = math.exp(max(self.config.confidence_scale * silence + self.empty_logp, math.log(LOWEST)))
            row["pred_words"] = self.words
            row["pred_conf"] = round(sum(confidences) / len(confidences) if confidences else empty, 4)
        if self.config.partials is not None:
            row["partials"] = self.partials
        return row


def _shift(fields: dict[str, Any], offset: float) -> dict[str, Any]:
    """Fields of something with times that count from `offset` (s)."""
    return {**fields, **{name: round(fields[name] + offset, 3) for name in ("start", "end") if name in fields}}
