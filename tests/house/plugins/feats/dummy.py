"""Example of features in a plugin folder: the log power of a few equal parts of each hop. N samples, T frames, F bins.

Half a hop of silence surrounds the recording.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ds2cli.audio.level import mean_square
from ds2cli.config.base import setting
from ds2cli.config.features import FeatureConfig
from ds2cli.errors import BadUtterance


@dataclass(frozen=True, kw_only=True)
class Config(FeatureConfig):
    """Settings of the features; `--set parts=8` changes the one of this kind."""

    kind: str = setting("dummy", help="Kind of features.")
    parts: int = setting(4, help="Parts of each hop.", min=1, max=100)


def num_bins(config):
    """F."""
    return config.parts


def num_frames(num_samples, config):
    """T of a recording of N = `num_samples`."""
    return num_samples // config.hop_samples + 1 if num_samples else 0


def compute(samples, config):
    """The features (T, F) float32 of samples (N,)."""
    total = num_frames(len(samples), config)
    if not total:
        raise BadUtterance("too-short", "no samples")
    mean_square(samples)  # raises BadUtterance "not-a-number"
    size = total * config.hop_samples
    padded = np.zeros(size, np.float32)
    start = config.hop_samples // 2
    padded[start : start + len(samples)] = samples[: size - start]
    parts = np.array_split(padded.reshape(total, -1), config.parts, axis=1)
    return np.log(np.stack([np.square(part).mean(axis=1) for part in parts], axis=1) + config.floor).astype(np.float32)
