"""The recipe for own recordings as a user runs it: folders, tables and rows; broken files; interrupted and resumed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "egs/own/run.sh"
TINY = """
epochs = 2
batch_s = 20.0
[model]
channels = [16]
kernels = [5]
strides = [3]
rnn_layers = 1
rnn_size = 32
"""
WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def run(*words, status=0, timeout=900):
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*map(str, words)], env=env, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == status, done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture
def places(tmp_path):
    """Options that put everything into the temporary folder, with a tiny network."""
    (tmp_path / "tiny.toml").write_text(TINY)
    return ["--exp", tmp_path / "exp", "--data", tmp_path / "data", "--conf", tmp_path / "tiny.toml", "--nj", "1"]


@pytest.fixture
def digits(shared_data, tmp_path):
    """A folder of recordings of three speakers, each in a subfolder, each beside its text."""
    source = shared_data / "fsdd/recordings"
    for digit, word in enumerate(WORDS):
        for speaker in ("jackson", "nicolas", "theo"):
            folder = tmp_path / "recordings" / speaker
            folder.mkdir(parents=True, exist_ok=True)
            for take in range(4):
                shutil.copy(source / f"{digit}_{speaker}_{take}.wav", folder / f"{digit}.{take}.wav")
                (folder / f"{digit}.{take}.txt").write_text(f"{word.capitalize()}!\n")
    return tmp_path / "recordings"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "no recordings: expected --audio FOLDER, --audio TABLE or --rows TRAIN.jsonl"),
        (["--audio", "/", "--rows", "x"], "--audio and --rows: expected one of them"),
        (["--audio", "/", "--dev", "x"], "--dev and --test only apply with --rows"),
        (["--rows", "/", "--test", "x"], "--test needs --dev"),
        (["--rows", "/", "--speaker", "none"], "--speaker and --prepare-options only apply with --audio"),
        (["--audio", "no-such-folder"], "/no-such-folder: no such file or folder"),
        (["--audio", "/", "--epochs", "3"], "unknown option --epochs"),
    ],
)
def test_wrong_options_are_one_line(options, message, tmp_path):
    done = run(RECIPE, *options, "--exp", tmp_path / "exp", status=2)
    assert message in done.stderr and done.stderr.count("\n") == 1 and not (tmp_path / "exp").exists()


def test_a_dry_run_prints_every_stage_and_writes_nothing(places, tmp_path):
    (tmp_path / "table.csv").write_text("path,sentence\na.wav,yes\n")
    done = run(RECIPE, "--audio", tmp_path / "table.csv", *places, "--dry-run", "true", "--init", "exp/other")
    assert [line.split(":")[0] for line in done.stdout.splitlines() if line.startswith("# stage")] == [
        f"# stage {i}" for i in range(13)
    ]
    assert "ds2 prepare csv" in done.stdout and f"--init {Path.cwd()}/exp/other" in done.stdout
    assert not (tmp_path / "exp").exists() and not (tmp_path / "data").exists()


@pytest.mark.slow
def test_a_folder_with_broken_files_interrupted_and_resumed(digits, places, tmp_path):
    (digits / "theo/broken.wav").write_bytes(b"RIFF of nothing")
    (digits / "theo/broken.txt").write_text("yes")
    (digits / "theo/0.0.wav").write_bytes((digits / "theo/0.0.wav").read_bytes()[:300])
    (digits / "theo/number.wav").write_bytes((digits / "theo/1.0.wav").read_bytes())
    (digits / "theo/number.txt").write_text("call 112")
    (digits / "theo/alone.wav").write_bytes((digits / "theo/1.0.wav").read_bytes())
    recipe = [RECIPE, "--audio", digits, *places]
    first = run(*recipe, "--stop-stage", "6")
    assert "speakers: the subfolders jackson, nicolas, theo (--speaker none" in first.stderr
    assert "what to expect" in first.stdout and "split: speakers: 3, so" in first.stderr
    dropped = (tmp_path / "data/all.jsonl.dropped.jsonl").read_text()
    assert dropped.count("\n") == 4 and "digits" in dropped and "no-text" in dropped
    trained = (tmp_path / "exp/best.safetensors").stat().st_mtime_ns
    done = run(*recipe, "--resume", "true")
    assert (tmp_path / "exp/best.safetensors").stat().st_mtime_ns == trained
    titles = ("dev, greedy:", "dev, lm:", "test, greedy:", "test, lm:")
    assert [line for line in done.stdout.splitlines() if line in titles] == list(titles)
    report = (tmp_path / "exp/report.md").read_text()
    # after two epochs of a tiny network
    assert "The network has not learned: on dev " in report and "What may help:" in report and report in done.stdout
    assert "the defaults were stored" in done.stderr
    # those of the first dev recordings
    assert len((tmp_path / "exp/transcribed.txt").read_text().splitlines()) == 3


@pytest.mark.slow
def test_rows_with_features_and_a_network_to_start_from(toy, places, tmp_path):
    rows = ["--rows", toy / "train.jsonl", "--dev", toy / "dev.jsonl"]
    run(RECIPE, *rows, *places)
    report = (tmp_path / "exp/report.md").read_text()
    assert "| dev | greedy |" in report and "| test |" not in report
    assert "no recordings here to transcribe" not in report
    again = [w if w != tmp_path / "exp" else tmp_path / "exp2" for w in places]
    done = run(RECIPE, *rows, *again, "--init", tmp_path / "exp")
    assert 'init = "' in (tmp_path / "exp2/train.toml").read_text() and "weights" in done.stderr


def test_a_table_of_digits(shared_data, tmp_path):
    run(sys.executable, ROOT / "egs/own/local/fsdd.py", shared_data / "fsdd/recordings", tmp_path / "fsdd.csv")
    lines = (tmp_path / "fsdd.csv").read_text().splitlines()
    assert lines[0] == "path,sentence,speaker" and len(lines) == 301
    assert lines[1].endswith("/fsdd/recordings/0_jackson_0.wav,zero,jackson")


@pytest.mark.parametrize(
    ("train", "dev", "more", "unit", "said"),
    [
        (["yes please", "no"], ["yes", "no please"], 0, "word", ""),
        (["yes", "no"], ["yes"], 0, "char", "no training text has a space"),
        (["yes please", "no"], ["what else", "no"], 0, "char", "67 % of the words of dev are not in training"),
        (["yes please", "no"], ["what else", "no"], 1, "word", ""),
    ],
)
def test_the_unit_of_the_language_model(jsonl, tmp_path, train, dev, more, unit, said):
    paths = [
        jsonl(tmp_path / f"{name}.jsonl", [{"id": f"u{i}", "text": text} for i, text in enumerate(texts)])
        for name, texts in (("train", train), ("dev", dev))
    ]
    done = run(sys.executable, ROOT / "egs/own/local/lm_unit.py", *paths, more)
    assert done.stdout == f"{unit}\n" and said in done.stderr and bool(done.stderr) == bool(said)
