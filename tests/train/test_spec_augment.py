from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ds2cli.config.augment import AugmentConfig
from ds2cli.train.spec_augment import draw_speed, spec_augment, stretch

FILL = np.full(40, 100.0, np.float32)


def ramp(frames=30, bins=40):
    """Frame t, bin f holds t + f / 1000, so that a linear interpolation can be checked anywhere."""
    return (np.arange(frames)[:, None] + np.arange(bins) / 1000).astype(np.float32)


def test_without_settings_the_spectrogram_is_copied_unchanged():
    x = ramp()
    x.flags.writeable = False
    y = spec_augment(x, FILL, AugmentConfig(), np.random.default_rng(0), 1)
    assert np.array_equal(x, y) and y.flags.writeable


@pytest.mark.parametrize("speed", [0.9, 1.1, 1.25])
def test_speed_shortens_the_time_axis_and_raises_frequencies(speed):
    y = stretch(ramp(), speed, speed)
    assert y.shape == (round(30 / speed), 40)
    t = min(len(y) - 1, 12)
    assert y[t, 20] == pytest.approx(min(t * speed, 29) + 20 / speed / 1000, abs=1e-3)


def test_values_beyond_the_ends_repeat_the_ends():
    assert stretch(ramp(), 1.0, 0.5)[3, 39] == pytest.approx(3 + 0.039, abs=1e-4)
    assert stretch(ramp(frames=1), 0.9, 1.0).shape == (1, 40)


def test_a_stretched_tone_has_the_frequency_of_the_faster_recording():
    from ds2cli.config.features import FeatureConfig
    from ds2cli.feats.spectrogram import compute as log_power

    def tone(hertz):
        return log_power(np.sin(2 * np.pi * hertz * np.arange(8000) / 16000).astype(np.float32), FeatureConfig())

    result = stretch(tone(1000), 1.2, 1.2)
    assert abs(int(result[20].argmax()) - int(tone(1200)[20].argmax())) <= 1


def test_a_speed_that_leaves_too_few_frames_is_not_applied():
    config = AugmentConfig(speed=0.5)
    lengths = {len(spec_augment(ramp(), FILL, config, np.random.default_rng(i), 30)) for i in range(30)}
    assert min(lengths) == 30 and max(lengths) > 30


def test_masks_have_at_most_their_width_and_the_fill_value():
    config = AugmentConfig(freq_masks=1, freq_width=5, time_masks=1, time_width=50)
    freq_widths, time_widths = set(), set()
    for i in range(200):
        masked = spec_augment(ramp(), FILL, config, np.random.default_rng(i), 1) == 100.0
        freq_widths.add(int(masked.all(0).sum()))
        time_widths.add(int(masked.all(1).sum()))
    assert freq_widths == set(range(6))
    assert time_widths == set(range(7)), "at most a fifth of 30 frames"


def test_gain_changes_all_bins_equally_within_its_range():
    gains = set()
    for i in range(50):
        y = spec_augment(ramp(), FILL, AugmentConfig(gain_db=6), np.random.default_rng(i), 1)
        assert np.ptp(y - ramp()) < 1e-5
        gains.add(float((y - ramp())[0, 0]))
    assert -6 * np.log(10) / 10 <= min(gains) < -1 and 1 < max(gains) <= 6 * np.log(10) / 10


def test_gain_equals_that_of_the_samples():
    from dataclasses import replace

    from ds2cli.config.features import FeatureConfig
    from ds2cli.feats.spectrogram import compute as log_power

    x = np.random.default_rng(0).standard_normal(4000).astype(np.float32)
    original = log_power(x)
    result = spec_augment(original, FILL, AugmentConfig(gain_db=6), np.random.default_rng(3), 1)
    decibels = float((result - original).mean()) * 10 / np.log(10)
    louder = log_power(x, replace(FeatureConfig(), level_db=-20 + decibels))
    np.testing.assert_allclose(result, louder, atol=1e-4)


def test_the_same_seed_gives_the_same_result():
    config = AugmentConfig(speed=0.1, warp=0.1, freq_masks=2, time_masks=2)
    a, b, c = (spec_augment(ramp(), FILL, config, np.random.default_rng(seed), 1) for seed in (3, 3, 4))
    assert np.array_equal(a, b) and (a.shape != c.shape or not np.array_equal(a, c))


def measure(y):
    """The speed and the frequency scale of a stretched ramp."""
    return float(y[10, 0]) / 10, 0.02 / float(y[10, 20] - y[10, 0])


def test_a_drawn_speed_scales_both_axes_and_a_warp_only_the_frequencies():
    drawn = {}
    for name in ("speed", "warp"):
        config = AugmentConfig(**{name: 0.2})
        results = [spec_augment(ramp(), FILL, config, np.random.default_rng(i), 1) for i in range(60)]
        drawn[name] = [measure(y) for y in results]
        assert name == "speed" or {len(y) for y in results} == {30}
    assert all(scale == pytest.approx(speed, rel=2e-3) for speed, scale in drawn["speed"])
    assert {speed for speed, _ in drawn["warp"]} == {1.0}
    for scales in ([speed for speed, _ in drawn["speed"]], [scale for _, scale in drawn["warp"]]):
        assert 0.799 <= min(scales) < 0.85 and 1.15 < max(scales) <= 1.201


def test_a_speed_that_leaves_exactly_enough_frames_is_applied():
    config = AugmentConfig(speed=0.5)
    for i in range(20):
        left = len(spec_augment(ramp(), FILL, config, np.random.default_rng(i), 1))
        speed = draw_speed(config, np.random.default_rng(i), 30, left)
        assert speed != 1.0 and round(30 / speed) == left
        assert draw_speed(config, np.random.default_rng(i), 30, left + 1) == 1.0


@pytest.mark.parametrize("count", [1, 3])
def test_each_mask_writes_the_mean_of_its_bins(count):
    fill, bands, stretches = np.arange(100, 140, dtype=np.float32), set(), set()
    for i in range(200):
        config = AugmentConfig(freq_masks=count, freq_width=1)
        y = spec_augment(ramp(), fill, config, np.random.default_rng(i), 1)
        changed = (y != ramp()).all(0)
        assert (y[:, changed] == fill[changed]).all() and (y == ramp())[:, ~changed].all()
        bands.add(int(changed.sum()))
        config = AugmentConfig(time_masks=count, time_width=1)
        y = spec_augment(ramp(), fill, config, np.random.default_rng(i), 1)
        changed = (y != ramp()).all(1)
        assert (y[changed] == fill).all() and (y == ramp())[~changed].all()
        stretches.add(int(changed.sum()))
    assert bands == stretches == set(range(count + 1))


def test_masks_are_not_wider_than_a_small_spectrogram():
    config = AugmentConfig(freq_masks=1, freq_width=20, time_masks=1, time_width=20)
    widths = set()
    for i in range(50):
        masked = spec_augment(ramp(4, 3), FILL[:3], config, np.random.default_rng(i), 1) == 100.0
        widths.add(int(masked.all(0).sum()))
        assert masked.any(1).all() or not masked.any(), "a fifth of 4 frames is none"
    assert widths == set(range(4))


def test_without_fill_masks_write_the_means_of_the_utterance():
    config = AugmentConfig(freq_masks=1, freq_width=5, time_masks=1, time_width=5)
    for i in range(20):
        y = spec_augment(ramp(), None, config, np.random.default_rng(i), 1)
        changed = ~np.isclose(y, ramp())
        np.testing.assert_allclose(y[changed], np.broadcast_to(ramp().mean(0), y.shape)[changed], rtol=1e-6)


def smooth_spectrum(frames=20, cepstra=13):
    """A log mel spectrum of 26 bins that its first 13 cepstra describe, and these cepstra by scipy's transform."""
    from scipy.fft import dct, idct

    coefficients = np.random.default_rng(0).standard_normal((frames, cepstra))
    spectrum = idct(np.pad(coefficients, ((0, 0), (0, cepstra))), norm="ortho")
    np.testing.assert_allclose(dct(spectrum, norm="ortho")[:, :cepstra], coefficients)
    return spectrum.astype(np.float32), coefficients.astype(np.float32)


def test_cepstra_are_augmented_as_the_spectrum_that_they_describe():
    from scipy.fft import dct

    spectrum, cepstra = smooth_spectrum()
    assert (
        np.abs(spec_augment(cepstra, None, AugmentConfig(cepstra=True), np.random.default_rng(0), 1) - cepstra).max()
        < 1e-5
    )
    config = AugmentConfig(speed=0.1, warp=0.1, gain_db=3, freq_masks=2, freq_width=6, time_masks=1, time_width=4)
    for i in range(20):
        plain = spec_augment(spectrum, None, config, np.random.default_rng(i), 1)
        ours = spec_augment(cepstra, None, replace(config, cepstra=True), np.random.default_rng(i), 1)
        np.testing.assert_allclose(ours, dct(plain, norm="ortho")[:, :13], atol=1e-4)
    fill = cepstra.mean(0) + 1
    masks = AugmentConfig(time_masks=1, time_width=4, cepstra=True)
    masked = [spec_augment(cepstra, fill, masks, np.random.default_rng(i), 1) for i in range(20)]
    assert any(np.isclose(y, fill, atol=1e-5).all(1).any() for y in masked)
