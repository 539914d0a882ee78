import numpy as np
import pytest

from ds2cli.audio.level import mean_square
from ds2cli.audio.read import read
from ds2cli.audio.reverb import BLOCK, convolve, reverberate
from ds2cli.errors import BadUtterance


def white(size, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal(size)).astype(np.float32)


@pytest.mark.parametrize("size", [1, 2, 1000, 16000])
@pytest.mark.parametrize(("length", "position"), [(1, 0), (50, 0), (50, 49), (5000, 1234)])
@pytest.mark.parametrize("level", [1.0, -1e-3])
def test_a_unit_impulse_changes_only_the_sign(size, length, position, level):
    x, delta = white(size), np.zeros(length, np.float32)
    delta[position] = level
    np.testing.assert_allclose(reverberate(x, delta), np.sign(level) * x, atol=1e-6)


def test_equals_a_direct_convolution():
    x, h = white(3000, 1), white(700, 2) * np.exp(-np.arange(700) / 100).astype(np.float32)
    full = np.convolve(x.astype(np.float64), h)
    direct = int(np.abs(h).argmax())
    expected = full[direct : direct + 3000]
    expected *= np.sqrt(np.square(x, dtype=np.float64).sum() / np.square(expected).sum())
    np.testing.assert_allclose(reverberate(x, h), expected, atol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize("length", [1, 2, 257, 40000])
@pytest.mark.parametrize("size", [1, 2, BLOCK - 256, BLOCK - 255, BLOCK, 2 * BLOCK - 512, 3 * BLOCK + 5])
def test_overlap_add_equals_scipy(size, length):
    from scipy.signal import fftconvolve

    x, h = white(size, 1), white(length, 2)
    got = convolve(x, h)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, fftconvolve(x.astype(np.float64), h.astype(np.float64)), atol=2e-5)


def test_real_impulse_responses_keep_length_power_and_alignment(shared_data):
    speech = read(sorted((shared_data / "LibriSpeech/dev-clean").rglob("*.flac"))[0])[0]
    responses = sorted((shared_data / "rir").glob("*.wav"))
    assert len(responses) == 4
    for path in responses:
        wet = reverberate(speech, read(path)[0])
        assert wet.shape == speech.shape
        assert wet.dtype == np.float32
        assert mean_square(wet) == pytest.approx(mean_square(speech), rel=1e-5)
        spectrum = np.fft.rfft(wet, 2 * len(wet)) * np.conj(np.fft.rfft(speech, 2 * len(wet)))
        lag = int(np.argmax(np.fft.irfft(spectrum / np.abs(spectrum).clip(1e-9))))
        assert min(lag, 2 * len(wet) - lag) <= 16, f"{path.name}: shifted by {lag} samples (16 samples are 1 ms)"


def test_silence_and_a_response_that_underflows():
    zeros = np.zeros(100, np.float32)
    assert not reverberate(zeros, white(10)).any()
    x = np.zeros(4, np.float32)
    x[-1] = 1
    late = np.array([1e-30, 0, 0], np.float32)
    assert np.isfinite(reverberate(x, late)).all()


def test_nan_samples_are_an_error():
    with pytest.raises(BadUtterance, match="not-a-number"):
        reverberate(np.array([1, np.nan], np.float32), white(10))
