import numpy as np
import pytest

from ds2cli.audio.resample import resample


@pytest.mark.parametrize("rate, new_rate", [(8000, 16000), (44100, 16000), (22050, 16000), (16000, 8000)])
def test_a_tone_keeps_its_frequency(rate, new_rate):
    def tone(sample_rate):
        return np.sin(2 * np.pi * 440 * np.arange(sample_rate) / sample_rate).astype(np.float32)

    got = resample(tone(rate), rate, new_rate)
    assert got.dtype == np.float32
    assert len(got) == new_rate
    middle = slice(new_rate // 10, -new_rate // 10)
    np.testing.assert_allclose(got[middle], tone(new_rate)[middle], atol=1e-3)


def test_equal_rates_and_empty_signals_are_returned_unchanged():
    x = np.ones(5, np.float32)
    assert resample(x, 8000, 8000) is x
    assert len(resample(x[:0], 8000, 16000)) == 0


def test_resampling_does_not_alias():
    x = np.sin(2 * np.pi * 6000 * np.arange(16000) / 16000).astype(np.float32)
    assert np.abs(resample(x, 16000, 8000)[1000:-1000]).max() < 1e-3
