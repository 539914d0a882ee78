"""The lengths of segments are those of `read`, and no file is decoded once per segment."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile

from ds2cli.audio import lengths
from ds2cli.audio.lengths import Lengths
from ds2cli.audio.read import read
from ds2cli.errors import BadUtterance

RATE = 16000
SECONDS = 12.34567


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lengths")
    samples = 0.1 * np.random.default_rng(0).normal(size=(round(SECONDS * RATE), 2))
    for ending in ("wav", "flac", "ogg", "mp3"):
        soundfile.write(folder / f"a.{ending}", samples, RATE)
    soundfile.write(folder / "a.sph", samples, RATE, format="NIST")
    return folder


@pytest.mark.parametrize("decode", [True, False])
@pytest.mark.parametrize("ending", ["wav", "flac", "ogg", "mp3", "sph"])
def test_lengths_are_those_of_what_is_read(files, ending, decode):
    found = Lengths(decode=decode)
    path = str(files / f"a.{ending}")
    whole = len(read(path)[0])
    assert found.find({"audio_filepath": path}) == (whole / RATE, RATE)
    for offset, duration in ((0.0, 1.0), (0.33333, 0.12345), (5, 3.000031), (11.5, 0.9), (2.5, None)):
        segment = {"audio_filepath": path, "offset": offset, "channel": 1}
        segment |= {} if duration is None else {"duration": duration}
        samples, _ = read(path, offset_s=offset, duration_s=duration, channel=1)
        assert found.find(segment) == (len(samples) / RATE, RATE)
    for offset, duration, reason in ((20, 1, "bad-segment"), (11, 3, "truncated-audio")):
        with pytest.raises(BadUtterance, match=reason):
            found.find({"audio_filepath": path, "offset": offset, "duration": duration})
    for row in ({}, {"offset": 1.0, "duration": 1.0}):
        with pytest.raises(BadUtterance, match="no-such-channel"):
            found.find({"audio_filepath": path, "channel": 2, **row})
    with pytest.raises(BadUtterance, match=r"truncated-audio: .* has 12.3. s, expected 20.00 s"):
        found.find({"audio_filepath": path, "duration": 20.0})


def test_an_mp3_is_decoded_once_for_all_its_segments(files, monkeypatch):
    opened, open_blocks = [], lengths.open_blocks
    monkeypatch.setattr(lengths, "open_blocks", lambda path: opened.append(path) or open_blocks(path))
    monkeypatch.setattr(lengths, "read", lambda *_, **__: pytest.fail("read by segments"))
    found = Lengths(decode=True)
    rows = [{"audio_filepath": str(files / "a.mp3"), "offset": i / 100, "duration": 1.0} for i in range(1000)]
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(found.find, rows)) == {(1.0, RATE)}
    assert len(opened) == 1


def test_an_error_is_found_once_and_raised_for_every_segment(tmp_path, monkeypatch):
    probed, probe = [], lengths.probe
    monkeypatch.setattr(lengths, "probe", lambda path, **settings: probed.append(path) or probe(path, **settings))
    found, path = Lengths(decode=False), str(tmp_path / "none.mp3")
    for offset in range(3):
        with pytest.raises(BadUtterance, match="missing-audio"):
            found.find({"audio_filepath": path, "offset": float(offset)})
    assert len(probed) == 1


def test_the_segments_of_a_broken_mp3_are_read_one_by_one(files, tmp_path):
    data = bytearray((files / "a.mp3").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 3000] = b"\0" * 3000
    (tmp_path / "broken.mp3").write_bytes(data)
    path, found = str(tmp_path / "broken.mp3"), Lengths(decode=True)
    assert found.find({"audio_filepath": path, "offset": 1.0, "duration": 2.0}) == (2.0, RATE)


def test_threads_wait_for_the_one_that_looks():
    started, looks = threading.Event(), []

    def look():
        looks.append(started.wait(5))

    once = lengths._Once(look)
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(once.value) for _ in range(3)]
        started.set()
        assert [future.result() for future in waiting] == [None] * 3
    assert looks == [True]
