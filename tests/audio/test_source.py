"""Recordings that come through pipes."""

import errno
import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ds2cli.audio import source
from ds2cli.audio.read import probe, read
from ds2cli.audio.source import read_pipe
from ds2cli.errors import BadUtterance, DataError

RATE = 16000


def wav(seconds=0.5, form="WAV"):
    data = io.BytesIO()
    soundfile.write(data, 0.1 * np.random.default_rng(1).normal(size=round(RATE * seconds)), RATE, format=form)
    return data.getvalue()


def refused(call, *arguments):
    with pytest.raises(BadUtterance) as e:
        call(*arguments)
    return str(e.value)


@pytest.mark.parametrize("form", ["WAV", "FLAC"])
def test_a_pipe_gives_the_samples_of_a_file(tmp_path, piped, form):
    # longer than the buffer of a pipe, so that it is read in several parts
    data = wav(7.0, form)
    (tmp_path / "a").write_bytes(data)
    audio = read_pipe(piped(data))
    samples, rate = read(audio)
    assert rate == RATE
    assert np.array_equal(samples, read(tmp_path / "a")[0])
    assert probe(audio, decode=False).duration_s == 7.0


def test_formats_without_a_header_are_told_by_the_name_of_the_pipe(shared_data, piped):
    path = next((shared_data / "asterisk/g722-raw").glob("*.g722"))
    assert np.array_equal(read(read_pipe(piped(path.read_bytes(), "call.g722")))[0], read(path)[0])
    assert refused(read, read_pipe(piped(path.read_bytes(), "call"))).startswith("not-audio: ")


def test_an_incomplete_recording_is_named_by_its_pipe(piped):
    path = piped(wav()[:9000], "cut.wav")
    assert refused(read, read_pipe(path)) == f"truncated-audio: {path} has 9000 bytes, its header states 16044"


def test_standard_input_is_a_pipe(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(wav())))
    assert len(read(read_pipe("-"))[0]) == RATE / 2
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert refused(read, read_pipe("-")) == "empty-file: <stdin> is empty (0 bytes)"


def test_pipes_without_an_end_and_devices_are_no_recordings(piped, monkeypatch):
    monkeypatch.setattr(source, "MAX_PIPE_BYTES", 100_000)
    assert "no end in 100000 bytes of a recording" in refused(read_pipe, piped(wav(7.0)))
    assert refused(read_pipe, "/dev/zero") == "unreadable-audio: /dev/zero: this is a device, expected a file"
    with Path("/dev/zero").open() as endless:
        monkeypatch.setattr("sys.stdin", endless)
        with pytest.raises(DataError, match="<stdin>: this is a device, expected a file or a pipe"):
            read_pipe("-")


@pytest.mark.parametrize("error", [MemoryError(), OSError(errno.ENOMEM, "Cannot allocate memory")])
def test_a_recording_from_a_pipe_that_memory_does_not_hold(monkeypatch, error):
    class Pipe(io.BytesIO):
        def read(self, size):
            if part := super().read(size):
                return part
            raise error

    monkeypatch.setattr(source.inputs, "open_bytes", lambda _: Pipe(bytes(3 << 20)))
    expected = "out-of-memory: long.wav: the recording does not fit in memory: more than 3.15 MB are needed (cut the"
    assert refused(read_pipe, "long.wav").startswith(expected)


@pytest.mark.parametrize("call", [read, probe])
def test_the_path_of_a_pipe_is_no_recording_and_it_is_not_opened(piped, call):
    path = piped(wav(), "a.wav")
    expected = f"unreadable-audio: {path}: this is a pipe, which can be read only once, expected a file (cat {path} >"
    assert refused(call, path).startswith(expected)
    # its bytes are still there
    assert read_pipe(path).data == wav()


def test_a_signal_ends_the_wait_for_a_recording(interrupted):
    with pytest.raises(SystemExit):
        read_pipe(interrupted)
