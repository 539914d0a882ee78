import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile

from ds2cli.archive import read_matrix
from ds2cli.audio.read import read
from ds2cli.audio.resample import resample
from ds2cli.config.features import FeatureConfig
from ds2cli.feats import fbank
from ds2cli.nn.checkpoint import load_model

SMALL = """
epochs = 1
[model]
channels = [8]
kernels = [3]
strides = [2]
rnn_size = 8
"""


@pytest.fixture
def recordings(tmp_path, shared_data):
    """Three good recordings in a folder, as rows with relative paths."""
    rows = []
    for path in sorted((shared_data / "LibriSpeech/dev-clean").rglob("*.flac"))[:3]:
        shutil.copy(path, tmp_path)
        seconds = soundfile.info(path).duration
        rows.append({"id": path.stem, "audio_filepath": path.name, "duration": seconds, "text": "x"})
    return rows


def test_bad_rows_are_dropped_with_their_reasons(ds2, jsonl, recordings, tmp_path):
    good = recordings[0]
    data = (tmp_path / good["audio_filepath"]).read_bytes()
    speech, rate = soundfile.read(tmp_path / good["audio_filepath"], dtype="float32")
    (tmp_path / "half.flac").write_bytes(data[: len(data) // 2])
    (tmp_path / "zero.wav").touch()
    (tmp_path / "text.wav").write_text("words\n" * 99)
    soundfile.write(tmp_path / "short.wav", speech[:300], rate)
    speech[5] = np.nan
    soundfile.write(tmp_path / "nan.wav", speech, rate, subtype="FLOAT")
    lines = [json.dumps(row).encode() for row in recordings] + [
        b'{"id":"b1","audio_filepath":"half.flac"}',
        b'{"id":"b2","audio_filepath":"zero.wav"}',
        b'{"id":"b3","audio_filepath":"text.wav"}',
        b'{"id":"b4","audio_filepath":"nan.wav"}',
        b'{"id":"b5","audio_filepath":"vanished.wav"}',
        b'{"id":"b6","audio_filepath":"short.wav"}',
        b'{"id":"b7","text":"no audio"}',
        b'{"id":"b8","audio_filepath":"zero.wav","duration":"long"}',
        '{"id":"b9","audio_filepath":"zero.wav","text":"Müller"}'.encode("latin-1"),
        b'{"id":"c0","audio_filepath":"zero.wav"}\r',
        b'{"id":"c1",}',
        json.dumps({**good, "id": "d"}).encode(),
        json.dumps({**good, "id": "d"}).encode(),
    ]
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    done = ds2("featurize", tmp_path / "in.jsonl", tmp_path / "out.jsonl", "--max-bad", 100, "--nj", 2)
    assert done.returncode == 0, done.stderr
    assert [r["id"] for r in jsonl(tmp_path / "out.jsonl")] == [*(r["id"] for r in recordings), "d"]
    drops = {r["id"]: r["reason"] for r in jsonl(tmp_path / "out.jsonl.dropped.jsonl")}
    prefix = f"{tmp_path / 'in.jsonl'}:"
    assert drops == {
        "b1": "truncated-audio",
        "b2": "empty-file",
        "b3": "not-audio",
        "b4": "not-a-number",
        "b5": "missing-audio",
        "b6": "too-short",
        "b7": "no-audio-filepath",
        "b8": "wrong-type",
        "b9": "not-utf8",
        "c0": "empty-file",
        f"{prefix}14": "not-json",
        "d": "duplicate-id",
    }
    assert "16 in = 4 kept + 12 dropped" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_data_folder_can_be_moved(ds2, jsonl, recordings, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    rows = [{**r, "audio_filepath": f"../{r['audio_filepath']}"} for r in recordings]
    jsonl(data / "in.jsonl", rows)
    done = ds2("featurize", "data/in.jsonl", "data/out.jsonl", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    out = jsonl(data / "out.jsonl")
    assert out[0]["feats"].startswith("feats/out.1.ark:")
    assert out[0]["audio_filepath"] == rows[0]["audio_filepath"]
    assert (data / "feats/out.cmvn.ark").exists()
    shutil.move(data, tmp_path / "moved")
    assert len(read_matrix(str(tmp_path / "moved" / out[0]["feats"]), out[0]["id"])) == out[0]["num_frames"]


def test_a_pipe_gets_its_rows_after_the_archives_are_complete(ds2, recordings, tmp_path):
    text = "".join(json.dumps(row) + "\n" for row in recordings)
    done = ds2("featurize", "-", "-", "--dir", "x", "--speeds", "0.9 1.0", "--compress", stdin=text, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == 6
    assert rows[0]["feats"].startswith("x/feats.1.ark:")
    for row in rows:
        assert len(read_matrix(str(tmp_path / row["feats"]), row["id"])) == row["num_frames"]
    hours = sum(row["duration"] for row in recordings) * (1 + 1 / 0.9) / 3600
    summary = f"featurize: 6 utterances ({hours:.2f} h), 0 resampled to 16000 Hz; archives: x/feats.*.ark\n"
    assert done.stderr.endswith(summary)


def test_a_pipe_needs_a_folder(ds2, tmp_path):
    done = ds2("featurize", stdin="", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "--dir" in done.stderr


def test_settings_are_saved_and_read_back(ds2, jsonl, recordings, tmp_path):
    jsonl(tmp_path / "in.jsonl", recordings)
    done = ds2("featurize", "in.jsonl", "a.jsonl", "--sample-rate", 8000, "--floor", 1e-8, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    hours = sum(row["duration"] for row in recordings) / 3600
    summary = f"featurize: 3 utterances ({hours:.2f} h), 3 resampled to 8000 Hz; archives: feats/a.*.ark\n"
    assert done.stderr.endswith(summary)
    done = ds2("featurize", "in.jsonl", "b.jsonl", "--config", "a.jsonl.config.toml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    a, b = jsonl(tmp_path / "a.jsonl")[0], jsonl(tmp_path / "b.jsonl")[0]
    np.testing.assert_array_equal(read_matrix(str(tmp_path / a["feats"])), read_matrix(str(tmp_path / b["feats"])))
    assert read_matrix(str(tmp_path / a["feats"])).shape[1] == 81


@pytest.mark.parametrize("interruption", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_run_leaves_no_partial_output_and_no_process(jsonl, recordings, tmp_path, interruption):
    rows = [{**recordings[0], "id": f"u{i:05}"} for i in range(5000)]
    jsonl(tmp_path / "in.jsonl", rows)
    before = sorted(p.name for p in tmp_path.iterdir())
    running = subprocess.Popen(
        [sys.executable, "-m", "ds2cli", "featurize", tmp_path / "in.jsonl", tmp_path / "o.jsonl", "--nj", "2"],
        stderr=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    until = time.monotonic() + 60
    unfinished = tmp_path / "feats/.o.featurize.unfinished"
    while len(list(unfinished.glob("*.part"))) < 3 and time.monotonic() < until:
        time.sleep(0.01)
    running.kill() if interruption == signal.SIGKILL else os.killpg(running.pid, interruption)
    errors = running.communicate(timeout=30)[1].decode()
    assert running.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}[interruption]
    if interruption != signal.SIGKILL:
        assert "Traceback" not in errors
        assert (
            " utterances are finished and kept in " in errors and ": the same command continues after them\n" in errors
        )
        assert not list(unfinished.glob("*.new"))
    assert len(list(unfinished.glob("*.part"))) >= 3
    left = [p.name for p in tmp_path.rglob("*") if p.suffix == ".ark"]
    assert left == []
    if interruption != signal.SIGKILL:
        assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*before, "feats"])


def test_filter_banks_from_recordings_to_texts(ds2, jsonl, recordings, tmp_path):
    """Stored features and those of recordings are of the kind that was given, and so are those of transcribe."""
    rows = [{**row, "text": "a b"} for row in recordings]
    source, out, exp = jsonl(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl", tmp_path / "exp"
    done = ds2("featurize", source, out, "--kind", "fbank", "--set", "num_mels=23", "--sample-rate", 8000, "--nj", 2)
    assert done.returncode == 0, done.stderr
    assert "3 resampled to 8000 Hz" in done.stderr
    featurized = jsonl(out)
    stored = {row["id"]: read_matrix(str(tmp_path / row["feats"]), row["id"]) for row in featurized}
    config = fbank.Config(num_mels=23, sample_rate=8000)
    for row in recordings:
        samples, rate = read(str(tmp_path / row["audio_filepath"]))
        np.testing.assert_array_equal(stored[row["id"]], fbank.compute(resample(samples, rate, 8000), config))
    assert 'kind = "fbank"' in (tmp_path / "out.jsonl.config.toml").read_text()
    # the last row has no stored features
    mixed = jsonl(out, [*featurized[:2], rows[2]])
    (tmp_path / "small.toml").write_text(SMALL)
    done = ds2("train", mixed, exp, "--dev", mixed, "--config", tmp_path / "small.toml")
    assert done.returncode == 0, done.stderr
    assert "6 in = 6 kept" in done.stderr
    trained = load_model(exp)
    assert trained.bins == 23
    assert FeatureConfig.from_saved(trained.features, "x") == config
    done = ds2("transcribe", exp, tmp_path / recordings[0]["audio_filepath"])
    assert (done.returncode, done.stderr) == (0, "")
    # nor are features of another size those of the network, or of its dev set
    plain = tmp_path / "plain.jsonl"
    assert ds2("featurize", source, plain).returncode == 0
    done = ds2("emit", exp, plain, tmp_path / "emit.jsonl")
    assert done.returncode == 1 and "3 wrong-features" in done.stderr
    same_size = tmp_path / "same.jsonl"
    assert ds2("featurize", source, same_size, "--set", "window_ms=2.75").returncode == 0
    for command in (["emit", exp, same_size, tmp_path / "emit.jsonl"], ["decode", "--greedy", exp, same_size]):
        done = ds2(*command)
        assert done.returncode == 0
        assert "same.jsonl: its features have other settings than the network was trained on: kind, " in done.stderr
    done = ds2("train", mixed, tmp_path / "other", "--dev", plain, "--config", tmp_path / "small.toml")
    assert done.returncode == 3 and "plain.jsonl: its features have other settings than those of" in done.stderr


def test_train_without_stored_features_takes_the_settings_of_a_file(ds2, jsonl, recordings, tmp_path):
    source = jsonl(tmp_path / "in.jsonl", [{**row, "text": "a b"} for row in recordings])
    (tmp_path / "fbank.toml").write_text('kind = "fbank"\nnum_mels = 20\nspeeds = "0.9 1.1"\n')
    (tmp_path / "small.toml").write_text(SMALL)
    options = ["--features", tmp_path / "fbank.toml", "--config", tmp_path / "small.toml"]
    done = ds2("train", source, tmp_path / "exp", *options)
    assert done.returncode == 0, done.stderr
    trained = load_model(tmp_path / "exp")
    assert (trained.bins, trained.features["kind"]) == (20, "fbank")
    (tmp_path / "fbank.toml").write_text('kind = "fbank"\nnum_mel = 20\n')
    done = ds2("train", source, tmp_path / "exp", *options)
    assert done.returncode == 2 and "unknown setting 'num_mel', did you mean 'num_mels'?" in done.stderr
    (tmp_path / "fbank.toml").write_text("window_ms = 2.375\n")  # a spectrogram of 20 bins
    done = ds2("train", source, tmp_path / "exp", *options)
    assert done.returncode == 2
    assert "trained on other features: kind was fbank, is spectrogram" in done.stderr


def test_a_pipe_gets_no_row_before_the_archive_is_complete(jsonl, tmp_path):
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(0, 0.1, 8000), 16000)
    # rows that together exceed what is buffered before it reaches the pipe
    rows = [{"id": f"u{i}", "audio_filepath": "a.wav", "note": "x" * 30000} for i in range(6)]
    jsonl(tmp_path / "in.jsonl", rows)
    command = [sys.executable, "-m", "ds2cli", "featurize", "in.jsonl", "-", "--dir", "x"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as running:
        row = json.loads(running.stdout.readline())
        frames = len(read_matrix(str(tmp_path / row["feats"]), row["id"]))
        others = running.stdout.read().splitlines()
    assert running.returncode == 0
    assert frames == row["num_frames"] and len(others) == 5
