"""Recordings decoded block by block."""

from __future__ import annotations

import os
import struct
import threading
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from ds2cli.audio import stream
from ds2cli.audio.live import LiveAudio, open_pipe
from ds2cli.audio.read import read
from ds2cli.audio.resample import resample
from ds2cli.audio.source import PipedAudio
from ds2cli.audio.stream import lasts_longer, open_blocks, resample_blocks
from ds2cli.errors import BadUtterance


def blocks_of(source, channel=None):
    with open_blocks(source, channel) as (rate, duration_s, samples):
        parts = [*samples]
    return np.concatenate(parts), rate, duration_s


def noise(seconds, rate=16000, channels=1, seed=0):
    return (0.1 * np.random.default_rng(seed).normal(size=(round(seconds * rate), channels))).astype(np.float32)


@pytest.mark.parametrize(("name", "subtype"), [("a.wav", "PCM_16"), ("a.wav", "FLOAT"), ("a.flac", "PCM_24")])
@pytest.mark.parametrize("block", [1, 1000, 1 << 16])
def test_samples_are_those_of_the_whole(tmp_path, monkeypatch, name, subtype, block):
    monkeypatch.setattr(stream, "BLOCK", block)
    path = str(tmp_path / name)
    soundfile.write(path, noise(0.3, channels=2), 16000, subtype=subtype)
    for channel in (None, 0, 1):
        samples, rate, duration_s = blocks_of(path, channel)
        np.testing.assert_array_equal(samples, read(path, channel=channel)[0])
        assert (rate, duration_s) == (16000, 0.3)


def encode(path, seconds, form, codec, rate=16000):
    with av.open(str(path), "w", format=form) as out:
        encoder = out.add_stream(codec, rate=rate, layout="mono")
        data = (noise(seconds, rate)[:, 0] * 20000).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(data[None], format="s16", layout="mono")
        frame.sample_rate = rate
        resampler = av.AudioResampler(encoder.format, "mono", rate, frame_size=encoder.frame_size or None)
        for part in (*resampler.resample(frame), *resampler.resample(None)):
            out.mux(encoder.encode(part))
        out.mux(encoder.encode(None))
    return str(path)


@pytest.mark.parametrize(
    ("form", "codec", "rate"),
    [("mp3", "libmp3lame", 16000), ("g722", "g722", 16000), ("ipod", "aac", 44100), ("webm", "libopus", 48000)],
)
def test_formats_of_ffmpeg_are_those_of_the_whole(tmp_path, form, codec, rate):
    path = encode(tmp_path / f"a.{form.replace('ipod', 'm4a')}", 3, form, codec, rate)
    samples, found, _ = blocks_of(path)
    whole, expected = read(path)
    np.testing.assert_array_equal(samples, whole)
    assert found == expected
    assert not lasts_longer(path, 3.2) and lasts_longer(path, 2.8)


def reasons(source, channel=None):
    found = []
    for work in (lambda: read(source, channel=channel), lambda: blocks_of(source, channel)):
        with pytest.raises(BadUtterance) as error:
            work()
        found.append(error.value.reason)
    return found


def test_errors_are_those_of_the_whole(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(5), 16000)
    whole = path.read_bytes()
    for name, data, channel in (
        ("cut.wav", whole[:-1000], None),
        ("empty.wav", b"", None),
        ("header.wav", whole[:44].replace(struct.pack("<I", len(whole) - 8), struct.pack("<I", 36)), None),
        ("text.wav", b"this is a text\n" * 20, None),
        ("channel.wav", whole, 1),
    ):
        (tmp_path / name).write_bytes(data)
        first, second = reasons(str(tmp_path / name), channel)
        assert first == second, name
    broken = noise(5)
    broken[70000] = np.nan
    soundfile.write(path, broken, 16000, subtype="FLOAT")
    assert reasons(str(path)) == ["not-a-number"] * 2
    assert reasons(str(tmp_path / "missing.wav")) == ["missing-audio"] * 2
    soundfile.write(tmp_path / "a.flac", noise(20), 16000)
    data = (tmp_path / "a.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(data[: len(data) // 2])
    assert reasons(str(tmp_path / "cut.flac")) == ["truncated-audio"] * 2
    m4a = encode(tmp_path / "a.webm", 5, "webm", "libopus", 48000)
    with Path(m4a).open("rb") as f:
        data = f.read()
    (tmp_path / "cut.webm").write_bytes(data[: len(data) // 2])
    samples = blocks_of(str(tmp_path / "cut.webm"))[0]
    np.testing.assert_array_equal(samples, read(str(tmp_path / "cut.webm"))[0])


@pytest.mark.parametrize("rates", [(8000, 16000), (44100, 16000), (11025, 8000), (16000, 16000), (48000, 16000)])
def test_resampling_in_blocks_is_that_of_the_whole(rates):
    for count in (1, 7, 20000):
        samples = noise(count / 16000)[:, 0]
        for size in (1, 997, 10**6) if count < 100 else (997, 10**6):
            parts = [*resample_blocks((samples[i : i + size] for i in range(0, count, size)), *rates)]
            np.testing.assert_array_equal(np.concatenate(parts), resample(samples, *rates))


def test_the_length_is_known_by_the_header_or_the_packets(tmp_path):
    for name in ("a.wav", "a.flac", "a.ogg"):
        path = str(tmp_path / name)
        soundfile.write(path, noise(2), 16000)
        assert lasts_longer(path, 1.99) and not lasts_longer(path, 2)
    (tmp_path / "bad.wav").write_text("text")
    assert not lasts_longer(str(tmp_path / "bad.wav"), 1) and not lasts_longer(str(tmp_path / "none.wav"), 1)
    # a WAV whose header leaves the length open
    data = bytearray((tmp_path / "a.wav").read_bytes())
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"
    (tmp_path / "open.wav").write_bytes(data)
    assert lasts_longer(str(tmp_path / "open.wav"), 1.9) and not lasts_longer(str(tmp_path / "open.wav"), 2.1)
    np.testing.assert_array_equal(blocks_of(str(tmp_path / "open.wav"))[0], read(str(tmp_path / "a.wav"))[0])


def with_sizes(data, riff, size):
    """A WAV file of 44 bytes of header with other sizes in it."""
    return data[:4] + struct.pack("<I", riff) + data[8:40] + struct.pack("<I", size) + data[44:]


@pytest.mark.parametrize("riff", [0, 0x80000023, 0xFFFFFFFF])
def test_wav_of_open_length_is_read_as_it_comes(tmp_path, piped, riff):
    """As arecord and FFmpeg write it to a pipe."""
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(3, channels=2), 16000)
    pipe = piped(with_sizes(path.read_bytes(), riff, max(0, riff - 36)))
    audio = open_pipe(pipe, None, threading.Event())
    assert isinstance(audio, LiveAudio) and audio == pipe and audio.stated is None and lasts_longer(audio, 1000)
    np.testing.assert_array_equal(blocks_of(audio)[0], read(str(path))[0])


@pytest.mark.parametrize(
    ("form", "codec", "rate", "is_live"),
    [("mp3", "libmp3lame", 16000, True), ("ogg", "libopus", 48000, True), ("webm", "libopus", 48000, True),
     ("flac", "flac", 16000, True), ("ipod", "aac", 44100, False), ("g722", "g722", 16000, False)],
)  # fmt: skip
def test_formats_from_a_pipe(tmp_path, piped, form, codec, rate, is_live):
    path = encode(tmp_path / f"a.{form}", 3, form, codec, rate)
    with Path(path).open("rb") as f:
        pipe = piped(f.read(), f"pipe.{form}")
    audio = open_pipe(pipe, None, threading.Event())
    assert isinstance(audio, LiveAudio if is_live else PipedAudio)
    samples, whole = blocks_of(audio)[0], read(path)[0]
    assert len(samples) == pytest.approx(len(whole), abs=rate / 20)
    # libsndfile decodes files of Ogg, and the end of an MP3 stream is padded where the encoder says so only in a file
    if form != "ogg":
        np.testing.assert_allclose(samples[: len(whole)], whole[: len(samples)], atol=1e-4)


def test_raw_samples(piped):
    data = (noise(1)[:, 0] * 30000).astype("<i2")
    audio = open_pipe(piped(data.tobytes() + b"x"), 8000, threading.Event())
    samples, rate, _ = blocks_of(audio)
    np.testing.assert_array_equal(samples, data / np.float32(32768))
    assert rate == 8000
    with pytest.raises(BadUtterance, match="no-samples"):
        blocks_of(open_pipe(piped(b"", "empty"), 8000, threading.Event()))


def test_a_long_wav_that_ends_early_is_truncated(tmp_path, piped, monkeypatch):
    monkeypatch.setattr("ds2cli.audio.live.WHOLE_BYTES", 1000)
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(3), 16000)
    data = path.read_bytes()
    audio = open_pipe(piped(data), None, threading.Event())
    assert isinstance(audio, LiveAudio) and audio.stated == len(data)
    np.testing.assert_array_equal(blocks_of(audio)[0], read(str(path))[0])
    with pytest.raises(BadUtterance, match="truncated-audio"):
        blocks_of(open_pipe(piped(data[:-1000], "cut"), None, threading.Event()))


def test_a_stream_ends_when_it_is_told_to(tmp_path):
    """As with Ctrl-C: what came so far is decoded."""
    path, ended = str(tmp_path / "pipe"), threading.Event()
    os.mkfifo(path)
    writer = os.open(path, os.O_RDWR)
    os.write(writer, np.full(1000, 16384, "<i2").tobytes())
    audio = open_pipe(path, 16000, ended)
    threading.Timer(0.3, ended.set).start()
    np.testing.assert_array_equal(blocks_of(audio)[0], np.full(1000, 0.5, np.float32))
    audio.close()
    os.close(writer)


def test_text_in_a_pipe_is_no_recording(piped):
    audio = open_pipe(piped(b"ID3 not at all" * 100), None, threading.Event())
    with pytest.raises(BadUtterance):
        blocks_of(audio)
