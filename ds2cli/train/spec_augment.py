"""Varying a spectrogram so that few recordings go a long way. T frames, F bins."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ds2cli.config.augment import AugmentConfig

Spectrogram = NDArray[np.float32]


def spec_augment(
    x: Spectrogram, fill: Spectrogram, config: AugmentConfig, rng: np.random.Generator, least: int
) -> Spectrogram:
    """Draw a speed, a frequency warp, a level and masks, and apply them to a copy.

    x: (T, F) float32, log power. fill: (F,), what a mask leaves. least: frames the label needs; a speed that leaves
    fewer is not applied.
    """
    speed = speed_of(config, rng, len(x), least)
    warp = 1 + config.warp * rng.uniform(-1, 1)
    x = x.copy() if speed == warp == 1 else stretched(x, speed, speed * warp)
    if config.gain_db:
        # a factor of the samples is a term of their log power, of every bin alike
        x += np.float32(config.gain_db * rng.uniform(-1, 1) * np.log(10) / 10)
    frames, bins = x.shape
    for _ in range(config.freq_masks):
        width = int(rng.integers(0, min(config.freq_width, bins) + 1))
        start = int(rng.integers(0, bins - width + 1))
        x[:, start : start + width] = fill[start : start + width]
    for _ in range(config.time_masks):
        width = int(rng.integers(0, min(config.time_width, frames // 5) + 1))
        start = int(rng.integers(0, frames - width + 1))
        x[start : start + width] = fill
    return x


def speed_of(config: AugmentConfig, rng: np.random.Generator, frames: int, least: int) -> float:
    """The speed that `spec_augment` draws first; 1 where it would leave fewer than `least` of the frames."""
    speed = 1 + config.speed * rng.uniform(-1, 1)
    return speed if round(frames / speed) >= least else 1.0


def stretched(x: Spectrogram, speed: float, scale: float) -> Spectrogram:
    """The spectrogram of a recording played `speed` times as fast with frequencies `scale` times as high.

    A recording that is played faster has both; on the spectrogram they are two linear interpolations, and cost far less
    than resampling and transforming it again.
    """
    return _at(_at(x, np.arange(max(1, round(len(x) / speed))) * speed).T, np.arange(x.shape[1]) / scale).T


def _at(x: Spectrogram, places: NDArray[np.floating]) -> Spectrogram:
    """Rows of x (T, F) at fractional places (P,), clipped to its ends."""
    places = places.clip(0, len(x) - 1)
    low = places.astype(np.int64)
    high = np.minimum(low + 1, len(x) - 1)
    share = (places - low).astype(np.float32)[:, None]
    first = x[low]
    return first + share * (x[high] - first)
