"""The log power spectrogram of Deep Speech 2. Notation: N samples, T frames, F bins, W window length.

Amodei et al. 2016, section 3.1: "The inputs are a sequence of log-spectrograms of power normalized audio clips,
calculated on 20ms windows".
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ds2cli.audio.level import frame_gains
from ds2cli.blas import load_scipy
from ds2cli.config.features import FeatureConfig
from ds2cli.errors import BadUtterance

fft = load_scipy("fft")

BLOCK = 256
"""Frames per pass: window, transform and logarithm then stay in the L2 cache (64 … 1024 were timed)."""


Config = FeatureConfig
"""It has no settings of its own."""


def num_bins(config: FeatureConfig) -> int:
    """The frequencies of a window's Fourier transform: 161 at 16 kHz and 20 ms."""
    return config.window_samples // 2 + 1


def frequencies(config: FeatureConfig) -> NDArray[np.float64]:
    """The frequency of each bin (F,) in Hz."""
    return np.asarray(np.fft.rfftfreq(config.window_samples, 1 / config.sample_rate), np.float64)


def num_frames(num_samples: int, config: FeatureConfig) -> int:
    """The number of complete windows: T = 1 + (N - W) // hop, 0 if N < W."""
    return max(0, 1 + (num_samples - config.window_samples) // config.hop_samples)


def compute(samples: NDArray[np.float32], config: FeatureConfig = Config()) -> NDArray[np.float32]:
    """The log power spectrogram of one utterance.

    samples: (N,) float32 at `config.sample_rate`, one channel, any scale: they are scaled to `config.level_db`.
    Returns (T, F) float32: ln(|rfft(hann * frame)|^2 / sum(hann^2) + floor). White noise of RMS r gives about ln(r^2).
    BadUtterance "too-short" when no complete window fits, "not-a-number" for NaN or infinite samples.
    """
    if num_frames(len(samples), config) == 0:
        raise BadUtterance("too-short", f"{len(samples)} samples, shorter than one window of {config.window_samples}")
    return transform(samples, frame_gains(samples, config), config)


def transform(
    samples: NDArray[np.float32], gain: np.float32 | NDArray[np.float32], config: FeatureConfig
) -> NDArray[np.float32]:
    """The same (T, F) of samples (N,) multiplied by `gain`: a number, or one for each frame (T,); N >= W."""
    width, hop = config.window_samples, config.hop_samples
    total = num_frames(len(samples), config)
    window = hann(width) if isinstance(gain, np.ndarray) else hann(width) * gain
    frames = cut_frames(samples, width, hop, total)
    out = np.empty((total, num_bins(config)), np.float32)
    floor = np.float32(config.floor)
    buffer = np.empty((min(BLOCK, total), width), np.float32)
    for start in range(0, total, BLOCK):
        part = out[start : start + BLOCK]
        block = buffer[: len(part)]
        np.multiply(frames[start : start + BLOCK], window, out=block)
        pairs = fft.rfft(block, overwrite_x=True).view(np.float32)
        np.multiply(pairs, pairs, out=pairs)
        np.add(pairs[:, 0::2], pairs[:, 1::2], out=part)
        if isinstance(gain, np.ndarray):
            part *= np.square(gain[start : start + BLOCK, None])
        part += floor
        np.log(part, out=part)
    return out


def cut_frames(samples: NDArray[np.float32], width: int, hop: int, total: int) -> NDArray[np.float32]:
    """The first `total` windows (T, W) of samples (N,), a view."""
    # NumPy's functions for it take longer than the frames of a piece of a stream
    samples = np.ascontiguousarray(samples, np.float32)
    step = samples.itemsize
    return np.ndarray((total, width), np.float32, samples, 0, (hop * step, step))


@lru_cache(maxsize=8)
def hann(width: int) -> NDArray[np.float32]:
    """The periodic Hann window (width,), scaled to unit energy (sum of squares 1)."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(width) / width)
    return np.asarray(window / np.sqrt(np.square(window).sum()), np.float32)
