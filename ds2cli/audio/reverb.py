"""Speech in a room: convolution with an impulse response. Letters: N samples, M those of the response."""

from __future__ import annotations

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from ds2cli.audio.noise import power

Samples = NDArray[np.float32]

BLOCK = 1 << 16
"""Length of a Fourier transform, which is quickest where it fits the second-level cache (measured 2^15 … 2^17): half
the time of scipy.signal.oaconvolve, which takes few long ones, and without its import."""


def reverberate(samples: Samples, response: Samples) -> Samples:
    """Samples (N,) as the room of the response (M,) gives them back: the same length, the same mean power.

    The greatest value of the response is taken for the direct path (as Kaldi's wav-reverberate does) and stays where
    it is, so that nothing moves in time; echoes beyond the end are cut off.
    BadUtterance "not-a-number" for NaN or infinite samples.
    """
    before = power(samples)
    if before == 0:
        return samples
    direct = int(np.abs(response).argmax())
    wet = convolved(samples, response)[direct : direct + len(samples)]
    after = power(wet)
    return wet * np.float32((before / after) ** 0.5) if after > 0 else samples


def convolved(samples: Samples, response: Samples) -> Samples:
    """The convolution (N + M - 1,) of two that are not empty, by Fourier transforms of blocks that overlap and add."""
    tail = len(response) - 1
    size = max(BLOCK, 1 << (2 * tail).bit_length())
    # one transform where that is shorter
    size = min(size, scipy.fft.next_fast_len(len(samples) + tail, real=True))
    step = size - tail
    filtering = scipy.fft.rfft(response, size)
    out = np.zeros(len(samples) + tail, np.float32)
    block = np.zeros(size, np.float32)
    for start in range(0, len(samples), step):
        part = samples[start : start + step]
        block[: len(part)] = part
        block[len(part) :] = 0
        spectrum = scipy.fft.rfft(block)
        spectrum *= filtering
        span = out[start : start + size]
        span += scipy.fft.irfft(spectrum, size, overwrite_x=True)[: len(span)]
    return out
