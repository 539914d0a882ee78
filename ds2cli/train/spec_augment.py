"""Augmentation of spectrograms: speed, frequency warp, level, masks (SpecAugment). T frames, F bins, P positions.

Cepstra are the cosine transform of a log mel spectrum, of which they keep the smooth part. Their order is not one of
frequencies, so they are augmented as the spectrum that they describe, of B = 2 F bins (`augment.cepstra`).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ds2cli.config.augment import AugmentConfig

Spectrogram = NDArray[np.float32]


def spec_augment(
    x: Spectrogram, fill: Spectrogram | None, config: AugmentConfig, rng: np.random.Generator, min_frames: int
) -> Spectrogram:
    """Draw a speed, a frequency warp, a level and masks, and apply them to a copy.

    x: (T, F) float32, log power, or cepstra. fill: (F,), values that masks write; None for the utterance's means.
    min_frames: frames the labels need; a speed that leaves fewer is not applied.
    """
    if not config.cepstra:
        return _augment(x, fill, config, rng, min_frames)
    transform = cosine_transform(x.shape[1])
    fill = None if fill is None else fill @ transform
    # the rows of the transform are orthonormal
    return _augment(x @ transform, fill, config, rng, min_frames) @ transform.T


def _augment(
    x: Spectrogram, fill: Spectrogram | None, config: AugmentConfig, rng: np.random.Generator, min_frames: int
) -> Spectrogram:
    speed = draw_speed(config, rng, len(x), min_frames)
    warp = 1 + config.warp * rng.uniform(-1, 1)
    x = x.copy() if speed == warp == 1 else stretch(x, speed, speed * warp)
    if config.gain_db:
        # scaling the samples adds the same number to the log power of every bin
        x += np.float32(config.gain_db * rng.uniform(-1, 1) * np.log(10) / 10)
    frames, bins = x.shape
    fill = x.mean(0) if fill is None else fill
    for _ in range(config.freq_masks):
        width = int(rng.integers(0, min(config.freq_width, bins) + 1))
        start = int(rng.integers(0, bins - width + 1))
        x[:, start : start + width] = fill[start : start + width]
    for _ in range(config.time_masks):
        width = int(rng.integers(0, min(config.time_width, frames // 5) + 1))
        start = int(rng.integers(0, frames - width + 1))
        x[start : start + width] = fill
    return x


@lru_cache(maxsize=8)
def cosine_transform(cepstra: int) -> Spectrogram:
    """The first rows of the orthonormal DCT-II of twice as many bins: (F, 2 F) float32."""
    bins = 2 * cepstra
    rows = np.sqrt(2 / bins) * np.cos(np.pi / bins * np.arange(cepstra)[:, None] * (np.arange(bins) + 0.5))
    rows[0] /= np.sqrt(2)
    return np.asarray(rows, np.float32)


def draw_speed(config: AugmentConfig, rng: np.random.Generator, frames: int, min_frames: int) -> float:
    """The speed, which `spec_augment` draws first; 1 when it would leave fewer than `min_frames` of the frames."""
    speed = 1 + config.speed * rng.uniform(-1, 1)
    return speed if round(frames / speed) >= min_frames else 1.0


def stretch(x: Spectrogram, speed: float, scale: float) -> Spectrogram:
    """The spectrogram of a recording played `speed` times as fast with frequencies `scale` times as high.

    Playing a recording faster changes both. Two linear interpolations of the spectrogram cost far less than resampling
    the recording and transforming it again.
    """
    stretched = _interpolate_rows(x, np.arange(max(1, round(len(x) / speed))) * speed)
    return _interpolate_rows(stretched.T, np.arange(x.shape[1]) / scale).T


def _interpolate_rows(x: Spectrogram, positions: NDArray[np.floating]) -> Spectrogram:
    """Rows of x (T, F) at fractional positions (P,), clipped to its ends."""
    positions = positions.clip(0, len(x) - 1)
    low = positions.astype(np.int64)
    high = np.minimum(low + 1, len(x) - 1)
    fraction = (positions - low).astype(np.float32)[:, None]
    first = x[low]
    return first + fraction * (x[high] - first)
