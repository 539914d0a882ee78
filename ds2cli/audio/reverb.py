"""Speech in a room: convolution with an impulse response. Letters: N samples, M those of the response."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import oaconvolve

from ds2cli.audio.noise import power

Samples = NDArray[np.float32]


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
    wet = np.asarray(oaconvolve(samples, response)[direct : direct + len(samples)], np.float32)
    after = power(wet)
    return wet * np.float32((before / after) ** 0.5) if after > 0 else samples
