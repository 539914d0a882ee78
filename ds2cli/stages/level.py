"""Measure the levels of recordings."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from statistics import fmean, pstdev

from ds2cli import memory
from ds2cli.audio.level import mean_square
from ds2cli.audio.recording import parse_recording, read_samples
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance
from ds2cli.manifest import Row

RATE = 16000
"""Sample rate at which levels are measured (Hz)."""


def measure_levels(rows: Iterable[Row], ledger: Ledger) -> Iterator[float]:
    """The RMS level of each recording, or segment of one (dBFS).

    A recording that cannot be read, or is digital silence, is dropped.
    """
    for row in rows:
        try:
            level = memory.fit_utterance(partial(_measure, row), "the recording", memory.SHORTER)
        except BadUtterance as e:
            ledger.drop_error(row["id"], e)
            continue
        ledger.kept += 1
        yield level


def summarize(levels: Sequence[float]) -> dict[str, int | float]:
    """Number of utterances, and the lowest, mean and highest of at least one level (dBFS), with the deviation (dB)."""
    values = {
        "lowest": min(levels),
        "mean": fmean(levels),
        "highest": max(levels),
        "standard_deviation": pstdev(levels),
    }
    return {"utterances": len(levels), **{name: round(value, 1) for name, value in values.items()}}


def _measure(row: Row) -> float:
    recording = parse_recording(row)
    if recording is None:
        raise BadUtterance("no-audio-filepath", "the field 'audio_filepath' is missing")
    power = mean_square(read_samples(recording, RATE))
    if not power:
        raise BadUtterance("silence", "all samples are zero: it has no level")
    return 10 * math.log10(power)
