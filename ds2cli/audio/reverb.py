"""Reverberation: convolution with a room impulse response. Notation: N samples, M samples of the response."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ds2cli.audio.level import mean_square
from ds2cli.blas import load_scipy

fft = load_scipy("fft")

Samples = NDArray[np.float32]

BLOCK = 1 << 16
"""Length of a Fourier transform: the fastest that fits the L2 cache (2^15 … 2^17 were timed). It takes half the
time of scipy.signal.oaconvolve, which takes few long transforms, and saves its import."""


def reverberate(samples: Samples, response: Samples) -> Samples:
    """Samples (N,) convolved with a room impulse response (M,): the same length and mean power.

    The largest value of the response is taken as the direct path (as in Kaldi's wav-reverberate) and stays in place, so
    the speech is not delayed; the tail of the reverberation past the end is cut.
    BadUtterance "not-a-number" for NaN or infinite samples.
    """
    power = mean_square(samples)
    if power == 0:
        return samples
    direct = int(np.abs(response).argmax())
    wet = convolve(samples, response)[direct : direct + len(samples)]
    wet_power = mean_square(wet)
    return wet * np.float32((power / wet_power) ** 0.5) if wet_power > 0 else samples


def convolve(samples: Samples, response: Samples) -> Samples:
    """The convolution (N + M - 1,) of two signals, neither empty, by the overlap-add method."""
    tail = len(response) - 1
    size = max(BLOCK, 1 << (2 * tail).bit_length())
    # a short signal takes one shorter transform
    size = min(size, fft.next_fast_len(len(samples) + tail, real=True))
    step = size - tail
    transfer = fft.rfft(response, size)
    out = np.zeros(len(samples) + tail, np.float32)
    block = np.zeros(size, np.float32)
    for start in range(0, len(samples), step):
        part = samples[start : start + step]
        block[: len(part)] = part
        block[len(part) :] = 0
        spectrum = fft.rfft(block)
        spectrum *= transfer
        span = out[start : start + size]
        span += fft.irfft(spectrum, size, overwrite_x=True)[: len(span)]
    return out
