"""Levels: of an utterance, and of the past of a stream."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ds2cli.audio.level import PAUSE_DB, RunningGain, frame_gains, gain, hop_powers
from ds2cli.config.base import build
from ds2cli.config.features import FeatureConfig
from ds2cli.errors import BadUtterance


def past(**values):
    return build(FeatureConfig, ("test", {"level_from": "past", **values}))


def decibels(factor):
    return 20 * np.log10(factor)


def noise(seconds, level_db, seed=0):
    samples = np.random.default_rng(seed).normal(size=round(16000 * seconds))
    return (samples * 10 ** (level_db / 20)).astype(np.float32)


def running_gain_ref(samples, config):
    """The definition, with the sum over all hops before for each frame. float64."""
    hop, width = config.hop_samples, config.window_samples
    per_s = config.sample_rate / hop
    powers = [np.mean(samples[i : i + hop].astype(np.float64) ** 2) for i in range(0, len(samples) - hop + 1, hop)]
    initial, initial_power = config.initial_s * per_s, 10 ** (config.initial_db / 10)
    counted: list[float] = []

    def level():
        decay = np.exp(-np.arange(len(counted) + 1)[::-1] / (config.memory_s * per_s))
        total = decay[0] * initial * initial_power + np.sum(decay[1:] * counted)
        return total / (decay[0] * initial + np.sum(decay[1:]))

    levels = [level()]
    for power in powers:
        if power > 1e-14 and 10 * np.log10(power / levels[-1]) >= -PAUSE_DB:
            counted.append(power)
        levels.append(level())
    frames = 1 + (len(samples) - width) // hop
    return np.array([10 ** (config.level_db / 20) / math.sqrt(levels[t + width // hop]) for t in range(frames)])


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"initial_db": -50.0, "initial_s": 0.01, "memory_s": 0.1},
        {"window_ms": 25.0},
        {"window_ms": 10.0, "hop_ms": 25.0, "level_db": -30.0},
        {"sample_rate": 8000, "initial_db": 0.0, "memory_s": 1e6},
    ],
)
def test_equals_the_definition(values):
    config = past(**values)
    samples = np.concatenate([noise(0.5, -20), noise(0.3, -45), noise(0.2, -70), np.zeros(1000), noise(0.3, -10)])
    samples = samples.astype(np.float32)
    np.testing.assert_allclose(frame_gains(samples, config), running_gain_ref(samples, config), rtol=2e-6)


def test_the_initial_level_counts_as_its_seconds():
    """After a second of -20 dB, a second of -30 dB to begin with weighs as much, of powers not of decibels."""
    config = past(initial_db=-30.0, initial_s=1.0, memory_s=1e6)
    gains = frame_gains(noise(10, -20), config)
    assert decibels(gains[0]) == pytest.approx(10, abs=1)
    assert decibels(gains[98]) == pytest.approx(-20 - 10 * math.log10((0.01 + 0.001) / 2), abs=0.2)
    assert decibels(gains[-1]) == pytest.approx(0, abs=0.5)


def test_a_training_level_stays_where_it_is():
    np.testing.assert_allclose(decibels(frame_gains(noise(20, -25), past(initial_db=-25.0))), 5, atol=0.3)


def test_the_level_follows_that_of_the_speaker():
    config = past(initial_db=-25.0)
    for level_db in (-5, -45):
        gains = decibels(frame_gains(noise(60, level_db), config))
        assert gains[-1] == pytest.approx(-20 - level_db, abs=0.5)
        assert (np.diff(gains[::100]) * np.sign(gains[-1] - gains[0]) >= -0.3).all()


def test_a_speaker_20_db_quieter_than_expected_soon_has_the_level():
    gains = decibels(frame_gains(noise(6, -45), past(initial_db=-25.0)))
    assert gains[0] < 15 and 21.5 < gains[98] < 25 and 24 < gains[498] < 25.5


@pytest.mark.parametrize("pause", [np.zeros(16000 * 600, np.float32), noise(600, -60)])
def test_ten_minutes_of_pause_leave_the_gain_as_it_was(pause):
    """Digital silence, and noise 35 dB below speech."""
    gains = frame_gains(np.concatenate([noise(10, -25), pause, noise(1, -25)]), past(initial_db=-25.0))
    np.testing.assert_allclose(decibels(gains), 5, atol=0.3)


def test_the_gain_of_nothing_but_silence_is_that_of_the_initial_level():
    gains = frame_gains(np.zeros(16000 * 10, np.float32), past(initial_db=-40.0))
    np.testing.assert_allclose(decibels(gains), 20, atol=1e-4)


def test_a_gain_depends_on_no_later_sample():
    samples, config = noise(2, -20), past()
    whole = frame_gains(samples, config)
    for count in (320, 479, 480, 16001):
        part = frame_gains(samples[:count], config)
        np.testing.assert_array_equal(part, whole[: len(part)])


def test_without_an_initial_level_the_gain_is_one_until_something_is_heard():
    running = RunningGain(-20.0, 3000.0)
    assert running.add([0.0, 1e-20, 0.01, 0.0]) == [1.0, 1.0, pytest.approx(1.0), pytest.approx(1.0)]
    assert RunningGain(-20.0, 3000.0).add([1.0]) == [pytest.approx(0.1)]


@pytest.mark.parametrize("hop", [1, 7, 80, 160, 161])
def test_the_power_of_a_hop_depends_on_it_alone(hop):
    samples = noise(0.3, -20)
    powers = hop_powers(samples, hop)
    assert len(powers) == len(samples) // hop
    expected = np.square(samples[: len(powers) * hop].astype(np.float64)).reshape(-1, hop).mean(axis=1)
    np.testing.assert_allclose(powers, expected, rtol=1e-6)
    for i in (0, 1, len(powers) - 1):
        assert hop_powers(samples[i * hop : (i + 1) * hop], hop) == [powers[i]]
    assert hop_powers(samples[: hop - 1], hop) == []


@pytest.mark.parametrize("position", [0, 5000, 15999])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_samples_that_are_no_numbers(position, bad):
    samples = np.ones(16000, np.float32)
    samples[position] = bad
    for config in (past(), FeatureConfig(), past(window_ms=25.0, hop_ms=7.0)):
        with pytest.raises(BadUtterance, match="not-a-number: 1 samples are NaN or infinite"):
            frame_gains(samples, config)
    with pytest.raises(BadUtterance, match="so large that their power is infinite"):
        frame_gains(np.full(16000, 1e18, np.float32), past())


def test_the_level_of_an_utterance_is_one_number():
    samples = noise(1, -33)
    assert frame_gains(samples, FeatureConfig()) == gain(samples, -20.0)
    assert decibels(gain(samples, -20.0)) == pytest.approx(13, abs=0.1)
    assert gain(np.zeros(0, np.float32), -20.0) == 1
