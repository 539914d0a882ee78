"""Transcription of a stream while it is made, with a small network: the stage, and the command on a real terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tone_network import FEATURES, RATE, VOCAB, dump_tone_network, tones

from ds2cli.config.decode import TranscribeConfig
from ds2cli.config.model import ModelConfig
from ds2cli.errors import BadUtterance, UsageError
from ds2cli.nn.checkpoint import dump_model
from ds2cli.nn.models.ds2 import DeepSpeech2
from ds2cli.recognizer.experiment import Experiment
from ds2cli.runtime.file import BEST
from ds2cli.search.beam import BeamSearch
from ds2cli.search.greedy import GreedySearch
from ds2cli.stages import live

ROOT = Path(__file__).parents[2]
WORDS = ["ab", "b", "aba", "ba", "a"]
TEXT = " ".join(WORDS)


@pytest.fixture(scope="module")
def exp(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exp")
    (folder / BEST).write_bytes(dump_tone_network(bidirectional=False))
    return str(folder)


def pcm(text):
    return (tones(text) * 32767).astype("<i2").tobytes()


def wav(text, size=0x7FFFFFFF):
    head = struct.pack("<IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    riff = struct.pack("<I", min(36 + size, 0xFFFFFFFF))
    return b"RIFF" + riff + b"WAVEfmt " + head + b"data" + struct.pack("<I", size) + pcm(text)


def run(exp, path, ended=None, search=None, **settings):
    """All results, the row and the warnings."""
    config = TranscribeConfig(live=True, **{"endpoint_silence": 0.5, "confidence_scale": 1.0, **settings})
    row, warnings = {"id": "a", "audio_filepath": str(path)}, []
    experiment = Experiment(exp, device="cpu", avoid_torch=True)
    search = search or BeamSearch.build(VOCAB)
    return list(live.run(config, row, experiment, search, warnings.append, ended)), row, warnings


def finals(results):
    return [r.text for r in results if r.final]


@pytest.mark.parametrize("search", [BeamSearch.build(VOCAB, beam=8), GreedySearch(VOCAB)], ids=["beam", "greedy"])
def test_utterances_end_after_silence_and_partial_texts_grow(exp, tmp_path, search):
    soundfile.write(tmp_path / "a.wav", tones(TEXT), RATE)
    results, row, warnings = run(exp, tmp_path / "a.wav", search=search, timestamps=True)
    assert finals(results) == WORDS and not warnings
    # what is shown before each final text begins with none of it and ends with all of it
    before = []
    for result in results:
        if not result.final:
            before.append(result.text)
            continue
        assert before[-1] == result.text and all(result.text.startswith(text) for text in before)
        before = []
    assert row["pred_text"] == TEXT and row["duration"] == round(len(tones(TEXT)) / RATE, 6)
    assert [s["text"] for s in row["segments"]] == WORDS == [w["word"] for w in row["pred_words"]]
    start_s = 0.8
    for word, segment in zip(WORDS, row["segments"], strict=True):
        # the sound of a letter is 0.2 s, and 0.1 s lie between two
        assert segment["start"] == pytest.approx(start_s, abs=0.03)
        assert segment["end"] == pytest.approx(start_s + 0.3 * len(word) - 0.1, abs=0.03)
        start_s += 0.3 * len(word) + 0.7
    assert [w["start"] for w in row["pred_words"]] == pytest.approx([s["start"] for s in row["segments"]], abs=0.05)


@pytest.mark.parametrize(
    "data", [wav(TEXT), wav(TEXT, len(pcm(TEXT))), pcm(TEXT)], ids=["open WAV", "WAV", "no header"]
)
def test_a_pipe_gives_the_results_of_a_file(exp, tmp_path, piped, data):
    soundfile.write(tmp_path / "a.wav", tones(TEXT), RATE)
    expected, row, _ = run(exp, tmp_path / "a.wav")
    results, other, warnings = run(exp, piped(data))
    assert [r for r in results if r.final] == [r for r in expected if r.final]
    assert {**other, "audio_filepath": ""} == {**row, "audio_filepath": ""}
    assert [("has no header: taken as 16-bit mono samples of 16000 Hz" in w) for w in warnings] == (
        [True] if data == pcm(TEXT) else []
    )


def test_the_rate_of_samples_without_a_header_can_be_given(exp, piped):
    half = tones("ab b", 8000)
    results, _, warnings = run(exp, piped((half * 32767).astype("<i2").tobytes()), raw_rate=8000)
    # an 8 kHz recording has no tone of 4 kHz
    assert finals(results) == ["a"]
    assert [w.partition(": ")[2] for w in warnings] == [
        "this stream is 8 kHz; the training recordings were 16 kHz: expect many more errors."
    ]


def test_results_come_before_the_end(exp, tmp_path):
    """The writer waits for the first final result before it writes on, although a WAV header states the length."""
    path, first = tmp_path / "pipe", threading.Event()
    os.mkfifo(path)
    data = wav(TEXT, len(pcm(TEXT)))

    def write():
        with path.open("wb") as f:
            f.write(data[: 44 + 2 * RATE * 4])
            f.flush()
            assert first.wait(60)
            f.write(data[44 + 2 * RATE * 4 :])

    writer = threading.Thread(target=write)
    writer.start()
    config = TranscribeConfig(live=True, endpoint_silence=0.5)
    row = {"id": "a", "audio_filepath": str(path)}
    found = []
    for result in live.run(config, row, Experiment(exp, avoid_torch=True), GreedySearch(VOCAB), found.append):
        if result.final:
            first.set()
            found.append(result.text)
    writer.join()
    assert found == WORDS


def test_other_rules(exp, tmp_path):
    soundfile.write(tmp_path / "a.wav", tones(TEXT), RATE)
    assert finals(run(exp, tmp_path / "a.wav", endpoint_silence=0.0, endpoint_length=0.0)[0]) == ["".join(WORDS)]
    assert finals(run(exp, tmp_path / "a.wav", endpoint_silence=0.06)[0]) == [*"".join(WORDS)]
    assert "".join(finals(run(exp, tmp_path / "a.wav", endpoint_silence=0.0, endpoint_length=3.0)[0])) == "".join(WORDS)


def test_partials_come_as_often_as_asked_for(exp, tmp_path):
    soundfile.write(tmp_path / "a.wav", tones("a"), RATE)
    ends = [r.end_s for r in run(exp, tmp_path / "a.wav", partials=0.5)[0] if not r.final]
    assert ends and all(end % 0.5 < 0.04 or end % 0.5 > 0.46 for end in ends)


def test_silence_and_what_cannot_be_read(exp, tmp_path, piped):
    soundfile.write(tmp_path / "a.wav", np.zeros(3 * RATE), RATE)
    results, row, _ = run(exp, tmp_path / "a.wav", timestamps=True)
    assert results == [] and (row["pred_text"], row["segments"], row["duration"]) == ("", [], 3.0)
    with pytest.raises(BadUtterance, match="is empty"):
        run(exp, piped(b""))
    with pytest.raises(BadUtterance, match="no file"):
        run(exp, tmp_path / "missing.wav")


def test_a_bidirectional_network_is_refused(tmp_path):
    model = ModelConfig(channels=(2,), kernels=(1,), strides=(2,), rnn_layers=1, rnn_size=2)
    state = DeepSpeech2(model, len(VOCAB), 161).state_dict()
    (tmp_path / BEST).write_bytes(dump_model(state, model, VOCAB, FEATURES, {}))
    soundfile.write(tmp_path / "a.wav", tones("a"), RATE)
    with pytest.raises(UsageError, match="--live needs a forward-only network"):
        run(str(tmp_path), tmp_path / "a.wav")


def start(exp, *arguments, **options):
    command = [
        sys.executable,
        "-m",
        "ds2cli",
        "transcribe",
        exp,
        "-",
        "--live",
        "--endpoint-silence",
        "0.5",
        *arguments,
    ]
    env = {**{k: v for k, v in os.environ.items() if k != "NO_COLOR"}, "PYTHONPATH": str(ROOT), "TERM": "xterm"}
    return subprocess.Popen(command, env=env, stdin=subprocess.PIPE, **options)


def feed(pipe, data, rate=2 * RATE):
    """Write as a microphone does: 0.1 s of samples in 0.1 s."""
    size = rate // 10
    for begin in range(0, len(data), size):
        pipe.write(data[begin : begin + size])
        pipe.flush()
        time.sleep(0.1)


def test_a_pipe_at_real_time_gets_lines_as_they_end(exp):
    with start(exp, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        feed(process.stdin, pcm("ab b"))
        # only then is the stream closed
        assert process.stdout.readline() == b"ab\n"
        assert process.stdout.readline() == b"b\n"
        process.stdin.close()
        assert process.stdout.read() == b"" and process.wait(60) == 0
        assert process.stderr.read().decode().count("<stdin> has no header") == 1


def test_events(exp):
    with start(exp, "--json", "--timestamps", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        out, _ = process.communicate(pcm("ab b"), timeout=60)
    events = [json.loads(line) for line in out.splitlines()]
    last = [e for e in events if e["type"] == "final"]
    assert [e["text"] for e in last] == ["ab", "b"] and {e["type"] for e in events} == {"partial", "final"}
    assert [*last[0]] == ["type", "start", "end", "text", "conf", "words"]
    assert [*next(e for e in events if e["type"] == "partial")] == ["type", "start", "end", "text", "stable"]
    assert [w["word"] for w in last[0]["words"]] == ["ab"]


def test_an_interrupt_ends_the_stream(exp):
    with start(exp, "--raw-rate", "16000", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdin.write(pcm("ab b"))
        process.stdin.write(pcm("aa")[: 2 * RATE])
        process.stdin.flush()
        lines = [process.stdout.readline(), process.stdout.readline()]
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        lines.append(process.stdout.read())
        assert b"".join(lines).split() == [b"ab", b"b", b"a"]
        process.stdin.close()
        assert process.wait(60) == 130 and process.stderr.read() == b"ds2: interrupted\n"


@pytest.mark.parametrize("pipe", [False, True], ids=["on the terminal", "into a pipe"])
def test_on_a_terminal_the_line_is_rewritten(exp, pipe):
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    out = subprocess.PIPE if pipe else follower
    with start(exp, "--raw-rate", "16000", stdout=out, stderr=follower) as process:
        os.close(follower)
        process.stdin.write(pcm("ab b"))
        process.stdin.close()
        shown = b""
        try:
            while select.select([leader], [], [], 60)[0] and (part := os.read(leader, 4096)):
                shown += part
        except OSError:
            # the command has closed its end
            pass
        assert process.wait(60) == 0
        if pipe:
            assert process.stdout.read() == b"ab\nb\n"
    os.close(leader)
    plain = shown.decode().replace("\x1b[2m", "").replace("\x1b[22m", "").replace("\r\n", "\n")
    # a text is written again when more of it is stable, and thus no longer dim
    lines = [line for line, _ in groupby(plain.split("\r"))]
    shown_ends = ("\x1b[K", "\x1b[K") if pipe else ("\x1b[Kab\n", "\x1b[Kb\n")
    assert lines == ["", "a\x1b[K", "ab\x1b[K", shown_ends[0], "b\x1b[K", shown_ends[1]]


def test_what_does_not_go_together(exp, ds2, tmp_path):
    soundfile.write(tmp_path / "a.wav", tones("a"), RATE)
    two = ds2("transcribe", exp, tmp_path / "a.wav", tmp_path / "a.wav", "--live")
    assert two.returncode == 2 and "--live transcribes one recording: expected one AUDIO, got 2" in two.stderr
    rule = ds2("transcribe", exp, tmp_path / "a.wav", "--endpoint-silence", "1")
    assert rule.returncode == 2 and "--endpoint-silence only applies with --live" in rule.stderr
    for option, value in (("--vad", "silero"), ("--nj", "2"), ("--chunk", "30")):
        other = ds2("transcribe", exp, tmp_path / "a.wav", "--live", option, value)
        assert other.returncode == 2 and f"{option} has no effect with --live" in other.stderr


def test_a_file_and_its_subtitles(exp, ds2, tmp_path):
    soundfile.write(tmp_path / "a.wav", tones(TEXT), RATE)
    options = ["--live", "--endpoint-silence", "0.5", "--srt", tmp_path / "srt"]
    done = ds2("transcribe", exp, tmp_path / "a.wav", *options)
    assert (done.returncode, done.stdout.split()) == (0, WORDS), done.stderr
    assert "aba" in (tmp_path / "srt" / "a.srt").read_text()
    missing = ds2("transcribe", exp, tmp_path / "b.wav", "--live")
    assert missing.returncode == 1 and "missing-audio" in missing.stderr


def test_an_interrupt_of_a_recording_that_states_its_length(exp, tmp_path):
    soundfile.write(tmp_path / "a.wav", np.concatenate([tones("ab b aa"), np.zeros(8 * RATE)]), RATE)
    data = (tmp_path / "a.wav").read_bytes()
    with start(exp, "--ctm", tmp_path / "a.ctm", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdin.write(data[: len(wav("ab b aa"))])
        process.stdin.flush()
        lines = [process.stdout.readline(), process.stdout.readline()]
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        lines.append(process.stdout.read())
        words = [line.strip() for line in lines]
        # of the last one, as much as was decoded when the signal came
        assert words[:2] == [b"ab", b"b"] and words[2] in (b"a", b"aa")
        process.stdin.close()
        assert process.wait(60) == 130 and process.stderr.read() == b"ds2: interrupted\n"
    assert len((tmp_path / "a.ctm").read_text().splitlines()) == 3


def test_a_stream_of_less_than_a_window(exp, ds2):
    done = ds2("transcribe", exp, "-", "--live", "--raw-rate", RATE, stdin="ab" * 10)
    assert done.returncode == 1 and "too-short: 10 samples" in done.stderr and not done.stdout


def test_a_stream_of_a_lower_rate_is_warned_of(exp, tmp_path):
    soundfile.write(tmp_path / "a.wav", tones("ab")[::2], RATE // 2)
    _, _, warnings = run(exp, tmp_path / "a.wav")
    assert len(warnings) == 1 and "this stream is 8 kHz; the training recordings were 16 kHz" in warnings[0]
