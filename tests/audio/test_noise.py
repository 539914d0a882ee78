from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from ds2cli.audio.level import mean_square
from ds2cli.audio.noise import crossfade, draw_noise, loop, mix
from ds2cli.audio.pool import open_pool
from ds2cli.audio.read import read
from ds2cli.errors import BadUtterance


def white(size, seed=0, level=0.1):
    return (level * np.random.default_rng(seed).standard_normal(size)).astype(np.float32)


def snr_of(speech, mixed):
    """SNR of a mixture, computed in float64."""
    noise = mixed.astype(np.float64) - speech
    return 10 * np.log10(np.square(speech, dtype=np.float64).mean() / np.square(noise).mean())


@pytest.fixture
def make_pool(tmp_path):
    """Make a pool of the given arrays [default: at 16 kHz]."""

    def make(*arrays, rate=16000):
        rows = []
        for i, x in enumerate(arrays):
            soundfile.write(tmp_path / f"{i}.wav", x, rate, "FLOAT")
            rows.append({"id": str(i), "audio_filepath": str(tmp_path / f"{i}.wav")})
        return open_pool(rows, "noise.jsonl")

    return make


@pytest.mark.parametrize("snr_db", [-10, 0, 13.7, 30, 60])
@pytest.mark.parametrize("level", [1e-4, 0.1, 30000])
def test_mix_has_the_snr_requested(snr_db, level):
    speech = white(16000, 1, level)
    assert snr_of(speech, mix(speech, white(16000, 2, 0.003), snr_db)) == pytest.approx(snr_db, abs=0.01)


def test_the_snr_of_real_speech_and_real_noise(shared_data):
    speech = read(sorted((shared_data / "LibriSpeech/dev-clean").rglob("*.flac"))[0])[0]
    rows = [{"id": p.stem, "audio_filepath": str(p)} for p in sorted((shared_data / "noise").glob("*.flac"))]
    noises = open_pool(rows, "noise")
    for seed in range(20):
        noise = draw_noise(noises, len(speech), 16000, np.random.default_rng(seed))
        assert len(noise) == len(speech)
        for snr_db in (0, 30):
            assert snr_of(speech, mix(speech, noise, snr_db)) == pytest.approx(snr_db, abs=0.01)
    assert not noises.failures


def test_silence_is_returned_unchanged():
    zeros, noise = np.zeros(100, np.float32), white(100)
    assert not mix(zeros, noise, 10).any()
    assert np.array_equal(mix(noise, zeros, 10), noise)
    assert mix(noise[:0], noise[:0], 10).size == 0


def test_a_mix_of_one_sample_is_not_clipped():
    assert mix(np.array([0.9], np.float32), np.array([0.5], np.float32), 0.0) == pytest.approx(1.8)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinite_samples_are_errors(value):
    broken = white(100)
    broken[3] = value
    for pair in ((broken, white(100)), (white(100), broken)):
        with pytest.raises(BadUtterance, match="not-a-number: 1 samples"):
            mix(*pair, 10)


def test_mean_square_of_an_hour_is_exact():
    assert mean_square(np.full(3600 * 16000, 0.1, np.float32)) == pytest.approx(float(np.float32(0.1)) ** 2, rel=1e-12)


def test_a_longer_noise_gives_an_excerpt_from_a_random_position(make_pool):
    noise = white(32000)
    noises = make_pool(noise)
    starts = set()
    for seed in range(20):
        got = draw_noise(noises, 16000, 16000, np.random.default_rng(seed))
        assert mean_square(got) == pytest.approx(1, abs=1e-4)
        start = int(np.argmax(np.correlate(noise, got[:200], "valid")))
        assert np.corrcoef(got, noise[start : start + 16000])[0, 1] == pytest.approx(1, abs=1e-5)
        starts.add(start)
    assert len(starts) > 15
    assert max(starts) > 12000
    assert min(starts) < 4000


@pytest.mark.parametrize("size", [1, 2, 100, 7999])
def test_shorter_noises_are_joined_until_they_fill_the_utterance(make_pool, size):
    got = draw_noise(make_pool(white(size, 1), 30 * white(size, 2)), 8000, 16000, np.random.default_rng(0))
    assert len(got) == 8000
    assert np.isfinite(got).all()
    for part in np.split(got, 4) if size >= 100 else []:
        assert mean_square(part) == pytest.approx(1, rel=0.5), "the recordings differ in level"


def test_noise_for_one_sample_of_speech(make_pool):
    assert draw_noise(make_pool(white(5000)), 1, 16000, np.random.default_rng(0)).shape == (1,)


def test_silent_noise_is_skipped_and_none_is_returned_if_all_is_silent(make_pool):
    assert draw_noise(make_pool(np.zeros(9000)), 8000, 16000, np.random.default_rng(0)) is None
    noises = make_pool(np.zeros(9000), white(9000))
    assert all(draw_noise(noises, 8000, 16000, np.random.default_rng(seed)) is not None for seed in range(5))


def test_a_broken_file_is_entered_in_failures_once_and_another_is_drawn(make_pool, tmp_path):
    noises = make_pool(white(9000, 1), white(9000, 2))
    (tmp_path / "0.wav").write_bytes(b"RIFF")
    found = [draw_noise(noises, 8000, 16000, np.random.default_rng(seed)) for seed in range(10)]
    assert all(x is not None and len(x) == 8000 for x in found)
    assert list(noises.failures) == [str(tmp_path / "0.wav")]
    assert noises.failures[str(tmp_path / "0.wav")].startswith("unreadable-audio: ")


def test_a_crossfade_keeps_the_power_and_has_no_step():
    power_at = np.mean(
        [np.square(crossfade(white(2000, i, 1), white(2000, 99 + i, 1), 320)) for i in range(300)], axis=0
    )
    assert len(power_at) == 4000 - 320
    assert power_at.reshape(-1, 40).mean(1) == pytest.approx(1, abs=0.06)
    ones = np.ones(1000, np.float32)
    assert np.abs(np.diff(crossfade(ones, -ones, 320))).max() < 0.01


@pytest.mark.parametrize(("size", "wanted"), [(1, 10), (3, 1000), (500, 499), (500, 500), (1000, 16000)])
def test_loop_to_any_length(size, wanted):
    x = white(size)
    got = loop(x, wanted, 320)
    assert got.shape == (wanted,)
    assert np.array_equal(got[: size // 2], x[: min(wanted, size // 2)])


class ListedPool:
    """A pool whose recordings are drawn in the given order. wanted: the lengths that were asked for."""

    def __init__(self, *recordings):
        self.recordings, self.wanted = list(recordings), []

    def __len__(self):
        return 1

    def read_excerpt(self, index, position, num_samples, rate):
        self.wanted.append(num_samples)
        return self.recordings.pop(0)[:num_samples].astype(np.float32)


HALFWAY = SimpleNamespace(integers=lambda size: 0, random=lambda: 0.5)
"""Draws the middle of everything."""


@pytest.mark.parametrize(("rate", "fade"), [(8000, 160), (16000, 320)])
def test_only_the_first_of_several_noises_is_cut_and_the_last_one_fills_the_rest(rate, fade):
    """Noise of ones is louder only within the cross-fades, which last 20 ms at any rate."""
    pool = ListedPool(np.ones(2000), np.ones(2000), np.ones(9000))
    got = draw_noise(pool, 6000, rate, HALFWAY)
    assert pool.wanted == [6000, 5000 + fade, 3000 + 2 * fade]
    assert len(got) == 6000
    assert (got > 1.0001).sum() == 2 * fade


def test_up_to_eight_recordings_are_tried():
    silent = [np.zeros(50)] * 7
    assert draw_noise(ListedPool(*silent, np.ones(50)), 50, 16000, HALFWAY) is not None
    assert draw_noise(ListedPool(*silent, np.zeros(50), np.ones(50)), 50, 16000, HALFWAY) is None
