"""Where the sound of a clip begins and ends."""

from __future__ import annotations

import numpy as np
import pytest

from ds2cli.audio.trim import find_sound, frame_power, quiet_level

RATE = 16000


def clip(before_s, sound_s, after_s, *, quiet=1e-3, loud=0.3, rate=RATE, seed=0):
    """Noise of one level between noise of another (RMS)."""
    rng = np.random.default_rng(seed)
    levels = np.repeat([quiet, loud, quiet], [round(s * rate) for s in (before_s, sound_s, after_s)])
    return (levels * rng.normal(size=len(levels))).astype(np.float32)


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize(("before", "after"), [(0.2, 0.3), (0.0, 0.3), (0.25, 0.0), (0.0, 0.0), (2.0, 1.0)])
@pytest.mark.parametrize("quiet", [0.0, 1e-4, 1e-3])
def test_edges_are_found_to_a_frame(before, after, quiet, rate):
    samples = clip(before, 0.8, after, quiet=quiet, rate=rate)
    if not before and not after:
        # nothing is quiet: it may be all sound or all noise
        assert find_sound(samples, rate) is None
        return
    begin, end = find_sound(samples, rate)
    assert begin / rate == pytest.approx(before, abs=0.0101)
    assert end / rate == pytest.approx(before + 0.8, abs=0.0101)


def test_a_pause_inside_does_not_matter():
    samples = np.concatenate([clip(0.2, 0.4, 0.3), clip(0.2, 0.4, 0.3, seed=1)])
    begin, end = find_sound(samples, RATE)
    assert (begin / RATE, end / RATE) == (pytest.approx(0.2, abs=0.01), pytest.approx(1.5, abs=0.01))


def test_the_level_does_not_matter():
    samples = clip(0.2, 0.8, 0.3)
    assert find_sound(samples, RATE) == find_sound(samples * np.float32(1e-3), RATE)


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(0, np.float32),
        np.zeros(100, np.float32),
        np.zeros(RATE, np.float32),
        np.full(RATE, np.nan, np.float32),
        clip(0.3, 0.8, 0.3, quiet=0.1),
        np.full(RATE, 0.5, np.float32),
    ],
    ids=["empty", "shorter than a frame", "digital silence", "NaN", "noisy", "constant"],
)
def test_what_has_no_sure_edges_is_left_out(samples):
    assert find_sound(samples, RATE) is None


def test_a_slow_fade_is_unsure():
    samples = clip(0.5, 1.0, 0.5, quiet=1e-4)
    rng = np.random.default_rng(1)
    fade = np.geomspace(0.3, 1e-4, RATE) * rng.normal(size=RATE)
    assert find_sound(samples, RATE) is not None
    assert find_sound(np.concatenate([samples[: RATE * 3 // 2], fade]).astype(np.float32), RATE) is None


def test_the_quiet_level_is_that_of_the_background():
    assert quiet_level(clip(0.3, 0.8, 0.3, quiet=1e-3), RATE) == pytest.approx(1e-3, rel=0.2)
    assert quiet_level(np.zeros(RATE, np.float32), RATE) == 0.0
    assert quiet_level(np.zeros(3, np.float32), RATE) == 0.0


def test_power_of_frames():
    samples = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    expected = [np.mean(np.square(samples[i : i + 160], dtype=np.float64)) for i in range(0, 1000 - 160 + 1, 80)]
    assert frame_power(samples, RATE) == pytest.approx(expected)
