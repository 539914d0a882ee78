import numpy as np
import pytest

from ds2cli.audio.level import gain
from ds2cli.config.features import FeatureConfig
from ds2cli.config.featurize import FeaturizeConfig
from ds2cli.errors import BadUtterance
from ds2cli.feats.spectrogram import BLOCK, hann, num_bins, num_frames
from ds2cli.feats.spectrogram import compute as log_power

C = FeatureConfig()


def log_power_ref(samples, config=C):
    """The definition, frame by frame in float64."""
    width, hop = config.window_samples, config.hop_samples
    x = samples.astype(np.float64)
    rms = np.sqrt(np.mean(x**2))
    x *= 10 ** (config.level_db / 20) / rms if rms else 1
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(width) / width)
    frames = [x[t * hop : t * hop + width] * window for t in range(1 + (len(x) - width) // hop)]
    power = [np.abs(np.fft.rfft(frame)) ** 2 / np.sum(window**2) for frame in frames]
    return np.log(np.array(power) + config.floor)


@pytest.mark.parametrize("frames", [1, 2, 31, 33, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 3])
@pytest.mark.parametrize("extra", [0, 159])
def test_equals_the_definition(frames, extra):
    x = np.random.default_rng(frames).normal(size=320 + 160 * (frames - 1) + extra).astype(np.float32)
    got = log_power(x)
    assert got.shape == (frames, 161)
    assert got.dtype == np.float32
    assert num_frames(len(x), C) == frames
    np.testing.assert_allclose(np.exp(got), np.exp(log_power_ref(x)), rtol=1e-3, atol=1e-7)


def test_other_settings():
    config = FeatureConfig(sample_rate=8000, window_ms=25, hop_ms=12.5, level_db=-30, floor=1e-8)
    x = np.random.default_rng(0).normal(size=8000).astype(np.float32)
    assert num_bins(config) == 101
    np.testing.assert_allclose(log_power(x, config), log_power_ref(x, config), atol=1e-3)


def test_the_peak_of_a_tone_is_in_its_bin():
    for hz in (50, 1000, 4000, 7950):
        x = np.sin(2 * np.pi * hz * np.arange(16000) / 16000).astype(np.float32)
        assert (log_power(x).argmax(axis=1) == hz // 50).all()


def test_features_do_not_depend_on_the_level():
    x = np.random.default_rng(0).normal(size=16000).astype(np.float32)
    np.testing.assert_allclose(log_power(x * 1e-3), log_power(x), atol=1e-3)


def test_white_noise_has_the_configured_level():
    x = np.random.default_rng(0).normal(size=160000).astype(np.float32)
    power = np.exp(log_power(x)).mean()
    assert power == pytest.approx(10 ** (-20 / 10), rel=0.02)


def test_silence_gives_the_floor():
    got = log_power(np.zeros(16000, np.float32))
    np.testing.assert_allclose(got, np.log(1e-14), rtol=1e-5)


def test_too_short_and_not_a_number():
    for length in (0, 1, 319):
        with pytest.raises(BadUtterance, match="too-short"):
            log_power(np.ones(length, np.float32))
    for bad in (np.nan, np.inf, -np.inf):
        x = np.ones(16000, np.float32)
        x[77] = bad
        with pytest.raises(BadUtterance, match="not-a-number: 1 samples"):
            log_power(x)
    with pytest.raises(BadUtterance, match="not-a-number: the samples are so large that their power is infinite"):
        log_power(np.full(1000, 1e20, np.float32))


def test_gain_of_an_hour_is_exact():
    x = np.full(16000 * 3600, 0.1, np.float32)
    assert gain(x, -20.0) == pytest.approx(1.0, rel=1e-5)


def test_the_window_has_unit_energy():
    assert np.square(hann(320)).sum() == pytest.approx(1, rel=1e-6)
    assert hann(320)[0] == 0


def test_a_model_stores_the_spectrogram_settings_only():
    stored = FeaturizeConfig(nj=3, sample_rate=8000).features()
    assert stored == {"sample_rate": 8000, "window_ms": 20.0, "hop_ms": 10.0, "level_db": -20.0, "floor": 1e-14}
    assert FeatureConfig.from_saved(stored, "x") == FeatureConfig(sample_rate=8000)
