"""Add noise to speech at a given signal-to-noise ratio (Amodei et al. 2016, section 5.2). Notation: N samples.

The ratio compares the mean power of the whole utterance with that of the noise added to it, as Kaldi's
wav-reverberate, NeMo and lhotse do: no voice activity detection is needed, and the ratio can be measured afterward.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ds2cli.audio.level import mean_square
from ds2cli.audio.pool import RecordingPool

Samples = NDArray[np.float32]

FADE_S = 0.02
"""Length of the cross-fade between two noise excerpts (s)."""

MAX_EXCERPTS = 8
"""Recordings tried per utterance; if together they are too short, the noise found so far is looped."""


def mix(speech: Samples, noise: Samples, snr_db: float) -> Samples:
    """Speech (N,) plus noise (N,), the noise scaled so that 10 log10(power of speech / power of noise) = snr_db.

    Nothing is clipped. If either signal is silent, no scale is defined and the speech is returned unchanged.
    BadUtterance "not-a-number" for NaN or infinite samples.
    """
    speech_power, noise_power = mean_square(speech), mean_square(noise)
    if speech_power == 0 or noise_power == 0:
        return speech
    factor = np.float32((speech_power / noise_power) ** 0.5 * 10 ** (-snr_db / 20))
    return speech + factor * noise


def draw_noise(pool: RecordingPool, num_samples: int, rate: int, rng: np.random.Generator) -> Samples | None:
    """Noise (num_samples,) from random positions of random recordings, each excerpt scaled to unit power.

    A recording longer than needed yields an excerpt from a random position; a shorter one is read from a random
    position to its end, and another recording follows. A recording that cannot be read is listed in `pool.failures`,
    and another is drawn. None if only silence was drawn.
    """
    fade = round(FADE_S * rate)
    noise: Samples | None = None
    for _ in range(MAX_EXCERPTS):
        index, position = int(rng.integers(len(pool))), float(rng.random())
        missing = num_samples if noise is None else num_samples - len(noise) + fade
        excerpt = pool.read_excerpt(index, position, missing, rate)
        rms = 0.0 if excerpt is None else mean_square(excerpt) ** 0.5
        if excerpt is None or rms == 0:
            continue
        if noise is None and len(excerpt) < num_samples:
            excerpt = excerpt[int(position * len(excerpt)) :]
        excerpt = excerpt / np.float32(rms)
        noise = excerpt if noise is None else crossfade(noise, excerpt, fade)
        if len(noise) >= num_samples:
            break
    return None if noise is None else loop(noise, num_samples, fade)


def crossfade(before: Samples, after: Samples, fade: int) -> Samples:
    """Two signals joined by an equal-power cross-fade of `fade` samples, at most half of the shorter signal."""
    fade = min(fade, len(before) // 2, len(after) // 2)
    angle = np.pi / 2 * (np.arange(fade, dtype=np.float32) + np.float32(0.5)) / np.float32(max(1, fade))
    seam = before[len(before) - fade :] * np.cos(angle) + after[:fade] * np.sin(angle)
    return np.concatenate([before[: len(before) - fade], seam, after[fade:]], dtype=np.float32)


def loop(samples: Samples, num_samples: int, fade: int) -> Samples:
    """Repeat samples (N,), N > 0, with cross-fades up to a length of num_samples; a longer signal is truncated."""
    while len(samples) < num_samples:
        samples = crossfade(samples, samples, fade)
    return samples[:num_samples]
