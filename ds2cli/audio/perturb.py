"""Speed perturbation and time shifts. Notation: N samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ds2cli.audio.resample import resample


def change_speed(
    samples: NDArray[np.float32], factor: float, rate: float = 1.0, out_rate: float | None = None
) -> NDArray[np.float32]:
    """Play samples (N,) `factor` times as fast, which changes pitch and tempo (Ko et al. 2015, "Audio augmentation").

    rate, out_rate: sample rates before and after (Hz); a single resampling changes both the speed and the rate.
    Returns (N / factor * out_rate / rate,) float32.
    """
    return resample(samples, rate * factor, rate if out_rate is None else out_rate)


def shift_samples(samples: NDArray[np.float32], delay: int) -> NDArray[np.float32]:
    """Delay samples (N,) by `delay` samples (negative: advance them); the length is kept, and zeros fill the gap."""
    delay = max(-len(samples), min(len(samples), delay))
    out = np.zeros_like(samples)
    out[max(0, delay) : len(samples) + min(0, delay)] = samples[max(0, -delay) : len(samples) - max(0, delay)]
    return out


def format_speed_id(utterance: str, factor: float) -> str:
    """The id of a copy at another speed, by Kaldi's convention: sp0.9-ID. The original keeps its id."""
    return utterance if factor == 1.0 else f"sp{factor:g}-{utterance}"
