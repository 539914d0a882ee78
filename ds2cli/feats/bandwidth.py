"""Which frequencies a recording contains. Files of 8 kHz made to 16 kHz, and strongly compressed ones, lack the upper
band: a network that has learned from full recordings makes many more errors on them, and the other way round.

Notation: T frames, F bins.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ds2cli.config.features import FeatureConfig
from ds2cli.feats import kinds

EMPTY_DB = -70.0
"""Below the loudest part of speech. Recordings of 16 kHz reach -60 dB at 8 kHz; a band that was cut off is below -85 dB
unless the recording is very quiet, as the 16 bits of its samples add noise."""

SPEECH_HZ = 200.0
"""The loudest part is searched above this: hum may be louder than speech."""

FULL = 0.875
"""Share of the band that counts as all of it: music formats cut off a little of the top."""

FRAMES = 256
"""At most about this many frames of an utterance are measured."""

MISMATCH_STD = 1.5
"""Standard deviations by which the missing band of a recording lies below what the network has learned from."""


def find_bandwidth(features: NDArray[np.float32], config: FeatureConfig) -> float | None:
    """The highest frequency with sound (Hz) of an utterance; None if that is the whole band, or cannot be known.

    features: (T, F) of this kind; kinds without `frequencies` cannot be measured.
    """
    if not len(features) or kinds.frequencies(config) is None:
        return None
    part = features[:: max(1, len(features) // FRAMES)].astype(np.float64)
    return _highest_sound(np.log(np.exp(part).mean(axis=0)), config)


def learned_bandwidth(mean: NDArray[np.float32], std: NDArray[np.float32], config: FeatureConfig) -> float | None:
    """The same of the recordings that a network learned from, by the mean and deviation (F,) of its features."""
    if kinds.frequencies(config) is None:
        return None
    # as loud as their loud frames
    return _highest_sound(mean.astype(np.float64) + 2 * std, config)


def find_mismatch(
    features: NDArray[np.float32], mean: NDArray[np.float32], std: NDArray[np.float32], config: FeatureConfig
) -> tuple[float, float] | None:
    """The highest frequencies with sound (Hz) of an utterance and of the recordings that a network learned from.

    None if they do not differ so much that the network makes more errors.

    features: (T, F).  mean, std: (F,), with which the network normalizes features.
    """
    here, learned = find_bandwidth(features, config), learned_bandwidth(mean, std, config)
    if here == learned:
        return None
    full = config.sample_rate / 2
    here, learned = here or full, learned or full
    frequencies = kinds.frequencies(config)
    assert frequencies is not None
    low, high = sorted((here, learned))
    if low > FULL * high:
        return None
    between = (frequencies > low) & (frequencies <= high)
    deviation = float(((features[:, between].mean(axis=0) - mean[between]) / std[between]).mean())
    # a network that learned from both kinds of recordings has a large deviation there
    return (here, learned) if (deviation < -MISMATCH_STD if here < learned else deviation > MISMATCH_STD) else None


def _highest_sound(level: NDArray[np.float64], config: FeatureConfig) -> float | None:
    """level: (F,), the log power of each bin."""
    frequencies, full = kinds.frequencies(config), config.sample_rate / 2
    assert frequencies is not None
    flat = level - _response(config)
    speech = flat[frequencies >= SPEECH_HZ]
    sound = np.flatnonzero(flat > speech.max(initial=-np.inf) + EMPTY_DB * np.log(10) / 10)
    highest = float(frequencies[sound[-1]]) if len(sound) else full
    return None if highest >= FULL * full or highest >= FULL * frequencies[-1] else highest


@lru_cache(maxsize=8)
def _response(config: FeatureConfig) -> NDArray[np.float64]:
    """The features (F,) of white noise: what a bin adds by its width and by pre-emphasis."""
    noise = np.random.default_rng(0).standard_normal(config.sample_rate).astype(np.float32)
    features = kinds.compute(noise, config).astype(np.float64)
    return np.asarray(np.log(np.exp(features).mean(axis=0)))
