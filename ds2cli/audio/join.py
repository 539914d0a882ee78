"""Join clips to a long recording whose clips have known times. Notation: N samples."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]


def join(clips: Sequence[Samples], pauses: Sequence[int]) -> tuple[Samples, list[tuple[int, int]]]:
    """Join clips, each (N_i,) float32 at one sample rate, with silence before each of them and after the last one.

    pauses: samples of silence, one number more than there are clips.
    Returns the samples (N,) and the first sample of each clip and the one after its last.
    """
    if len(pauses) != len(clips) + 1:
        raise ValueError(f"{len(clips)} clips have {len(clips) + 1} pauses, not {len(pauses)}")
    lengths = [len(clip) for clip in clips]
    starts = [pause + before for pause, before in zip(accumulate(pauses), [0, *accumulate(lengths)], strict=True)]
    spans = [(start, start + length) for start, length in zip(starts, lengths, strict=False)]
    samples = np.zeros(starts[-1], np.float32)
    for clip, (start, end) in zip(clips, spans, strict=True):
        samples[start:end] = clip
    return samples, spans
