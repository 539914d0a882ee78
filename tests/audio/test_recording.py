import numpy as np
import pytest
import soundfile

from ds2cli.audio.find import find_audio
from ds2cli.audio.read import probe, read
from ds2cli.audio.recording import Recording, count_samples, parse_recording, read_samples
from ds2cli.audio.resample import resample
from ds2cli.errors import BadUtterance


def test_parse_recording():
    assert parse_recording({"id": "a"}) is None
    assert parse_recording({"audio_filepath": "a.wav"}) == Recording("a.wav")
    row = {"audio_filepath": "a.wav", "offset": 1.5, "duration": 2.0, "speed": 0.9, "sample_rate": 8000}
    assert parse_recording(row) == Recording("a.wav", 1.5, 2.0, 0.9, 8000)
    assert parse_recording(row).file_duration_s == pytest.approx(1.8)


def test_a_segment_of_a_speed_copy_is_read_at_the_speed_of_the_file(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.arange(32000) / 32000, 16000, "FLOAT")
    got = read_samples(Recording(str(tmp_path / "a.wav"), 0.5, 0.5, 2.0), 16000)
    assert len(got) == 8000
    assert got[4000] == pytest.approx(0.25 + 0.25, abs=1e-3)


def test_a_file_shorter_than_its_row_states_is_truncated(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.ones(8000), 16000)
    with pytest.raises(BadUtterance, match=r"truncated-audio: .* has 0.50 s, the row states 1.00 s"):
        read_samples(Recording(str(tmp_path / "a.wav"), duration_s=1.0), 16000)


@pytest.mark.long
@pytest.mark.parametrize("stated", [True, False])
@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 32000, 44100, 48000])
def test_count_samples_of_a_row(rate, stated):
    for size in [*range(200, 4000, 37), 123457, 999_999]:
        for speed in (0.9, 1.0, 1.1):
            got = len(resample(np.zeros(size, np.float32), rate * speed, 16000))
            recording = Recording("x", duration_s=round(size / rate, 6), rate=rate if stated else None)
            counted = count_samples(recording, 16000, speed)
            assert counted == got or (counted == got + 1 and not stated and rate % 11025 == 0)
    assert count_samples(Recording("x"), 16000) is None


def test_count_samples_of_a_speed_copy():
    for size in range(1000, 3000, 7):
        recording = Recording("x", duration_s=round(size / 16000 / 0.9, 6), speed=0.9, rate=16000)
        assert count_samples(recording, 16000, 1.1) == len(
            resample(np.zeros(size, np.float32), 16000 * 0.9 * 1.1, 16000)
        )


@pytest.mark.long
@pytest.mark.parametrize("stated", [True, False])
def test_count_samples_of_real_recordings(shared_data, stated):
    files = [recording.path for recording in find_audio(shared_data)[0]][::7]
    assert len({p.suffix for p in files}) >= 4
    for path in files:
        info = probe(path)
        row = {"audio_filepath": str(path), "duration": round(info.duration_s, 6)}
        recording = parse_recording({**row, "sample_rate": info.sample_rate} if stated else row)
        got = read_samples(recording, 16000)
        assert count_samples(recording, 16000) == len(got), path
        assert info.sample_rate != 16000 or np.array_equal(got, read(path)[0])


@pytest.mark.parametrize(("size", "is_read"), [(14400, True), (14399, False)])
def test_a_file_may_be_a_tenth_shorter_than_its_row_states(tmp_path, size, is_read):
    soundfile.write(tmp_path / "a.wav", np.ones(size), 16000)
    recording = Recording(str(tmp_path / "a.wav"), duration_s=0.5, speed=2.0)
    if is_read:
        assert len(read_samples(recording, 16000, factor=0.5)) == size
    else:
        with pytest.raises(BadUtterance, match="truncated-audio"):
            read_samples(recording, 16000)


def test_without_an_offset_the_whole_file_is_read(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.ones(16000), 16000)
    assert len(read_samples(Recording(str(tmp_path / "a.wav"), duration_s=0.5), 16000)) == 16000


def test_a_channel_at_another_speed_and_rate(tmp_path):
    ramp = np.arange(16000) / 16000
    soundfile.write(tmp_path / "a.wav", np.stack([ramp, -ramp], 1), 16000, "FLOAT")
    got = read_samples(Recording(str(tmp_path / "a.wav"), speed=1.25), 8000, factor=2.0, channel=1)
    assert len(got) == 3200
    assert got[1600] == pytest.approx(-0.5, abs=1e-2)


def test_the_channel_of_a_row_precedes_that_of_the_command(tmp_path):
    samples = np.stack([np.full(800, 0.25), np.full(800, -0.5)], axis=1)
    soundfile.write(tmp_path / "two.wav", samples, 8000, subtype="FLOAT")
    row = {"audio_filepath": str(tmp_path / "two.wav")}
    assert read_samples(parse_recording({**row, "channel": 1}), 8000, channel=0)[0] == -0.5
    assert read_samples(parse_recording(row), 8000, channel=0)[0] == 0.25
    assert read_samples(parse_recording(row), 8000)[0] == -0.125
