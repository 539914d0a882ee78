"""A pool of recordings to draw from: noise, room impulse responses. Notation: N samples, M samples of a response.

No file is kept open, and only a few impulse responses are cached: reading a second of noise again takes 0.2 ms. A pool
can therefore be shared by threads and sent to other processes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ds2cli.audio.read import probe, read
from ds2cli.audio.recording import Recording, parse_recording
from ds2cli.audio.resample import resample
from ds2cli.audio.source import read_head
from ds2cli.errors import BadUtterance, DataError

Samples = NDArray[np.float32]

MAX_RESPONSE_S = 10.0
"""Longer impulse responses are cut (s)."""

CACHED_RESPONSES = 64
"""Impulse responses kept in memory: 40 MB of the longest at 16 kHz."""


@dataclass(frozen=True)
class RecordingPool:
    """Recordings of known length. failures: path of each recording that could not be used -> what is wrong with it.

    A copy in another process has its own `failures` and adds to those.
    """

    recordings: tuple[Recording, ...]
    failures: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        """Number of recordings to draw from."""
        return len(self.recordings)

    def read_excerpt(self, index: int, position: float, num_samples: int, rate: int) -> Samples | None:
        """An excerpt of recording number `index` at `rate` Hz: samples (N,), N <= num_samples, its channels averaged.

        position: 0 (the first possible start) to 1 (the last). A recording that is too short is read whole.
        None, and an entry in `failures`, when it cannot be read.
        """
        recording = self.recordings[index]
        assert recording.duration_s is not None
        # one more sample than needed, as both ends are rounded
        wanted = (num_samples + 1) / rate
        start, length = 0.0, recording.duration_s
        if wanted < length:
            start, length = position * (length - wanted), wanted
        try:
            begin = (recording.offset_s or 0.0) + start
            samples, file_rate = read(recording.path, channel=recording.channel, offset_s=begin, duration_s=length)
        except BadUtterance as e:
            self.failures.setdefault(recording.path, str(e))
            return None
        return resample(samples, file_rate, rate)[:num_samples]

    def read_response(self, index: int, rate: int) -> Samples | None:
        """Impulse response number `index` (M,) at `rate` Hz, its first channel.

        None, and an entry in `failures`, when it cannot be read.
        """
        recording = self.recordings[index]
        try:
            return _read_response(recording, rate)
        except BadUtterance as e:
            self.failures.setdefault(recording.path, str(e))
            return None


def open_pool(rows: Iterable[Mapping[str, Any]], name: str) -> RecordingPool:
    """The recordings of manifest rows as a pool; missing and broken ones are left out and listed in `failures`.

    name: of the manifest, for the error message. DataError when none can be used.
    """
    recordings, failures = [], {}
    for row in rows:
        recording = parse_recording(row)
        if recording is None:
            failures[str(row.get("id"))] = "no-audio-filepath: the row has no audio_filepath"
            continue
        try:
            # a speed-perturbed row stands for the same recording: it is drawn at its original speed
            recording = replace(recording, duration_s=recording.file_duration_s, speed=1.0)
            recordings.append(_with_duration(recording))
        except BadUtterance as e:
            failures[recording.path] = str(e)
    if not recordings and not failures:
        raise DataError(f"{name}: the manifest is empty, expected at least one recording")
    if not recordings:
        first = next(iter(failures.values()))
        raise DataError(f"{name}: none of {len(failures)} recordings can be used: {first}")
    return RecordingPool(tuple(recordings), failures)


def _with_duration(recording: Recording) -> Recording:
    """The recording with its duration, from its row or its header. BadUtterance "missing-audio", "no-samples", …."""
    if recording.duration_s is None:
        seconds = probe(recording.path, decode=False).duration_s - (recording.offset_s or 0.0)
        recording = replace(recording, duration_s=seconds)
    else:
        read_head(recording.path)
    if not recording.duration_s or recording.duration_s <= 0:
        raise BadUtterance("no-samples", f"{recording.path} has {recording.duration_s:g} s")
    return recording


@lru_cache(maxsize=CACHED_RESPONSES)
def _read_response(recording: Recording, rate: int) -> Samples:
    assert recording.duration_s is not None
    length = min(recording.duration_s, MAX_RESPONSE_S)
    # averaging several microphones would give the response of no real position
    samples, file_rate = read(
        recording.path, channel=recording.channel or 0, offset_s=recording.offset_s or 0.0, duration_s=length
    )
    response = resample(samples, file_rate, rate)
    if not response.any():
        raise BadUtterance("silent", f"{recording.path}: this impulse response is all zeros")
    response.flags.writeable = False
    return response
