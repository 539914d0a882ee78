"""Rows against recordings of known duration, rate and samples."""

import numpy as np
import pytest
import soundfile

from ds2cli.audio.recording import Recording, parse_recording
from ds2cli.checks.audio import AudioChecks, check_recording, check_samples, clipped_share, hash_samples

RATE = 16000


def speech_like(seconds, seed=0, rate=RATE):
    rng = np.random.default_rng(seed)
    x = np.cumsum(rng.normal(size=int(seconds * rate)))
    return (0.1 * np.diff(x, prepend=0) / 3).clip(-0.9, 0.9).astype(np.float32)


@pytest.fixture
def clip(tmp_path):
    soundfile.write(tmp_path / "a.wav", speech_like(2.0), RATE)
    return str(tmp_path / "a.wav")


def kinds(recording, **settings):
    return [kind for kind, _ in check_recording(recording, AudioChecks(**settings))[0]]


@pytest.mark.parametrize("decode", [True, False])
@pytest.mark.parametrize(
    "fields, expected",
    [
        ({"duration": 2.0}, []),
        ({"duration": 2.09}, []),
        ({}, []),
        ({"duration": 99.0}, ["wrong-duration"]),
        ({"duration": 1.5}, ["wrong-duration"]),
        ({"duration": 2.0, "sample_rate": RATE}, []),
        ({"duration": 2.0, "sample_rate": 8000}, ["wrong-rate"]),
        ({"duration": 0.5, "offset": 1.0}, []),
        ({"offset": 1.0}, []),
        ({"duration": 1.0, "offset": 1.5}, ["bad-segment"]),
        ({"duration": 1.0, "offset": 500.0}, ["bad-segment"]),
        ({"offset": 2.0}, ["bad-segment"]),
        ({"duration": 2.0, "channel": 0}, []),
        ({"duration": 2.0, "channel": 3}, ["no-such-channel"]),
        ({"duration": 1.0, "speed": 2.0}, []),
        ({"duration": 2.0, "speed": 2.0}, ["wrong-duration"]),
        ({"duration": 0.5, "speed": 2.0, "offset": 1.0}, []),
        ({"duration": 99.0, "sample_rate": 8000}, ["wrong-duration", "wrong-rate"]),
    ],
)
def test_what_a_row_states_is_compared_with_its_recording(clip, fields, expected, decode):
    assert kinds(parse_recording({"audio_filepath": clip, **fields}), decode=decode) == expected


@pytest.mark.parametrize("decode", [True, False])
@pytest.mark.parametrize(
    "data, expected", [(None, "missing-audio"), (b"", "empty-file"), (b"hello, world, this is text", "not-audio")]
)
def test_broken_files_have_their_reason(tmp_path, data, expected, decode):
    if data is not None:
        (tmp_path / "x.wav").write_bytes(data)
    assert kinds(Recording(str(tmp_path / "x.wav"), duration_s=1.0), decode=decode) == [expected]


@pytest.mark.parametrize("ending", ["wav", "flac"])
def test_a_truncated_recording_is_found(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    soundfile.write(path, speech_like(2.0), RATE)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert kinds(Recording(str(path), duration_s=2.0)) in (["truncated-audio"], ["unreadable-audio"])


def test_samples_that_are_not_numbers_are_found(tmp_path):
    x = speech_like(1.0)
    x[100] = np.nan
    soundfile.write(tmp_path / "n.wav", x, RATE, subtype="FLOAT")
    assert kinds(Recording(str(tmp_path / "n.wav"), duration_s=1.0)) == ["not-a-number"]


@pytest.mark.parametrize(
    "change, expected",
    [
        (lambda x: x, []),
        (lambda x: 0 * x, ["silence"]),
        (lambda x: 1e-4 * x, ["silence"]),
        (lambda x: x + 0.05, ["dc-offset"]),
        (lambda x: (20 * x).clip(-1, 1), ["clipping"]),
        # clipped by a recorder, then made quieter
        (lambda x: 0.3 * (20 * x).clip(-1, 1), ["clipping"]),
        (lambda x: (20 * x).clip(-1, 0.2), ["dc-offset", "clipping"]),
    ],
)
def test_silence_clipping_and_dc_are_measured(change, expected):
    assert [kind for kind, _ in check_samples(change(speech_like(1.0)).astype(np.float32), AudioChecks())] == expected


def test_the_clipped_share_is_known_by_construction():
    x = 0.1 * np.sin(np.arange(1000) / 3).astype(np.float32)
    assert clipped_share(x) == 0
    x[100:110] = 0.9
    x[200:202] = 0.9
    x[300:303] = -0.9
    assert clipped_share(x) == pytest.approx(0.013)
    sine = np.sin(2 * np.pi * 100 * np.arange(RATE) / RATE).astype(np.float32)
    assert clipped_share(0.8 * sine) < 0.03


def test_the_same_samples_have_one_hash_whatever_file_they_are_in(tmp_path):
    x = np.round(speech_like(2.0) * 32768) / 32768
    soundfile.write(tmp_path / "a.wav", x, RATE)
    soundfile.write(tmp_path / "b.flac", x, RATE)
    soundfile.write(tmp_path / "long.wav", np.concatenate([x[:800], x]), RATE)
    digests = {
        check_recording(recording, AudioChecks())[1]
        for recording in (
            Recording(str(tmp_path / "a.wav")),
            Recording(str(tmp_path / "b.flac")),
            Recording(str(tmp_path / "long.wav"), offset_s=0.05, duration_s=2.0),
        )
    }
    assert len(digests) == 1 and digests.pop() > 0
    assert hash_samples(x, 8000) != hash_samples(x, RATE)
    assert check_recording(Recording(str(tmp_path / "a.wav")), AudioChecks(decode=False))[1] == 0


@pytest.mark.long
def test_real_recordings_are_healthy(shared_data):
    files = [
        *sorted((shared_data / "asterisk" / "en_US_f_Allison").glob("*.flac")),
        *(shared_data / "LJSpeech-1.1").rglob("*.wav"),
    ]
    for file in files:
        info = soundfile.info(file)
        recording = Recording(str(file), duration_s=info.duration, rate=info.samplerate)
        assert check_recording(recording, AudioChecks())[0] == [], file
