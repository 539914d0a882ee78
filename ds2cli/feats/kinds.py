"""Compute features of the kind `config.kind`. Notation: N samples, T frames, F bins."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ds2cli.config.features import KINDS, FeatureConfig


def num_bins(config: FeatureConfig) -> int:
    """Bins per frame, F."""
    return int(KINDS.load(config.kind).num_bins(config))


def num_frames(num_samples: int, config: FeatureConfig) -> int:
    """Frames of a recording of this length, T; 0 if it is too short."""
    return int(KINDS.load(config.kind).num_frames(num_samples, config))


def compute(samples: NDArray[np.float32], config: FeatureConfig) -> NDArray[np.float32]:
    """The features (T, F) float32 of one utterance.

    samples: (N,) float32 at `config.sample_rate`, one channel, any scale.
    BadUtterance "too-short" when no frame fits, "not-a-number" for NaN or infinite samples.
    """
    features: NDArray[np.float32] = KINDS.load(config.kind).compute(samples, config)
    return features


def frequencies(config: FeatureConfig) -> NDArray[np.float64] | None:
    """The frequency of each bin (F,) in Hz, ascending; None for a kind whose bins are not log powers at frequencies."""
    find = getattr(KINDS.load(config.kind), "frequencies", None)
    return None if find is None else np.asarray(find(config), np.float64)


def can_stream(config: FeatureConfig) -> bool:
    """Whether the kind computes frames of complete windows with a gain for each, so that they need not wait."""
    return hasattr(KINDS.load(config.kind), "transform")
