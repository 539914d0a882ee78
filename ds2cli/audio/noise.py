"""Noise beneath speech at a chosen ratio (Amodei et al. 2016, section 5.2). Letters: N samples.

The ratio is that of the mean powers of the whole utterance and of the noise that lies beneath it, as in Kaldi's
wav-reverberate, NeMo and lhotse: it needs no threshold that would say what is speech, and can be measured afterwards.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ds2cli.audio.pool import RecordingPool
from ds2cli.errors import BadUtterance

Samples = NDArray[np.float32]

FADE_S = 0.02
"""Two pieces of noise overlap by this much, one fading in as the other fades out."""

MOST_PIECES = 8
"""So many recordings are tried for one utterance; when they do not fill it, what they gave is repeated."""


def power(samples: Samples) -> float:
    """The mean square of samples (N,), 0 of none. BadUtterance "not-a-number" for NaN or infinite samples."""
    # in double, without BLAS: its sums depend on the number of threads, and these must not
    parts = (samples[i : i + 65536] for i in range(0, len(samples), 65536))
    total = sum(float(np.square(part, dtype=np.float64).sum()) for part in parts)
    if not np.isfinite(total):
        raise BadUtterance("not-a-number", f"{int((~np.isfinite(samples)).sum())} samples are NaN or infinite")
    return total / max(1, len(samples))


def mix(speech: Samples, noise: Samples, snr_db: float) -> Samples:
    """Speech (N,) plus noise (N,) scaled so that 10 log10(power of speech / power of noise) = snr_db.

    Nothing is clipped. Silent speech has no level to go by, and silent noise none to scale: speech is returned then.
    BadUtterance "not-a-number".
    """
    signal, other = power(speech), power(noise)
    if signal == 0 or other == 0:
        return speech
    factor = np.float32((signal / other) ** 0.5 * 10 ** (-snr_db / 20))
    return speech + factor * noise


def noise_for(bank: RecordingPool, num_samples: int, rate: int, rng: np.random.Generator) -> Samples | None:
    """Noise (num_samples,) from random places of random recordings, each at a power of 1; None if all were silent.

    A recording that is longer gives a stretch from a random place. After one that is shorter, begun at a random place,
    come others. One that cannot be read is noted in `bank.failed`, and the next is drawn.
    """
    fade = round(FADE_S * rate)
    noise: Samples | None = None
    for _ in range(MOST_PIECES):
        index, at = int(rng.integers(len(bank))), float(rng.random())
        missing = num_samples if noise is None else num_samples - len(noise) + fade
        piece = bank.cut(index, at, missing, rate)
        level = 0.0 if piece is None else power(piece) ** 0.5
        if piece is None or level == 0:
            continue
        if noise is None and len(piece) < num_samples:
            piece = piece[int(at * len(piece)) :]
        piece = piece / np.float32(level)
        noise = piece if noise is None else joined(noise, piece, fade)
        if len(noise) >= num_samples:
            break
    return None if noise is None else repeated(noise, num_samples, fade)


def joined(before: Samples, after: Samples, fade: int) -> Samples:
    """Two pieces, overlapping by `fade` samples, or half of the shorter one; the power stays if they are unrelated."""
    fade = min(fade, len(before) // 2, len(after) // 2)
    angle = np.pi / 2 * (np.arange(fade, dtype=np.float32) + np.float32(0.5)) / np.float32(max(1, fade))
    seam = before[len(before) - fade :] * np.cos(angle) + after[:fade] * np.sin(angle)
    return np.concatenate([before[: len(before) - fade], seam, after[fade:]], dtype=np.float32)


def repeated(samples: Samples, num_samples: int, fade: int) -> Samples:
    """Samples (N,), N > 0, again and again until there are num_samples of them."""
    while len(samples) < num_samples:
        samples = joined(samples, samples, fade)
    return samples[:num_samples]
