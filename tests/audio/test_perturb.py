import numpy as np
import pytest

from ds2cli.audio.perturb import change_speed, format_speed_id, shift_samples


def peak_hz(samples, rate):
    return np.argmax(np.abs(np.fft.rfft(samples * np.hanning(len(samples))))) * rate / len(samples)


@pytest.mark.parametrize("factor", [0.9, 1.0, 1.1, 2.0])
@pytest.mark.parametrize("rate", [8000, 16000])
def test_faster_is_shorter_and_higher(factor, rate):
    x = np.sin(2 * np.pi * 500 * np.arange(2 * rate) / rate).astype(np.float32)
    faster = change_speed(x, factor, rate, 16000)
    assert len(faster) == pytest.approx(2 * 16000 / factor, abs=1)
    assert peak_hz(faster, 16000) == pytest.approx(500 * factor, rel=0.01)


def test_speed_one_changes_nothing():
    x = np.ones(10, np.float32)
    assert change_speed(x, 1.0, 16000, 16000) is x
    assert change_speed(x, 1.0) is x


def test_ids_follow_kaldi():
    assert format_speed_id("a", 1.0) == "a"
    assert format_speed_id("a", 0.9) == "sp0.9-a"
    assert format_speed_id("a", 1.1) == "sp1.1-a"
    assert format_speed_id("a", 0.95) == "sp0.95-a"


@pytest.mark.parametrize("delay", [-7, -5, -1, 0, 2, 5, 9])
def test_a_shift_keeps_the_length_and_fills_with_zeros(delay):
    x = np.arange(1, 6, dtype=np.float32)
    expected = [x[i - delay] if 0 <= i - delay < 5 else 0 for i in range(5)]
    assert shift_samples(x, delay).tolist() == expected
