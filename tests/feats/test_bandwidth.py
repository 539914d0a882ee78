"""Which frequencies recordings contain, measured in their features."""

from __future__ import annotations

import numpy as np
import pytest

from ds2cli.audio.resample import resample
from ds2cli.config.base import build
from ds2cli.config.features import FeatureConfig
from ds2cli.feats import cmvn, kinds
from ds2cli.feats.bandwidth import find_bandwidth, find_mismatch, learned_bandwidth

KINDS = [
    FeatureConfig(),
    build(FeatureConfig, ("test", {"kind": "fbank"})),
    build(FeatureConfig, ("test", {"kind": "fbank", "num_mels": 40, "window_ms": 25.0, "preemphasis": 0.0})),
]


def speech(seed, rate=16000, seconds=1.5):
    """Noise that falls by 12 dB per octave, as loud as syllables."""
    rng = np.random.default_rng(seed)
    samples = round(rate * seconds)
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    frequencies = np.fft.rfftfreq(samples, 1 / rate)
    spectrum *= np.minimum(1, (500 / np.maximum(frequencies, 100)) ** 2)
    loudness = 0.02 + np.abs(np.sin(2 * np.pi * 2 * np.arange(samples) / rate))
    x = np.fft.irfft(spectrum, samples) * loudness
    return (0.1 * x / x.std()).astype(np.float32)


def of_8_khz(samples):
    return resample(resample(samples, 16000, 8000), 8000, 16000)


def in_16_bits(samples, scale=1.0):
    return np.round(samples * scale * 32767).astype(np.int16).astype(np.float32) / 32768


@pytest.mark.parametrize("config", KINDS, ids=["spectrogram", "fbank", "fbank 40"])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_band_that_was_cut_off_is_found_in_any_kind_of_features(config, seed):
    x = speech(seed)
    for full in (x, in_16_bits(x), in_16_bits(x, 0.1), np.concatenate([x, np.zeros(8000, np.float32)])):
        assert find_bandwidth(kinds.compute(full, config), config) is None
    for narrow in (of_8_khz(x), in_16_bits(of_8_khz(x)), in_16_bits(of_8_khz(x), 0.1)):
        assert find_bandwidth(kinds.compute(narrow, config), config) == pytest.approx(4000, rel=0.1)
    hum = of_8_khz(x) + 3 * np.sin(2 * np.pi * 50 * np.arange(len(x)) / 16000).astype(np.float32)
    assert find_bandwidth(kinds.compute(hum, config), config) == pytest.approx(4000, rel=0.1)
    eleven = resample(resample(x, 16000, 11025), 11025, 16000)
    assert find_bandwidth(kinds.compute(eleven, config), config) == pytest.approx(5512, rel=0.1)


def test_silence_and_nothing_have_no_narrow_band():
    config = FeatureConfig()
    assert find_bandwidth(kinds.compute(np.zeros(16000, np.float32), config), config) is None
    assert find_bandwidth(np.zeros((0, 161), np.float32), config) is None


def learned(config, *recordings):
    stats = cmvn.empty(kinds.num_bins(config))
    for x in recordings:
        cmvn.accumulate(stats, kinds.compute(x, config))
    return cmvn.mean_std(stats)


@pytest.mark.parametrize("config", KINDS[:2], ids=["spectrogram", "fbank"])
def test_a_recording_is_compared_with_what_the_network_learned_from(config):
    train, x = [speech(seed) for seed in range(2, 7)], speech(0)
    narrow_train = [of_8_khz(y) for y in train]
    wide, narrow = learned(config, *train), learned(config, *narrow_train)
    quantized = learned(config, *map(in_16_bits, narrow_train))
    mixed = learned(config, *train[:3], *narrow_train[3:])
    assert learned_bandwidth(*wide, config) is None and learned_bandwidth(*mixed, config) is None
    for statistics in (narrow, quantized):
        assert learned_bandwidth(*statistics, config) == pytest.approx(4000, rel=0.1)

    def mismatch(samples, statistics):
        return find_mismatch(kinds.compute(samples, config), *statistics, config)

    for y in (of_8_khz(x), in_16_bits(of_8_khz(x))):
        assert mismatch(y, wide) == pytest.approx((4000, 8000), rel=0.1)
        assert [mismatch(y, statistics) for statistics in (narrow, quantized, mixed)] == [None] * 3
    assert mismatch(x, wide) is None and mismatch(x, mixed) is None
    assert mismatch(x, narrow) == pytest.approx((8000, 4000), rel=0.1)
