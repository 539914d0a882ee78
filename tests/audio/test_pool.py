import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ds2cli.audio.pool import MAX_RESPONSE_S, open_pool
from ds2cli.audio.read import read
from ds2cli.errors import DataError


def row(path, **fields):
    return {"id": path.stem, "audio_filepath": str(path), **fields}


def tone(hertz, rate, seconds):
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_excerpts_are_resampled_and_mixed_to_one_channel(tmp_path, rate):
    stereo = np.stack([tone(500, rate, 2), tone(500, rate, 2)], axis=1)
    soundfile.write(tmp_path / "a.wav", stereo, rate, "FLOAT")
    pool = open_pool([row(tmp_path / "a.wav")], "x")
    for position in (0.0, 0.3, 0.999):
        got = pool.read_excerpt(0, position, 8000, 16000)
        assert got.shape == (8000,)
        assert np.argmax(np.abs(np.fft.rfft(got * np.hanning(8000)))) == 250
    assert pool.read_excerpt(0, 0.9, 10**6, 16000).shape == (32000,), "the whole recording"


def test_an_excerpt_stays_within_its_segment(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.arange(16000) / 16000, 16000, "FLOAT")
    pool = open_pool([row(tmp_path / "a.wav", offset=0.25, duration=0.5)], "x")
    for position in np.linspace(0, 0.9999, 40):
        got = 16000 * pool.read_excerpt(0, position, 1000, 16000)
        assert len(got) == 1000
        assert got[0] >= 4000
        assert got[-1] < 12000


def test_an_excerpt_of_a_compressed_file_equals_that_of_the_decoded_file(shared_data):
    path = shared_data / "noise/kitchen.flac"
    pool, recording = open_pool([row(path)], "x"), read(path)[0]
    for position in np.linspace(0, 0.99, 9):
        got = pool.read_excerpt(0, position, 30000, 16000)
        start = round(position * (len(recording) - 30001))
        assert any(np.array_equal(got, recording[s : s + 30000]) for s in (start - 1, start, start + 1))


def test_a_pickled_pool_gives_the_same_excerpt(tmp_path):
    soundfile.write(tmp_path / "a.flac", tone(300, 22050, 3), 22050)
    pool = open_pool([row(tmp_path / "a.flac")], "x")
    other = pickle.loads(pickle.dumps(pool))
    assert np.array_equal(pool.read_excerpt(0, 0.37, 9000, 16000), other.read_excerpt(0, 0.37, 9000, 16000))


def test_an_impulse_response_is_the_first_channel(tmp_path):
    stereo = np.stack([np.eye(100)[3], np.eye(100)[70]], axis=1)
    soundfile.write(tmp_path / "a.wav", stereo, 16000, "FLOAT")
    assert np.array_equal(open_pool([row(tmp_path / "a.wav")], "x").read_response(0, 16000), np.eye(100)[3])


def test_long_impulse_responses_are_cut_and_silent_ones_fail(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.eye(1, 16000 * 12)[0], 16000)
    soundfile.write(tmp_path / "b.wav", np.zeros(100), 16000)
    pool = open_pool([row(tmp_path / "a.wav"), row(tmp_path / "b.wav", duration=0.00625)], "x")
    assert len(pool.read_response(0, 16000)) == MAX_RESPONSE_S * 16000
    assert pool.read_response(1, 16000) is None
    assert pool.failures == {
        str(tmp_path / "b.wav"): f"silent: {tmp_path / 'b.wav'}: this impulse response is all zeros"
    }


def test_a_pipe_which_can_be_read_only_once_is_entered_in_failures(tmp_path, piped):
    soundfile.write(tmp_path / "a.wav", np.ones(100), 16000)
    pipes = [piped(b"", "a"), piped(b"", "b")]
    pool = open_pool([row(tmp_path / "a.wav"), row(Path(pipes[0])), row(Path(pipes[1]), duration=1.0)], "x")
    assert len(pool) == 1 and [*pool.failures] == pipes
    assert all("this is a pipe, which can be read only once" in failure for failure in pool.failures.values())


def test_missing_and_broken_recordings_are_entered_in_failures(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.ones(100), 16000)
    soundfile.write(tmp_path / "zero.wav", np.ones(100), 16000)
    (tmp_path / "text.wav").write_text("hello")
    unusable = [
        row(tmp_path / "none.wav"),
        row(tmp_path / "text.wav"),
        row(tmp_path / "missing.wav", duration=1.0),
        {"id": "x"},
        row(tmp_path / "zero.wav", duration=0.0),
    ]
    pool = open_pool([row(tmp_path / "a.wav"), *unusable], "noise.jsonl")
    assert len(pool) == 1
    reasons = [failure.split(":")[0] for failure in pool.failures.values()]
    assert reasons == ["missing-audio", "not-audio", "missing-audio", "no-audio-filepath", "no-samples"]
    with pytest.raises(
        DataError, match=r"noise.jsonl: none of 5 recordings can be used: missing-audio: no file .*none"
    ):
        open_pool(unusable, "noise.jsonl")
    with pytest.raises(DataError, match=r"noise\.jsonl: the manifest is empty, expected at least one recording$"):
        open_pool([], "noise.jsonl")


def test_an_excerpt_past_the_end_of_the_file_fails(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.ones(16000), 16000)
    pool = open_pool([row(tmp_path / "a.wav", duration=100.0)], "x")
    assert pool.read_excerpt(0, 0.9, 8000, 16000) is None
    assert "bad-segment" in pool.failures[str(tmp_path / "a.wav")]


def test_an_impulse_response_has_the_rate_of_the_speech(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.eye(1, 800, 200)[0], 8000, "FLOAT")
    pool = open_pool([row(tmp_path / "a.wav")], "x")
    for rate in (16000, 8000, 16000):
        response = pool.read_response(0, rate)
        assert (len(response), np.abs(response).argmax()) == (rate // 10, rate // 40)
        assert not response.flags.writeable, "it is kept for the next utterance"


def test_an_impulse_response_may_be_a_part_of_a_file(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.eye(1, 16000, 9000)[0], 16000, "FLOAT")
    response = open_pool([row(tmp_path / "a.wav", offset=0.5, duration=0.25)], "x").read_response(0, 16000)
    assert (len(response), response.argmax()) == (4000, 1000)


def test_a_copy_at_another_speed_is_drawn_whole_and_at_the_speed_of_its_file(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.arange(16000) / 16000, 16000, "FLOAT")
    pool = open_pool([row(tmp_path / "a.wav", duration=0.5, speed=2.0)], "x")
    assert len(pool.read_excerpt(0, 0.5, 10**6, 16000)) == 16000
    assert pool.read_excerpt(0, 0.9999, 1000, 16000)[0] > 0.9


def test_a_segment_without_a_duration_lasts_to_the_end_of_its_file(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.arange(16000) / 16000, 16000, "FLOAT")
    pool = open_pool([row(tmp_path / "a.wav", offset=0.5)], "x")
    assert len(pool.read_excerpt(0, 0.5, 10**6, 16000)) == 8000
    assert pool.read_excerpt(0, 0.9999, 1000, 16000)[0] > 0.9
