"""Features of a recording in blocks."""

from __future__ import annotations

import numpy as np
import pytest

from ds2cli.audio.level import gain
from ds2cli.config.base import build
from ds2cli.config.features import FeatureConfig
from ds2cli.errors import BadUtterance
from ds2cli.feats import kinds
from ds2cli.feats.blocks import LIVE, LevelWindow, compute_blocks

CONFIGS = [
    {},
    {"kind": "fbank"},
    {"kind": "fbank", "num_mels": 40, "window_ms": 25.0, "sample_rate": 8000},
    {"window_ms": 32.0, "hop_ms": 7.3},
    {"window_ms": 10.0, "hop_ms": 25.0},
]


def settings(values):
    return build(FeatureConfig, ("test", values))


def split(samples, size):
    return [samples[i : i + size] for i in range(0, len(samples), size)]


@pytest.mark.parametrize("values", CONFIGS)
@pytest.mark.parametrize("size", [333, 16000, 10**6])
@pytest.mark.parametrize("block_s", [0.25, 1.0])
def test_with_the_gain_of_the_whole_they_are_those_of_the_whole(values, size, block_s):
    config, rng = settings(values), np.random.default_rng(0)
    # lengths around the ends of blocks and frames
    for count in (32000, 31999, 32001, 40321, 48000 + 159, 600):
        samples = rng.normal(0, 0.1, count).astype(np.float32)
        window = LevelWindow(block_s=block_s, after_s=block_s)
        parts = [*compute_blocks(split(samples, size), config, window, float(gain(samples, config.level_db)))]
        np.testing.assert_array_equal(np.concatenate(parts), kinds.compute(samples, config))


@pytest.mark.parametrize("window", [LevelWindow(), LIVE])
def test_an_utterance_that_fits_in_the_window_is_computed_as_a_whole(window):
    config = settings({})
    samples = np.random.default_rng(0).normal(0, 0.02, 16000 * 4 - 77).astype(np.float32)
    features = np.concatenate([*compute_blocks(split(samples, 999), config, window)])
    whole = kinds.compute(samples, config)
    assert len(features) == len(whole)
    np.testing.assert_allclose(features, whole, atol=1e-3)


def test_quiet_and_loud_parts_get_the_same_level():
    config, rng = settings({}), np.random.default_rng(0)
    loud, quiet = (rng.normal(0, rms, 16000 * 60).astype(np.float32) for rms in (0.3, 0.003))
    expected = kinds.compute(loud, config).mean()
    for window in (LevelWindow(), LIVE):
        features = np.concatenate([*compute_blocks([loud, quiet], config, window)])
        for part in (features[:4000], features[10000:]):
            assert part.mean() == pytest.approx(expected, abs=0.2)


def test_the_blocks_of_the_input_change_nothing():
    config, rng = settings({"kind": "fbank"}), np.random.default_rng(0)
    samples = (rng.normal(size=16000 * 50) * np.linspace(0.001, 0.5, 16000 * 50)).astype(np.float32)
    for window in (LevelWindow(), LIVE):
        one, other = (np.concatenate([*compute_blocks(split(samples, n), config, window)]) for n in (1234, 10**7))
        np.testing.assert_array_equal(one, other)


def test_features_of_live_input_come_soon():
    """A second of audio after the first four gives the features up to a quarter of a second before."""
    config, read = settings({}), []

    def blocks():
        for i in range(100):
            read.append(i)
            yield np.ones(1600, np.float32)

    stream = compute_blocks(blocks(), config, LIVE)
    delays, frames = [], 0
    for part in stream:
        frames += len(part)
        delays.append(10 * len(read) - frames)
    assert delays[0] == 25 and max(delays) <= 60 and frames == 999


@pytest.mark.parametrize("count", [0, 1, 319])
def test_too_few_samples_are_an_error(count):
    with pytest.raises(BadUtterance, match="too-short"):
        list(compute_blocks([np.ones(count, np.float32)], settings({})))
    assert len(np.concatenate([*compute_blocks([np.ones(320, np.float32)], settings({}))])) == 1


def test_silence_stays_silence():
    features = np.concatenate([*compute_blocks([np.zeros(16000 * 40, np.float32)], settings({}))])
    np.testing.assert_array_equal(features, kinds.compute(np.zeros(16000 * 40, np.float32), settings({})))
