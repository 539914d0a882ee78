"""Transcription of files and folders without a manifest."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import typer

from ds2cli.cli.main import app
from ds2cli.cli.transcribe import format_texts
from ds2cli.config.decode import TranscribeConfig
from ds2cli.config.model import ModelConfig
from ds2cli.drops import Ledger
from ds2cli.errors import DataError, Ds2Error, UsageError
from ds2cli.nn.checkpoint import dump_model
from ds2cli.nn.models.ds2 import DeepSpeech2
from ds2cli.recognizer import decoder
from ds2cli.recognizer.experiment import Experiment
from ds2cli.runtime.file import BEST
from ds2cli.search.hypothesis import Hypothesis
from ds2cli.stages import transcribe
from ds2cli.stages.long_recording import Listener
from ds2cli.text.vocab import BLANK, Vocab

VOCAB = Vocab((BLANK, " ", "a", "b"))
MODEL = ModelConfig(channels=(8,), kernels=(5,), strides=(2,), rnn_layers=1, rnn_size=8)
FEATURES = {"sample_rate": 16000, "window_ms": 20.0, "hop_ms": 10.0}


@pytest.fixture
def experiment(tmp_path):
    torch.manual_seed(0)
    (tmp_path / "exp").mkdir()
    network = dump_model(DeepSpeech2(MODEL, len(VOCAB), 161).state_dict(), MODEL, VOCAB, FEATURES, {})
    (tmp_path / "exp" / BEST).write_bytes(network)
    return Experiment(str(tmp_path / "exp"))


@pytest.fixture
def recording(tmp_path):
    noise = 0.1 * np.random.default_rng(0).normal(size=(16000, 2)).astype(np.float32)

    def write(name, rate=16000, seconds=0.5, channels=1):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / name, noise[: round(rate * seconds), :channels], rate, subtype="FLOAT")
        return str(tmp_path / name)

    return write


def transcribed(experiment, paths, channel="mix"):
    """The rows, the emission of each, the ledger and the warnings."""
    ledger, warnings, emissions = Ledger(), [], []

    def search(log_probs, best):
        emissions.append(log_probs)
        return [Hypothesis("a", -1.0, -1.0, 0.0, (2,))]

    rows = transcribe.list_recordings(paths, ledger)
    if channel == "each":
        rows = transcribe.split_by_channel(rows, ledger)
    config = TranscribeConfig(channel=channel, nj=1)
    listener = Listener(warnings.append)
    return list(transcribe.run(config, rows, ledger, experiment, search, listener)), emissions, ledger, warnings


def test_rows_have_the_duration_and_text_of_each_file_in_order(experiment, recording, tmp_path):
    files = [recording("z.wav", seconds=0.75), recording("folder/b 1.wav"), recording("folder/a.wav")]
    rows, emissions, ledger, _ = transcribed(experiment, [files[0], str(tmp_path / "folder")])
    assert [row["audio_filepath"] for row in rows] == [files[0], files[2], files[1]]
    assert [(row["duration"], row["pred_text"], row["pred_score"]) for row in rows] == [
        (0.75, "a", -1.0), (0.5, "a", -1.0), (0.5, "a", -1.0),
    ]  # fmt: skip
    # 1 + (samples - 320) // 160 frames, two per step
    assert [len(x) for x in emissions] == [37, 25, 25]
    assert rows[2]["id"].endswith("b_1.wav") and not ledger.rows
    with pytest.raises(DataError, match="no audio files in this folder"):
        transcribe.list_recordings([str(tmp_path / "exp")], Ledger())


def test_files_of_a_folder_that_are_no_recordings_are_counted(experiment, recording, tmp_path):
    files = [recording("folder/b.WAV"), recording("folder/out/a.aiff")]
    (tmp_path / "folder/out").rename(tmp_path / "elsewhere")
    (tmp_path / "folder/out").symlink_to("../elsewhere")
    (tmp_path / "folder/notes.pdf").write_text("notes")
    (tmp_path / "folder/lost").symlink_to("/missing/lost")
    rows, _, ledger, _ = transcribed(experiment, [str(tmp_path / "folder")])
    assert [row["audio_filepath"] for row in rows] == files
    assert [(r["id"].rpartition("/")[2], r["reason"], r["bad"]) for r in ledger.rows] == [
        ("lost", "broken-link", True),
        ("notes.pdf", "other-file", False),
    ]


def test_names_that_differ_in_spaces_have_different_ids(tmp_path):
    names = ["a b.wav", "a_b.wav", "n" * 300 + ".wav", "a b.wav"]
    rows = transcribe.list_recordings(names, Ledger())
    assert [row["audio_filepath"] for row in rows] == names
    assert rows[0]["id"] == rows[3]["id"] != rows[1]["id"]
    assert rows[1]["id"].startswith("a_b.wav-") and rows[2]["id"] == names[2]


def test_only_a_lower_sample_rate_than_in_training_is_warned_of(experiment, recording):
    files = [recording(f"{rate}.wav", rate) for rate in (8000, 16000, 32000)]
    rows, emissions, _, warnings = transcribed(experiment, files)
    (warning,) = warnings
    assert warning.startswith(f"{files[0]}: This file is 8 kHz; the training recordings were 16 kHz")
    assert [row["duration"] for row in rows] == [0.5] * 3 and [len(x) for x in emissions] == [25] * 3


def test_the_channel_is_chosen_and_a_missing_one_drops_the_file(experiment, recording):
    files = [recording("mono.wav"), recording("stereo.wav", channels=2)]
    left, right, mixed = (transcribed(experiment, files, channel) for channel in ("0", "1", "mix"))
    np.testing.assert_array_equal(left[1][0], left[1][1])
    assert not np.allclose(left[1][1], right[1][0]) and not np.allclose(left[1][1], mixed[1][1])
    assert [row["audio_filepath"] for row in right[0]] == files[1:] and right[2].reasons == {"no-such-channel": 1}


def test_each_channel_has_a_result_of_its_own(experiment, recording, tmp_path):
    files = [recording("stereo.wav", channels=2), recording("mono.wav")]
    (tmp_path / "bad.wav").write_text("this is a text, not a recording\n" * 20)
    rows, emissions, ledger, _ = transcribed(experiment, [*files, str(tmp_path / "bad.wav")], "each")
    assert [(row["id"], row.get("channel"), row["audio_filepath"]) for row in rows] == [
        (f"{files[0]}-ch0", 0, files[0]),
        (f"{files[0]}-ch1", 1, files[0]),
        (files[1], None, files[1]),
    ]
    for channel in (0, 1):
        alone = transcribed(experiment, files[:1], str(channel))[1][0]
        np.testing.assert_allclose(emissions[channel], alone, atol=1e-5)
    assert ledger.reasons == {"not-audio": 1}


def test_a_stream_has_no_result_per_channel(experiment, recording, piped):
    pipe = piped(Path(recording("a.wav")).read_bytes())
    for path in ("-", pipe):
        with pytest.raises(UsageError, match=r"--channel each needs files, .* is read only once"):
            transcribe.split_by_channel(transcribe.list_recordings([path], Ledger()), Ledger())


def test_an_unreadable_file_is_dropped_and_the_others_are_transcribed(experiment, recording, tmp_path):
    (tmp_path / "bad.wav").write_text("this is a text, not a recording\n" * 20)
    rows, _, ledger, _ = transcribed(experiment, [str(tmp_path / "bad.wav"), recording("good.wav")])
    assert [row["audio_filepath"] for row in rows] == [str(tmp_path / "good.wav")]
    assert ledger.reasons == {"not-audio": 1}


def test_pipes_and_standard_input_are_read_once(experiment, recording, tmp_path, piped, monkeypatch):
    file = recording("a.wav", seconds=1.0)
    data = Path(file).read_bytes()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    pipes = [piped(data, "1.wav"), "-", piped(data, "without an ending")]
    rows, emissions, ledger, _ = transcribed(experiment, [file, *pipes])
    assert [row["audio_filepath"] for row in rows] == [file, *pipes] and not ledger.rows
    assert all(np.array_equal(emissions[0], other) for other in emissions[1:])
    assert json.loads(json.dumps(rows[1])) == {**rows[1], "audio_filepath": pipes[0], "duration": 1.0}
    with pytest.raises(DataError, match="two arguments are -, but standard input can be read only once"):
        transcribed(experiment, ["-", file])


def test_bad_recordings_from_pipes_cost_only_themselves(experiment, recording, tmp_path, piped):
    texts = piped(b"this is a text, not a recording\n" * 20, "texts")
    rows, _, ledger, _ = transcribed(experiment, ["/dev/zero", texts, recording("a.wav"), piped(b"")])
    assert [row["id"] for row in rows] == [str(tmp_path / "a.wav")]
    assert ledger.reasons == {"unreadable-audio": 1, "not-audio": 1, "empty-file": 1}


def test_a_signal_ends_the_wait_for_a_pipe(experiment, recording, interrupted):
    """Its thread would otherwise be waited for."""
    with pytest.raises(SystemExit):
        transcribed(experiment, [recording("a.wav"), interrupted])


def test_a_network_that_states_other_features_is_one_error(tmp_path):
    """Trained on stored features whose settings were not known."""
    network = dump_model(DeepSpeech2(MODEL, len(VOCAB), 40).state_dict(), MODEL, VOCAB, FEATURES, {})
    (tmp_path / "x.safetensors").write_bytes(network)
    with pytest.raises(DataError, match="trained on features of 40 bins, but with settings that give 161: they cannot"):
        transcribed(Experiment(str(tmp_path / "x.safetensors")), ["x.wav"])


@pytest.mark.long
def test_the_file_of_dropped_recordings_is_written_even_if_there_are_none(ds2, experiment, recording, tmp_path):
    (tmp_path / "dropped.jsonl").write_text("of an earlier run")
    arguments = (experiment.path, recording("a.wav"), "--greedy", "--dropped", tmp_path / "dropped.jsonl")
    done = ds2("transcribe", *arguments)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "dropped.jsonl").read_text() == ""


@pytest.fixture
def run_command(tmp_path, monkeypatch):
    """Run `ds2 transcribe` in this process, with rows instead of a network; returns the settings of its search."""
    searches = []
    monkeypatch.setattr(decoder, "build_search", lambda config, *_: searches.append(config))

    def run(work, *arguments):
        monkeypatch.setattr(transcribe, "run", work)
        command = typer.main.get_command(app)
        command.main(["transcribe", str(tmp_path), *map(str, arguments)], standalone_mode=False)
        return searches.pop()

    return run


def test_each_line_begins_with_the_file_if_there_are_several(run_command, capsys):
    partials = [{"end": 0.5, "text": "a"}, {"end": 1.25, "text": "a b"}]

    def work(config, rows, *_):
        for row in rows:
            yield {**row, "pred_text": "a b", "partials": partials}

    lines = ["0.50\ta", "1.25\ta b", "a b"]
    search = run_command(work, "x.wav")
    assert capsys.readouterr().out.splitlines() == lines
    # with the limits filled in
    assert (search.beam, search.prune_top) == (64, 40)
    run_command(work, "x.wav", "y.wav")
    assert capsys.readouterr().out.splitlines() == [f"{file}\t{line}" for file in ("x.wav", "y.wav") for line in lines]
    run_command(work, "x.wav", "y.wav", "--json")
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert rows == [
        {"id": file, "audio_filepath": file, "pred_text": "a b", "partials": partials} for file in ("x.wav", "y.wav")
    ]


def test_each_line_begins_with_the_channel_if_there_are_several(run_command, capsys, recording):
    def work(config, rows, *_):
        yield from ({**row, "pred_text": "a b"} for row in rows)

    files = [recording("stereo.wav", channels=2), recording("mono.wav")]
    run_command(work, files[0], "--channel", "each")
    assert capsys.readouterr().out.splitlines() == ["ch0\ta b", "ch1\ta b"]
    run_command(work, *files, "--channel", "each")
    assert capsys.readouterr().out.splitlines() == [
        f"{files[0]}\tch0\ta b",
        f"{files[0]}\tch1\ta b",
        f"{files[1]}\ta b",
    ]
    with pytest.raises(UsageError, match="--live transcribes one channel: expected --channel mix or a number"):
        run_command(work, files[0], "--channel", "each", "--live")


def test_the_subtitles_of_each_channel_are_in_a_file_of_its_own(run_command, recording, tmp_path):
    def work(config, rows, *_):
        yield from ({**row, "duration": 62.0, "pred_text": "a b", "pred_words": WORDS} for row in rows)

    options = ("--channel", "each", "--srt", tmp_path / "srt", "--ctm", tmp_path / "x.ctm")
    run_command(work, recording("stereo.wav", channels=2), *options, "--kaldi-data", tmp_path / "kaldi")
    assert sorted(path.name for path in (tmp_path / "srt").iterdir()) == ["stereo-ch0.srt", "stereo-ch1.srt"]
    lines = (tmp_path / "x.ctm").read_text().splitlines()
    assert [line.split()[:2] for line in lines] == [["stereo", channel] for channel in "1122"]
    scp = (tmp_path / "kaldi/wav.scp").read_text().splitlines()
    assert [line.split()[0] for line in scp] == ["stereo-ch0", "stereo-ch1"]
    for line, channel in zip(scp, (0, 1), strict=True):
        command = line.partition(" ")[2].removesuffix("|")
        if shutil.which("ffmpeg"):
            data = subprocess.run(command, shell=True, capture_output=True, check=True).stdout
            heard, _ = soundfile.read(io.BytesIO(data))
            both, _ = soundfile.read(tmp_path / "stereo.wav")
            np.testing.assert_allclose(heard, both[:, channel], atol=1e-4)


def test_each_line_begins_with_the_file_if_one_argument_is_a_folder_of_several(run_command, capsys, tmp_path):
    files = [str(tmp_path / "calls" / name) for name in ("x.wav", "y.wav")]
    (tmp_path / "calls").mkdir()
    for file in files:
        Path(file).touch()
    run_command(lambda _config, rows, *_: ({**row, "pred_text": "a"} for row in rows), tmp_path / "calls")
    assert capsys.readouterr().out.splitlines() == [f"{file}\ta" for file in files]


WORDS = [{"word": "a", "start": 0.04, "end": 0.5, "conf": 0.9}, {"word": "b", "start": 1.0, "end": 61.25, "conf": 1}]
NBEST = [{"text": "a b", "score": -1.5, "am": -2.0, "lm": 0.0}, {"text": "", "score": -20.125, "am": -9.0, "lm": 0.0}]


@pytest.mark.parametrize(
    ("fields", "lines"),
    [
        ({}, ["a b"]),
        ({"pred_words": WORDS}, ["0.04\t0.50\ta", "1.00\t61.25\tb"]),
        ({"nbest": NBEST}, ["-1.50\ta b", "-20.12\t"]),
        ({"nbest": NBEST[:1]}, ["-1.50\ta b"]),
        ({"pred_words": [], "pred_text": ""}, [""]),
        ({"partials": [{"end": 0.5, "text": "a"}], "pred_words": WORDS[:1]}, ["0.50\ta", "0.04\t0.50\ta"]),
    ],
)
def test_words_with_times_and_n_best_lists_are_printed_instead_of_the_text(fields, lines):
    config = TranscribeConfig(timestamps="pred_words" in fields)
    assert list(format_texts({"pred_text": "a b", **fields}, config)) == lines


def test_the_lines_of_times_and_n_best_lists_are_not_mixed(run_command, capsys):
    def work(config, rows, *_):
        yield {**rows[0], "pred_text": "a b", "pred_words": WORDS, "nbest": NBEST}

    with pytest.raises(UsageError, match=r"^--timestamps and --nbest together need --json"):
        run_command(work, "x.wav", "--timestamps", "--nbest", 2)
    run_command(work, "x.wav", "--timestamps", "--nbest", 2, "--json")
    assert json.loads(capsys.readouterr().out)["nbest"] == NBEST
    run_command(work, "x.wav", "--timestamps")
    assert capsys.readouterr().out == "0.04\t0.50\ta\n1.00\t61.25\tb\n"


@pytest.mark.parametrize(("max_bad", "refused"), [(50, False), (49, True)])
def test_too_many_dropped_recordings_are_an_error(run_command, capsys, max_bad, refused):
    def work(config, rows, ledger, *_):
        ledger.drop("y.wav", "not-audio", "a text")
        yield {**rows[0], "pred_text": "a"}

    with pytest.raises(Ds2Error, match="transcribe: refused: 1 of 2 ") if refused else contextlib.nullcontext():
        run_command(work, "x.wav", "y.wav", "--max-bad", max_bad)
    out, err = capsys.readouterr()
    assert out == "x.wav\ta\n"
    assert err.splitlines() == [
        "transcribe: 2 in = 1 kept + 1 dropped (1 not-audio)",
        "transcribe: dropped y.wav: not-audio: a text",
    ]
