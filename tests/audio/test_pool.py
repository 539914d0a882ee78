import pickle

import numpy as np
import pytest
import soundfile

from ds2cli.audio.pool import LONGEST_RESPONSE_S, open_pool
from ds2cli.audio.read import read
from ds2cli.errors import DataError


def row(path, **more):
    return {"id": path.stem, "audio_filepath": str(path), **more}


def tone(hertz, rate, seconds):
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_other_rates_are_resampled_and_channels_become_one(tmp_path, rate):
    both = np.stack([tone(500, rate, 2), tone(500, rate, 2)], axis=1)
    soundfile.write(tmp_path / "a.wav", both, rate, "FLOAT")
    bank = open_pool([row(tmp_path / "a.wav")], "x")
    for at in (0.0, 0.3, 0.999):
        got = bank.cut(0, at, 8000, 16000)
        assert got.shape == (8000,)
        assert np.argmax(np.abs(np.fft.rfft(got * np.hanning(8000)))) == 250
    assert bank.cut(0, 0.9, 10**6, 16000).shape == (32000,), "all of it"


def test_a_segment_is_not_left(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.arange(16000) / 16000, 16000, "FLOAT")
    bank = open_pool([row(tmp_path / "a.wav", offset=0.25, duration=0.5)], "x")
    for at in np.linspace(0, 0.9999, 40):
        got = 16000 * bank.cut(0, at, 1000, 16000)
        assert len(got) == 1000
        assert got[0] >= 4000
        assert got[-1] < 12000


def test_a_stretch_of_a_compressed_file_is_what_decoding_all_of_it_gives(shared_data):
    path = shared_data / "noise/kitchen.flac"
    bank, whole = open_pool([row(path)], "x"), read(path)[0]
    for at in np.linspace(0, 0.99, 9):
        got = bank.cut(0, at, 30000, 16000)
        start = round(at * (len(whole) - 30001))
        assert any(np.array_equal(got, whole[s : s + 30000]) for s in (start - 1, start, start + 1))


def test_the_same_place_whoever_asks(tmp_path):
    soundfile.write(tmp_path / "a.flac", tone(300, 22050, 3), 22050)
    bank = open_pool([row(tmp_path / "a.flac")], "x")
    other = pickle.loads(pickle.dumps(bank))
    assert np.array_equal(bank.cut(0, 0.37, 9000, 16000), other.cut(0, 0.37, 9000, 16000))


def test_the_first_channel_of_a_response_is_the_room(tmp_path):
    both = np.stack([np.eye(100)[3], np.eye(100)[70]], axis=1)
    soundfile.write(tmp_path / "a.wav", both, 16000, "FLOAT")
    assert np.array_equal(open_pool([row(tmp_path / "a.wav")], "x").response(0, 16000), np.eye(100)[3])


def test_a_response_of_an_hour_or_of_zeros(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.eye(1, 16000 * 12)[0], 16000)
    soundfile.write(tmp_path / "b.wav", np.zeros(100), 16000)
    bank = open_pool([row(tmp_path / "a.wav"), row(tmp_path / "b.wav", duration=0.00625)], "x")
    assert len(bank.response(0, 16000)) == LONGEST_RESPONSE_S * 16000
    assert bank.response(1, 16000) is None
    assert bank.failed == {str(tmp_path / "b.wav"): f"silent: {tmp_path / 'b.wav'} is an impulse response of zeros"}


def test_what_is_not_there_is_left_out_and_noted(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.ones(100), 16000)
    (tmp_path / "text.wav").write_text("hello")
    lost = [
        row(tmp_path / "none.wav"),
        row(tmp_path / "text.wav"),
        row(tmp_path / "gone.wav", duration=1.0),
        {"id": "x"},
    ]
    bank = open_pool([row(tmp_path / "a.wav"), *lost], "noise.jsonl")
    assert len(bank) == 1
    reasons = [said.split(":")[0] for said in bank.failed.values()]
    assert reasons == ["missing-audio", "not-audio", "missing-audio", "no-audio-filepath"]
    with pytest.raises(
        DataError, match=r"noise.jsonl: none of 4 recordings can be used: missing-audio: no file .*none"
    ):
        open_pool(lost, "noise.jsonl")
    with pytest.raises(DataError, match=r"noise\.jsonl: none of 0 recordings can be used$"):
        open_pool([], "noise.jsonl")


def test_a_row_that_says_more_than_its_file_has(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.ones(16000), 16000)
    bank = open_pool([row(tmp_path / "a.wav", duration=100.0)], "x")
    assert bank.cut(0, 0.9, 8000, 16000) is None
    assert "bad-segment" in bank.failed[str(tmp_path / "a.wav")]
