import numpy as np
import pytest
import soundfile

from ds2cli.audio.noise import joined, mix, noise_for, power, repeated
from ds2cli.audio.pool import open_pool
from ds2cli.audio.read import read
from ds2cli.errors import BadUtterance


def white(size, seed=0, level=0.1):
    return (level * np.random.default_rng(seed).standard_normal(size)).astype(np.float32)


def ratio_db(speech, mixed):
    """SNR of a mixture, in double."""
    noise = mixed.astype(np.float64) - speech
    return 10 * np.log10(np.square(speech, dtype=np.float64).mean() / np.square(noise).mean())


@pytest.fixture
def bank(tmp_path):
    """Make a bank of the given arrays, at 16 kHz unless said."""

    def make(*arrays, rate=16000):
        rows = []
        for i, x in enumerate(arrays):
            soundfile.write(tmp_path / f"{i}.wav", x, rate, "FLOAT")
            rows.append({"id": str(i), "audio_filepath": str(tmp_path / f"{i}.wav")})
        return open_pool(rows, "noise.jsonl")

    return make


@pytest.mark.parametrize("snr_db", [-10, 0, 13.7, 30, 60])
@pytest.mark.parametrize("level", [1e-4, 0.1, 30000])
def test_the_ratio_is_the_one_asked_for(snr_db, level):
    speech = white(16000, 1, level)
    assert ratio_db(speech, mix(speech, white(16000, 2, 0.003), snr_db)) == pytest.approx(snr_db, abs=0.01)


def test_the_ratio_on_real_speech_and_real_noise(shared_data):
    speech = read(sorted((shared_data / "LibriSpeech/dev-clean").rglob("*.flac"))[0])[0]
    rows = [{"id": p.stem, "audio_filepath": str(p)} for p in sorted((shared_data / "noise").glob("*.flac"))]
    noises = open_pool(rows, "noise")
    for seed in range(20):
        noise = noise_for(noises, len(speech), 16000, np.random.default_rng(seed))
        assert len(noise) == len(speech)
        for snr_db in (0, 30):
            assert ratio_db(speech, mix(speech, noise, snr_db)) == pytest.approx(snr_db, abs=0.01)
    assert not noises.failed


def test_silence_is_left_alone():
    zeros, noise = np.zeros(100, np.float32), white(100)
    assert not mix(zeros, noise, 10).any()
    assert np.array_equal(mix(noise, zeros, 10), noise)
    assert mix(noise[:0], noise[:0], 10).size == 0


def test_one_sample_and_no_clipping():
    assert mix(np.array([0.9], np.float32), np.array([0.5], np.float32), 0.0) == pytest.approx(1.8)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_refused(value):
    broken = white(100)
    broken[3] = value
    for pair in ((broken, white(100)), (white(100), broken)):
        with pytest.raises(BadUtterance, match="not-a-number: 1 samples"):
            mix(*pair, 10)


def test_power_of_an_hour_is_exact():
    assert power(np.full(3600 * 16000, 0.1, np.float32)) == pytest.approx(float(np.float32(0.1)) ** 2, rel=1e-12)


def test_a_longer_noise_gives_a_stretch_from_a_random_place(bank):
    noise = white(32000)
    noises = bank(noise)
    starts = set()
    for seed in range(20):
        got = noise_for(noises, 16000, 16000, np.random.default_rng(seed))
        assert power(got) == pytest.approx(1, abs=1e-4)
        start = int(np.argmax(np.correlate(noise, got[:200], "valid")))
        assert np.corrcoef(got, noise[start : start + 16000])[0, 1] == pytest.approx(1, abs=1e-5)
        starts.add(start)
    assert len(starts) > 15
    assert max(starts) > 12000
    assert min(starts) < 4000


@pytest.mark.parametrize("size", [1, 2, 100, 7999])
def test_a_shorter_noise_is_followed_by_others_until_the_end(bank, size):
    got = noise_for(bank(white(size, 1), 30 * white(size, 2)), 8000, 16000, np.random.default_rng(0))
    assert len(got) == 8000
    assert np.isfinite(got).all()
    for part in np.split(got, 4) if size >= 100 else []:
        assert power(part) == pytest.approx(1, rel=0.5), "whatever the levels of the recordings"


def test_one_sample_of_speech(bank):
    assert noise_for(bank(white(5000)), 1, 16000, np.random.default_rng(0)).shape == (1,)


def test_silent_noise_is_passed_over_and_only_silence_is_none(bank):
    assert noise_for(bank(np.zeros(9000)), 8000, 16000, np.random.default_rng(0)) is None
    noises = bank(np.zeros(9000), white(9000))
    assert all(noise_for(noises, 8000, 16000, np.random.default_rng(seed)) is not None for seed in range(5))


def test_a_broken_file_is_noted_once_and_another_is_drawn(bank, tmp_path):
    noises = bank(white(9000, 1), white(9000, 2))
    (tmp_path / "0.wav").write_bytes(b"RIFF")
    found = [noise_for(noises, 8000, 16000, np.random.default_rng(seed)) for seed in range(10)]
    assert all(x is not None and len(x) == 8000 for x in found)
    assert list(noises.failed) == [str(tmp_path / "0.wav")]
    assert noises.failed[str(tmp_path / "0.wav")].startswith("unreadable-audio: ")


def test_a_seam_keeps_the_power_and_has_no_step():
    power_at = np.mean([np.square(joined(white(2000, i, 1), white(2000, 99 + i, 1), 320)) for i in range(300)], axis=0)
    assert len(power_at) == 4000 - 320
    assert power_at.reshape(-1, 40).mean(1) == pytest.approx(1, abs=0.06)
    ones = np.ones(1000, np.float32)
    assert np.abs(np.diff(joined(ones, -ones, 320))).max() < 0.01


@pytest.mark.parametrize(("size", "wanted"), [(1, 10), (3, 1000), (500, 499), (500, 500), (1000, 16000)])
def test_repeated_to_any_length(size, wanted):
    x = white(size)
    got = repeated(x, wanted, 320)
    assert got.shape == (wanted,)
    assert np.array_equal(got[: size // 2], x[: min(wanted, size // 2)])
