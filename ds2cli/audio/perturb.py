"""Speed perturbation and time shifts. Notation: N samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ds2cli.audio.resample import resample


def change_speed(
    samples: NDArray[np.float32], factor: float, rate: float = 1.0, to: float | None = None
) -> NDArray[np.float32]:
    """Play samples (N,) `factor` times as fast, which changes pitch and tempo (Ko et al. 2015, "Audio augmentation").

    rate, to: sample rates before and after (Hz); both changes take one resampling.
    Returns (N / factor * to / rate,) float32.
    """
    return resample(samples, rate * factor, rate if to is None else to)


def shift_samples(samples: NDArray[np.float32], by: int) -> NDArray[np.float32]:
    """Delay samples (N,) by `by` samples, or advance them if negative; the length stays, zeros fill the gap."""
    by = max(-len(samples), min(len(samples), by))
    out = np.zeros_like(samples)
    out[max(0, by) : len(samples) + min(0, by)] = samples[max(0, -by) : len(samples) - max(0, by)]
    return out


def speed_id(utterance: str, factor: float) -> str:
    """The id of a copy at another speed, by Kaldi's convention: sp0.9-ID. The original keeps its id."""
    return utterance if factor == 1.0 else f"sp{factor:g}-{utterance}"
