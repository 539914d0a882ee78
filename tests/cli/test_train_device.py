"""Train, kill, resume and decode a tiny network with the real commands, on the CPU and on a GPU."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]
SETTINGS = {
    "batch_s": 5.0, "optim.lr": 0.01, "model.channels": [16], "model.kernels": [5], "model.strides": [2],
    "model.rnn_layers": 1, "model.rnn_size": 24, "model.dropout": 0.0,
}  # fmt: skip


@pytest.fixture
def command(ds2, tmp_path):
    """Start `ds2 …` and wait for it, unless `wait` is false; where there is a GPU in a new process."""

    def start(*words, wait=True):
        if wait and not torch.cuda.is_available():
            done = ds2(*words, cwd=tmp_path)
            assert done.returncode == 0, done.stderr
            return done.stdout
        # `make gpu` may have installed packages into a folder of that variable
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        env = {**os.environ, "PYTHONPATH": path}
        done = subprocess.Popen(
            [sys.executable, "-m", "ds2cli", *map(str, words)], cwd=tmp_path, env=env, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        if not wait:
            return done
        stdout, stderr = done.communicate(timeout=300)
        assert done.returncode == 0, stderr
        return stdout

    return start


@pytest.fixture
def train(toy):
    """The command that trains EXP on a device, with settings by their names."""

    def words(exp, device, epochs, **settings):
        assignments = [f"{name.replace('__', '.')}={json.dumps(value)}" for name, value in settings.items()]
        assignments += [f"{name}={json.dumps(value)}" for name, value in SETTINGS.items()]
        options = ["--dev", toy / "dev.jsonl", "--device", device, "--epochs", epochs]
        return ["train", toy / "train.jsonl", exp, *options, *(w for text in assignments for w in ("--set", text))]

    return words


@pytest.mark.parametrize("device", DEVICES)
def test_a_killed_training_resumes_and_its_network_decodes(command, train, toy, tmp_path, jsonl, device):
    exp = tmp_path / "exp"
    killed = command(*train(exp, device, 10**4), wait=False)
    deadline = time.monotonic() + 200
    while not (exp / "train.jsonl").is_file() and killed.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    killed.kill()
    _, log = killed.communicate()
    assert (exp / "train.jsonl").is_file(), log
    before = [(row["epoch"], row["loss"]) for row in jsonl(exp / "train.jsonl")]
    assert before and "longest batch" in log, log
    epochs = max(20, len(before) + 2)
    command(*train(exp, device, epochs))
    rows = jsonl(exp / "train.jsonl")
    assert [row["epoch"] for row in rows] == list(range(1, epochs + 1))
    complete = len(before) - 1  # the row of an epoch is written before its checkpoint
    assert [(row["epoch"], row["loss"]) for row in rows[:complete]] == before[:complete]
    assert rows[-1]["loss"] < rows[0]["loss"] / 2
    command("decode", exp, toy / "dev.jsonl", tmp_path / "dev.jsonl", "--greedy")
    scored = command("score", tmp_path / "dev.jsonl", "--unit", "both")
    wer, cer = (float(re.search(rf"%{unit} ([0-9.]+)", scored)[1]) for unit in ("WER", "CER"))
    best = min(row["dev_cer"] for row in rows)
    dev_wers = {row["dev_wer"] for row in rows if row["dev_cer"] == best}
    if device == "cpu":
        assert cer == best and wer in dev_wers
    # decoding runs on the CPU, the evaluation in training on the device: a close decision may differ
    assert abs(cer - best) < 3 and min(abs(wer - dev_wer) for dev_wer in dev_wers) < 8
    assert cer < 40


@pytest.mark.cuda
@pytest.mark.parametrize(
    ("cell", "activation", "precision"),
    [("gru", "tanh", "float32"), ("rnn", "relu", "float32"), ("lstm", "tanh", "auto"), ("gru", "tanh", "float16")],
)
def test_a_gpu_trains_as_the_cpu_does(command, train, tmp_path, jsonl, cell, activation, precision):
    """The loss of each epoch, on the same data in the same order, from the same weights."""
    losses = {}
    for device in ("cpu", "cuda"):
        exp = tmp_path / device
        used = precision if device == "cuda" else "float32"
        command(*train(exp, device, 3, model__cell=cell, model__activation=activation, precision=used))
        losses[device] = [row["loss"] for row in jsonl(exp / "train.jsonl")]
    assert losses["cuda"] == pytest.approx(losses["cpu"], rel=0.05 if precision == "float32" else 0.2)


@pytest.mark.cuda
def test_processes_on_several_gpus_train_as_one(command, train, tmp_path, jsonl):
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    for nproc in (1, 2):
        command(*train(tmp_path / f"{nproc}", "cuda", 2, nproc=nproc, sync_norm=True))
    one, two = ([row["loss"] for row in jsonl(tmp_path / f"{n}" / "train.jsonl")] for n in (1, 2))
    assert two == pytest.approx(one, rel=0.02)
