"""A store of recordings to draw from: noises, room impulse responses. Letters: N samples, M those of a response.

Nothing is kept open, and of what is read only a few impulse responses are: a stretch of noise takes 0.2 ms a second to
read again. So a bank can be used by several threads, and be sent to another process.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ds2cli.audio.read import probe, read
from ds2cli.audio.recording import Recording, recording
from ds2cli.audio.resample import resample
from ds2cli.errors import BadUtterance, DataError

Samples = NDArray[np.float32]

LONGEST_RESPONSE_S = 10.0
"""What comes later in an impulse response is left out."""

KEPT_RESPONSES = 64
"""Impulse responses in memory, 40 MB of the longest at 16 kHz."""


@dataclass(frozen=True)
class RecordingPool:
    """Recordings with their lengths, and in `failed` those that could not be used: path -> what was wrong.

    A copy of a bank in another process has a `failed` of its own, to which it adds.
    """

    recordings: tuple[Recording, ...]
    failed: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        """How many recordings can be drawn."""
        return len(self.recordings)

    def cut(self, index: int, at: float, num_samples: int, rate: int) -> Samples | None:
        """At most num_samples of a recording, all channels as one, from a random place, 0 <= at < 1; else all of it.

        Samples (N,) at `rate` Hz, N <= num_samples; None, and a note in `failed`, when it cannot be read.
        """
        of = self.recordings[index]
        assert of.duration_s is not None
        # a sample more, as ends are rounded
        wanted = (num_samples + 1) / rate
        start, length = (at * (of.duration_s - wanted), wanted) if wanted < of.duration_s else (0.0, of.duration_s)
        try:
            found, own_rate = read(of.path, offset_s=(of.offset_s or 0.0) + start, duration_s=length)
        except BadUtterance as e:
            self.failed.setdefault(of.path, str(e))
            return None
        return resample(found, own_rate, rate)[:num_samples]

    def response(self, index: int, rate: int) -> Samples | None:
        """An impulse response (M,), its first channel, at `rate` Hz; None, and a note, when it cannot be read."""
        of = self.recordings[index]
        try:
            return _response(of, rate)
        except BadUtterance as e:
            self.failed.setdefault(of.path, str(e))
            return None


def open_pool(rows: Iterable[Mapping[str, Any]], name: str) -> RecordingPool:
    """A bank of the rows' recordings; one that is not there is left out and noted in `failed`.

    name: of the manifest, for the message. DataError when not one can be used.
    """
    found, failed = [], {}
    for row in rows:
        of = recording(row)
        if of is None:
            failed[str(row.get("id"))] = "no-audio-filepath: the row has no audio_filepath"
            continue
        try:
            # another speed of a noise is no other noise
            found.append(_with_length(replace(of, duration_s=of.file_s, speed=1.0)))
        except BadUtterance as e:
            failed[of.path] = str(e)
    if not found:
        first = f": {next(iter(failed.values()))}" if failed else ""
        raise DataError(f"{name}: none of {len(failed)} recordings can be used{first}")
    return RecordingPool(tuple(found), failed)


def _with_length(of: Recording) -> Recording:
    """The recording, its length from its row or its header. BadUtterance "missing-audio", "no-samples", …."""
    if of.duration_s is None:
        seconds = probe(of.path, decode=False).duration_s - (of.offset_s or 0.0)
        of = replace(of, duration_s=seconds)
    elif not Path(of.path).is_file():
        raise BadUtterance("missing-audio", f"no file {of.path}")
    if not of.duration_s or of.duration_s <= 0:
        raise BadUtterance("no-samples", f"{of.path} has {of.duration_s:g} s")
    return of


@lru_cache(maxsize=KEPT_RESPONSES)
def _response(of: Recording, rate: int) -> Samples:
    assert of.duration_s is not None
    length = min(of.duration_s, LONGEST_RESPONSE_S)
    # the mean of several microphones would be no room at all
    found, own_rate = read(of.path, channel=0, offset_s=of.offset_s or 0.0, duration_s=length)
    response = resample(found, own_rate, rate)
    if not response.any():
        raise BadUtterance("silent", f"{of.path} is an impulse response of zeros")
    response.flags.writeable = False
    return response
