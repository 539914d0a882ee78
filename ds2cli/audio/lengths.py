"""How long the recordings of rows are: whole files, and segments of long ones. A long file is not decoded per segment.

libsndfile and FFmpeg begin to decode where a segment begins. But to find that place in an MP3 or AAC stream, which has
no index, FFmpeg reads all that is before it: of such a file, the length is found by decoding it once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from ds2cli.audio.codecs import check_channel
from ds2cli.audio.read import SPHERE_MAGIC, AudioInfo, count_channels, is_sndfile_format, probe, read
from ds2cli.audio.source import read_head
from ds2cli.audio.stream import open_blocks
from ds2cli.errors import BadUtterance

ENOUGH = 0.9
"""Share of its stated duration that a recording has to have."""

FILES_AT_A_TIME = 4096
"""Files that are remembered: the segments of a long recording are usually listed together."""


class Lengths:
    """The lengths of recordings. Safe to share between threads.

    decode: decode each recording, which finds truncated and broken ones; otherwise headers are trusted.
    """

    def __init__(self, *, decode: bool) -> None:
        self.decode = decode
        self._headers = lru_cache(FILES_AT_A_TIME)(lambda path: _Once(lambda: probe(path, decode=False)))
        self._decoded = lru_cache(FILES_AT_A_TIME)(lambda path: _Once(lambda: _measure(path)))

    def find(self, row: dict[str, Any]) -> tuple[float, int]:
        """The length of the recording of a row (s), and its sample rate (Hz).

        BadUtterance as of `read`, and "truncated-audio" for one that is shorter than its row states.
        """
        path = row["audio_filepath"]
        seconds, rate = self._find_segment(row) if "offset" in row else self._find_file(row)
        if seconds < ENOUGH * row.get("duration", 0.0):
            raise BadUtterance("truncated-audio", f"{path} has {seconds:.2f} s, expected {row['duration']:.2f} s")
        return seconds, rate

    def _find_file(self, row: dict[str, Any]) -> tuple[float, int]:
        path = row["audio_filepath"]
        info = probe(path) if self.decode else self._headers(path).value()
        check_channel(info.channels, row.get("channel"), path)
        return info.duration_s, info.sample_rate

    def _find_segment(self, row: dict[str, Any]) -> tuple[float, int]:
        path, channel = row["audio_filepath"], row.get("channel")
        info = None
        if not self.decode:
            info = self._headers(path).value()
        elif not _begins_anywhere(path):
            info = self._decoded(path).value()
        if info is None:
            samples, rate = read(path, channel=channel, offset_s=row["offset"], duration_s=row.get("duration"))
            return len(samples) / rate, rate
        check_channel(info.channels, channel, path)
        return _segment_seconds(row, info), info.sample_rate


class _Once:
    """What a function returns or raises, which is called only once, also if several threads ask for it."""

    def __init__(self, look: Callable[[], AudioInfo | None]) -> None:
        self._look, self._lock = look, threading.Lock()
        self._found: AudioInfo | BadUtterance | None = None
        self._is_known = False

    def value(self) -> Any:
        with self._lock:
            if not self._is_known:
                try:
                    self._found = self._look()
                except BadUtterance as e:
                    self._found = e
                self._is_known = True
        if isinstance(self._found, BadUtterance):
            raise self._found
        return self._found


def _begins_anywhere(path: str) -> bool:
    """Whether decoding can begin at any place of a file without reading what is before it."""
    return is_sndfile_format(path) or read_head(path)[0].startswith(SPHERE_MAGIC)


def _measure(path: str) -> AudioInfo | None:
    """The length of a file, which is decoded in blocks; None if that fails, as parts of it may be readable."""
    try:
        with open_blocks(path) as blocks:
            count = sum(len(samples) for samples in blocks.samples)
            return AudioInfo(count / blocks.rate, blocks.rate, count_channels(path))
    except BadUtterance:
        return None


def _segment_seconds(row: dict[str, Any], info: AudioInfo) -> float:
    """How long the segment of a row is in its file (s); the number of samples is that of `read`."""
    rate = info.sample_rate
    start, total = round(row["offset"] * rate), round(info.duration_s * rate)
    if start >= total:
        stated = f"the segment starts at {row['offset']:g} s"
        raise BadUtterance("bad-segment", f"{row['audio_filepath']} has {info.duration_s:.2f} s, {stated}")
    wanted: int = round(row["duration"] * rate) if "duration" in row else total
    length = min(wanted, total - start)
    return float(length / rate)
