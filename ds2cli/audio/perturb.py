"""Copies of an utterance that sound like another recording. Letters: N samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ds2cli.audio.resample import resample


def speed(
    samples: NDArray[np.float32], factor: float, rate: float = 1.0, to: float | None = None
) -> NDArray[np.float32]:
    """Play samples (N,) `factor` times as fast, pitch and all (Ko et al. 2015, "Audio augmentation").

    rate, to: sample rates before and after, when they change too: one pass does both.
    Returns (N / factor * to / rate,) float32.
    """
    return resample(samples, rate * factor, rate if to is None else to)


def shifted(samples: NDArray[np.float32], by: int) -> NDArray[np.float32]:
    """Samples (N,) that come `by` samples later, or earlier if negative; zeros where nothing is known."""
    by = max(-len(samples), min(len(samples), by))
    out = np.zeros_like(samples)
    out[max(0, by) : len(samples) + min(0, by)] = samples[max(0, -by) : len(samples) - max(0, by)]
    return out


def speed_id(utterance: str, factor: float) -> str:
    """The id of the copy at that speed, by Kaldi's convention: sp0.9-ID; the original keeps its own."""
    return utterance if factor == 1.0 else f"sp{factor:g}-{utterance}"
