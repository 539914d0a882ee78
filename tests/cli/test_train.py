from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from ds2cli import manifest
from ds2cli.archive import ArkWriter
from ds2cli.cli.lib.train_display import format_event
from ds2cli.cli.main import app
from ds2cli.cli.train import _check_paths
from ds2cli.config.optim import OptimConfig
from ds2cli.config.train import TrainConfig
from ds2cli.errors import DataError, UsageError
from ds2cli.train.events import TimeLimit

SMALL = """
epochs = 2
batch_s = 10.0
[model]
channels = [16]
kernels = [5]
strides = [2]
rnn_layers = 1
rnn_size = 16
"""


@pytest.fixture
def conf(tmp_path):
    (tmp_path / "small.toml").write_text(SMALL)
    return tmp_path / "small.toml"


def test_train_then_emit(ds2, toy, tmp_path, conf, jsonl):
    exp = tmp_path / "exp"
    train = ["train", toy / "train.jsonl", exp, "--dev", toy / "dev.jsonl", "--config", conf, "--set", "optim.lr=0.01"]
    done = ds2(*train)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "" and "56 in = 56 kept + 0 dropped" in done.stderr and "epoch 2/2  loss" in done.stderr
    saved = tomllib.loads((exp / "config.toml").read_text())
    assert saved["optim"]["lr"] == 0.01 and saved["made_by"]["command"].startswith("ds2 train")
    assert {p.name for p in exp.iterdir()} == {
        "best.safetensors", "config.toml", "dropped.jsonl", "last.pt", "losses", "tokens.txt", "train.jsonl",
        "train.png",
    }  # fmt: skip
    assert ds2(*train, "--fresh").returncode == 0
    rerun = ds2(*train[:5], "--config", exp / "config.toml")
    assert rerun.returncode == 0 and "epoch 1/2" not in rerun.stderr, "EXP/config.toml resumes and does not start over"
    rerun = ds2(*train, "--set", "model.rnn_size=8")
    assert (
        rerun.returncode == 2 and "model.rnn_size was 16, is 8" in rerun.stderr and len(rerun.stderr.splitlines()) == 3
    )
    assert tomllib.loads((exp / "config.toml").read_text())["model"]["rnn_size"] == 16
    (exp / "best.safetensors").rename(exp / "kept.safetensors")
    rerun = ds2(*train)
    assert rerun.returncode == 3 and "best.safetensors: missing, although training is complete" in rerun.stderr
    (exp / "best.safetensors").write_bytes(b"")
    rerun = ds2(*train)
    assert rerun.returncode == 3 and "best.safetensors: not a network written by ds2 train" in rerun.stderr
    (exp / "kept.safetensors").rename(exp / "best.safetensors")
    emitted = ds2("emit", exp, toy / "dev.jsonl", "-", "--dir", tmp_path / "e")
    assert emitted.returncode == 0, emitted.stderr
    assert emitted.stdout.count('"num_steps"') == 8 and (tmp_path / "e" / "emissions.ark").is_file()


def test_without_the_native_library_torch_is_used_with_one_warning(ds2, toy, tmp_path, conf, monkeypatch):
    monkeypatch.setenv("DS2_NATIVE_LIB", str(tmp_path / "none.so"))
    exp = tmp_path / "exp"
    train = ["train", toy / "train.jsonl", exp, "--config", conf, "--epochs", "1"]
    done = ds2(*train)
    assert done.returncode == 0, done.stderr
    (warning,) = [line for line in done.stderr.splitlines() if line.startswith("warning: ") and "native" in line]
    assert warning.startswith("warning: without the native library, torch and numpy") and "make native" in warning
    done = ds2(*train, "--ctc", "torch", "--epochs", "2")
    assert done.returncode == 0, "training may resume with the other implementation"
    assert tomllib.loads((exp / "config.toml").read_text())["ctc"] == "torch"
    assert "expected one of native, torch, got 'warp'" in ds2(*train, "--ctc", "warp").stderr


@pytest.mark.parametrize(("number", "nproc"), [(signal.SIGINT, 1), (signal.SIGTERM, 2)])
def test_a_signal_stops_all_processes_after_the_step_and_the_same_command_resumes(
    ds2, toy, tmp_path, conf, jsonl, number, nproc
):
    exp = tmp_path / "exp"
    arguments = ["train", toy / "train.jsonl", exp, "--config", conf, "--nproc", nproc, "--epochs", "100000"]
    command = [sys.executable, "-m", "ds2cli", *map(str, arguments)]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True, start_new_session=True)
    until = time.monotonic() + 120
    while not (exp / "train.jsonl").is_file() and time.monotonic() < until:
        time.sleep(0.1)
    os.killpg(process.pid, number)
    _, log = process.communicate(timeout=60)
    assert process.returncode == 128 + number, log
    assert log.splitlines()[-1] == "train: interrupted; last.pt was written and the same command resumes from it"
    before = jsonl(exp / "train.jsonl")
    arguments[-1] = str(before[-1]["epoch"] + 1)
    done = ds2(*arguments)
    assert done.returncode == 0, done.stderr
    assert f"train: resuming from {exp}/last.pt: epoch {before[-1]['epoch'] + 1} of {arguments[-1]}" in done.stderr
    assert [r["epoch"] for r in jsonl(exp / "train.jsonl")] == [r["epoch"] for r in before] + [before[-1]["epoch"] + 1]


@pytest.mark.parametrize(
    ("rows", "status", "message"),
    [
        ([{"id": "a", "text": "x"}], 3, "neither feats nor audio_filepath"),
        ([{"id": "a", "text": "x", "feats": "none.ark:3", "num_frames": 3}], 3, "no utterance can be used"),
        ([], 3, "no utterance can be used"),
    ],
)
def test_a_mistake_is_one_error_line(ds2, tmp_path, jsonl, rows, status, message):
    done = ds2("train", jsonl(tmp_path / "rows.jsonl", rows), tmp_path / "exp")
    assert done.returncode == status and message in done.stderr
    assert "Traceback" not in done.stderr


def test_training_does_not_overwrite_a_manifest(ds2, toy, tmp_path):
    source = tmp_path / "train.jsonl"
    source.write_text((toy / "train.jsonl").read_text())
    done = ds2("train", "train.jsonl", ".", cwd=tmp_path)
    assert done.returncode == 2 and "train.jsonl: training would overwrite this manifest" in done.stderr
    assert source.read_text() == (toy / "train.jsonl").read_text() and len(list(tmp_path.iterdir())) == 1
    assert ds2("train", source, "").returncode == 2
    for name in ("train.jsonl", "dropped.jsonl"):
        with pytest.raises(UsageError, match=f"{name}: training would overwrite this manifest"):
            _check_paths(str(tmp_path), "other.jsonl", str(tmp_path / name))
    done = CliRunner().invoke(app, ["train", str(toy / "train.jsonl"), str(tmp_path), "--dev", str(source)])
    assert "train.jsonl: training would overwrite this manifest" in str(done.exception)
    _check_paths(str(tmp_path), str(tmp_path / "other.jsonl"), None, str(tmp_path / "sub" / "train.jsonl"))


def test_each_option_reaches_the_training(toy, tmp_path, conf, jsonl, monkeypatch):
    """The command, with a training that takes no step and so ends without a network."""
    found = {}

    def run(job, exp, _request, on_start):
        found.update(job=job, exp=exp)
        on_start()
        return iter(())

    def monitored(events, exp, *, tensorboard):
        found.update(monitored=exp, tensorboard=tensorboard)
        return events

    monkeypatch.setattr("ds2cli.stages.train.run", run)
    monkeypatch.setattr("ds2cli.train.monitor.monitored", monitored)
    rows = [*manifest.read(str(toy / "train.jsonl")), {"id": "z", "text": "a"}]
    with ArkWriter(tmp_path / "cmvn.ark") as ark:
        # ten frames of mean 2 and deviation 3
        ark.write("global", np.array([[20.0] * 20 + [10.0], [10 * (4.0 + 9.0)] * 20 + [0.0]]))
    (tmp_path / "features.toml").write_text("hop_ms = 5.0\n")
    exp, options = tmp_path / "exp", ["--cmvn", tmp_path / "cmvn.ark", "--features", tmp_path / "features.toml"]
    options += ["--dev", toy / "dev.jsonl", "--config", conf, "--dropped", tmp_path / "d.jsonl", "--tensorboard"]
    command = ["train", jsonl(tmp_path / "rows.jsonl", rows), str(exp), *map(str, options)]
    refused = CliRunner().invoke(app, command)
    assert "train: refused: 1 of 57 utterances are bad (1.8 %, allowed 1 %" in str(refused.exception) and not found
    assert [row["id"] for row in jsonl(tmp_path / "d.jsonl")] == ["z"] and not (exp / "dropped.jsonl").exists()
    done = CliRunner().invoke(app, [*command, "--max-bad", "2"])
    assert isinstance(done.exception, DataError) and "best.safetensors: missing" in str(done.exception)
    job = found["job"]
    np.testing.assert_allclose([job.mean, job.std], [[2.0] * 20, [3.0] * 20], rtol=1e-6)
    assert job.features["hop_ms"] == 5.0 and len(job.dev) == 8 and job.config.model.rnn_size == 16
    assert found["exp"] == found["monitored"] == str(exp) and found["tensorboard"] is True
    saved = tomllib.loads((exp / "config.toml").read_text())
    assert saved["made_by"]["kept"] == 56 and saved["tensorboard"] and not saved["fresh"]


RISES = ", but the learning rate, which has fallen to zero, rises again"


@pytest.mark.parametrize(
    ("epoch", "untrained", "schedule", "cut", "fix"),
    [
        (10, 6.2, "line", "6.2", f"19.6, or without a limit, trains all; without --fresh, E 11{RISES}"),
        (10, 6.2, "cosine", "6.2", f"19.6, or without a limit, trains all; without --fresh, E 11{RISES}"),
        (10, 6.2, "epoch", "6.2", "19.6, or without a limit, trains all; without --fresh, E 11"),
        (16, 0.02, "line", "0.1", "12.1, or without a limit, trains all"),
    ],
)
def test_the_end_says_what_the_time_limit_cut_off(epoch, untrained, schedule, cut, fix):
    config = TrainConfig(epochs=16, minutes=12.0, optim=OptimConfig(schedule=schedule))
    (line,) = format_event(TimeLimit(epoch, untrained, 720.0), config)
    assert line == (
        f"warning: train: --minutes 12 ended the training in epoch {epoch} of 16: {cut} epochs were not trained "
        f"(--fresh with --minutes {fix.replace('E ', 'training continues with epoch ')})"
    )


@pytest.mark.parametrize("minutes", [None, 60.0])
def test_the_end_says_what_the_time_limit_of_an_earlier_run_cut_off(minutes):
    limit = TimeLimit(16, 0.6, 1200.0, reached=False)
    assert list(format_event(limit, TrainConfig(epochs=16, minutes=minutes))) == [
        "warning: train: 0.6 epochs were not trained, because --minutes ended an earlier run "
        "(--fresh without it trains all)"
    ]


def test_a_time_limit_is_reported_also_by_the_next_run_of_the_same_command(ds2, toy, tmp_path, conf, jsonl):
    arguments = [
        "train",
        toy / "train.jsonl",
        tmp_path / "exp",
        "--config",
        conf,
        "--epochs",
        10**6,
        "--minutes",
        0.005,
    ]
    for _ in range(2):
        done = ds2(*arguments)
        assert done.returncode == 0, done.stderr
        warning, end = done.stderr.splitlines()[-2:]
        assert "warning: train: --minutes 0.005 ended the training in epoch" in warning and end.startswith(
            "train: done"
        )
    rows = jsonl(tmp_path / "exp" / "train.jsonl")
    assert rows[-1]["untrained"] > 9e5 and not any("untrained" in row for row in rows[:-1])
