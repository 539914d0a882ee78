"""`from ds2cli import Recognizer`."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest
import soundfile

import ds2cli
from ds2cli import Recognizer
from ds2cli.errors import BadUtterance, DataError, UsageError
from tests.recognizer.test_stream import NETWORKS, write_experiment


@pytest.fixture(scope="module")
def exp(tmp_path_factory):
    return write_experiment(tmp_path_factory.mktemp("api") / "exp", NETWORKS["gru"])


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    samples = (np.random.default_rng(0).normal(size=32000) * 0.1).astype(np.float32)
    path = tmp_path_factory.mktemp("audio") / "größe.wav"
    soundfile.write(path, samples, 16000, "FLOAT")
    return path, samples


def test_a_file_and_its_samples_have_the_same_text(exp, recording):
    path, samples = recording
    recognizer = Recognizer(exp)
    found = recognizer.transcribe(path)
    assert found.text
    assert found.duration == 2.0
    assert " ".join(word["word"] for word in found.words) == found.text
    assert 0 < found.confidence <= 1
    for audio, rate in (
        (str(path), None),
        (path.read_bytes(), None),
        (samples, 16000),
        (np.stack([samples] * 2, 1), 16000),
    ):
        assert recognizer.transcribe(audio, rate) == found


def test_the_text_is_that_of_the_command(exp, recording, ds2):
    run = ds2("transcribe", exp, recording[0])
    assert run.returncode == 0, run.stderr
    assert Recognizer(exp).transcribe(recording[0]).text == run.stdout.rstrip("\n")


def test_settings_are_those_of_the_command(exp, recording):
    found = Recognizer(exp, nbest=3, timestamps=False, beam=16).transcribe(recording[0])
    assert len(found.nbest) == 3
    assert found.words is None
    with pytest.raises(UsageError, match="Recognizer: unknown setting 'beem', did you mean 'beam'"):
        Recognizer(exp, beem=16)
    with pytest.raises(UsageError, match=r"Recognizer\.stream"):
        Recognizer(exp).stream(endpoint_silence=-1)


def test_a_stream_gives_partial_and_final_results(exp, recording):
    samples = recording[1]
    stream, results = Recognizer(exp).stream(16000, endpoint_length=0), []
    for begin in range(0, len(samples), 1600):
        results += stream.advance(samples[begin : begin + 1600])
    before = len(results)
    results += stream.finish()
    assert before > 0
    assert not any(r.final for r in results[:before])
    assert results[-1].final
    assert results[-1].words


def test_threads_share_a_recognizer(exp, recording):
    recognizer, found = Recognizer(exp), []
    expected = recognizer.transcribe(recording[0])
    threads = [threading.Thread(target=lambda: found.append(recognizer.transcribe(recording[0]))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 4


def test_errors(exp, recording, tmp_path):
    recognizer = Recognizer(exp)
    with pytest.raises(BadUtterance, match="no file"):
        recognizer.transcribe(tmp_path / "none.wav")
    with pytest.raises(BadUtterance, match="NaN"):
        recognizer.transcribe(np.full(16000, np.nan, np.float32), 16000)
    with pytest.raises(BadUtterance, match="shorter than one window"):
        recognizer.transcribe(np.zeros(10, np.float32), 16000)
    with pytest.raises(UsageError, match=r"samples need their sample_rate, such as transcribe\(samples, 16000\)"):
        recognizer.transcribe(recording[1])
    with pytest.raises(UsageError, match="sample_rate only applies to samples"):
        recognizer.transcribe(recording[0], 16000)
    with pytest.raises(UsageError, match="expected int16 or float32"):
        recognizer.transcribe(np.zeros(10, np.complex64), 16000)
    for rate in (0, 16000.5):
        with pytest.raises(UsageError, match="sample_rate: expected a number of Hz"):
            recognizer.transcribe(recording[1], rate)
        with pytest.raises(UsageError, match="sample_rate: expected a number of Hz"):
            recognizer.stream(rate)
    # when it is opened
    with pytest.raises(DataError, match="no trained network found"):
        Recognizer(tmp_path / "none")


def test_settings_without_an_effect_are_refused(exp):
    with pytest.raises(UsageError, match="Recognizer: json only applies to the command ds2 transcribe"):
        Recognizer(exp, json=True)


def test_a_stream_has_the_endpoints_of_the_recognizer(exp, recording):
    samples = np.tile(recording[1], 3)
    counts = []
    for recognizer, endpoints in (
        (Recognizer(exp, endpoint_length=1.0), {}),
        (Recognizer(exp), {"endpoint_length": 1.0}),
        (Recognizer(exp), {}),
    ):
        stream = recognizer.stream(16000, partials=False, **endpoints)
        counts.append(len([*stream.advance(samples), *stream.finish()]))
    assert counts[0] == counts[1] > counts[2]


def test_a_stream_takes_one_channel_until_its_end(exp):
    stream = Recognizer(exp).stream()
    for samples in (np.zeros((10, 2), np.float32), np.zeros(10, np.int32)):
        with pytest.raises(UsageError, match=r"samples: expected int16 or float32, \(N,\)"):
            stream.advance(samples)
    assert stream.advance(np.zeros(10)) == stream.finish() == []
    for call in (stream.finish, lambda: stream.advance(np.zeros(10, np.float32))):
        with pytest.raises(UsageError, match="this stream has ended"):
            call()


@pytest.mark.parametrize("precision", ["stored", "bfloat16"])
def test_it_loads_no_torch_and_no_trainer(exp, recording, precision):
    code = (
        "import sys; from ds2cli import Recognizer; "
        "Recognizer(sys.argv[1], precision=sys.argv[3]).transcribe(sys.argv[2]); "
        "print([m for m in ('torch', 'ds2cli.train.trainer', 'ds2cli.nn', 'typer') if m in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, exp, str(recording[0]), precision], capture_output=True, text=True, check=True
    )
    assert run.stdout == "[]\n"


def test_names_of_the_package():
    assert ds2cli.Transcript.__name__ == "Transcript"
    with pytest.raises(AttributeError, match="module 'ds2cli' has no attribute 'Recogniser'"):
        _ = ds2cli.Recogniser
