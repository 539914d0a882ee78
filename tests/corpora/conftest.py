"""Long recordings with known segments, made of real utterances."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import soundfile


@dataclass(frozen=True)
class Part:
    """A segment of a long recording. begin, end: seconds.  samples: (N,) int16.  text: in capitals."""

    begin: float
    end: float
    samples: np.ndarray
    text: str


@pytest.fixture(scope="session")
def utterances(shared_data):
    """Six utterances of a chapter of LibriSpeech: samples (N,) int16 at 16 kHz and texts, in order."""
    chapter = shared_data / "LibriSpeech/train-clean-100/27/124992"
    lines = (chapter / "27-124992.trans.txt").read_text("utf-8").splitlines()[:6]
    pairs = (line.split(" ", 1) for line in lines)
    return [(soundfile.read(chapter / f"{name}.flac", dtype="int16")[0], text) for name, text in pairs]


@pytest.fixture(scope="session")
def long_recording(utterances):
    """The utterances one after another with pauses of half a second: samples (N,) int16, and the parts."""
    pause, parts, pieces, begin = np.zeros(8000, np.int16), [], [], 0
    for samples, text in utterances:
        pieces += [pause, samples]
        begin += len(pause)
        parts.append(Part(begin / 16000, (begin + len(samples)) / 16000, samples, text))
        begin += len(samples)
    return np.concatenate([*pieces, pause]), parts
