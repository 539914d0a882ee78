"""Commands that are killed at any point continue from what is there, and end with the same bytes."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

ROOT = Path(__file__).parents[2]
FEATS = ("featurize", "in.jsonl", "feats.jsonl", "--max-bad", 50, "--speeds", "1.0 0.9", "--compress")
EMIT = ("emit", "exp", "feats.jsonl", "emit.jsonl", "--max-bad", 50)
DECODE = ("decode", "exp", "feats.jsonl", "decode.jsonl", "--max-bad", 50, "--beam", 16, "--nbest", 2)
COPIES = 40


@pytest.fixture(scope="module")
def material(tmp_path_factory, shared_data):
    """A folder with a manifest of some good and some bad rows, their features, and an untrained network."""
    import torch

    from ds2cli.config.features import FeatureConfig
    from ds2cli.config.model import ModelConfig
    from ds2cli.nn.checkpoint import dump_model
    from ds2cli.nn.models.ds2 import DeepSpeech2
    from ds2cli.text.vocab import BLANK, Vocab

    folder = tmp_path_factory.mktemp("material")
    files = sorted((shared_data / "LibriSpeech/dev-clean").rglob("*.flac"))[:5]
    (folder / "broken.wav").write_bytes(b"RIFF")
    lines = []
    for i in range(COPIES):
        lines += [{"id": f"u{i:03}-{k}", "audio_filepath": str(path), "text": "é"} for k, path in enumerate(files)]
        if i % 7 == 3:
            lines.append({"id": f"u{i:03}-x", "audio_filepath": "broken.wav"})
        if i % 9 == 5:
            lines += [lines[-1], {"id": f"u{i:03}-y", "duration": "long"}]
    (folder / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    vocab, config = Vocab((BLANK, " ", *"abc")), ModelConfig(channels=(8,), kernels=(5,), strides=(2,), rnn_size=96)
    torch.manual_seed(0)
    weights = DeepSpeech2(config, len(vocab), 161).state_dict()
    (folder / "exp").mkdir()
    (folder / "exp/best.safetensors").write_bytes(
        dump_model(weights, config, vocab, FeatureConfig().features(), {"seed": 0})
    )
    run(folder, *FEATS)
    return folder


def start(folder, *command):
    return subprocess.Popen(
        [sys.executable, "-m", "ds2cli", *map(str, command)],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )


def run(folder, *command):
    running = start(folder, *command)
    errors = running.communicate(timeout=120)[1]
    assert running.returncode == 0, errors
    return errors


def inputs_in(tmp_path, material, *names):
    folder = tmp_path / "work"
    folder.mkdir()
    for name in names:
        (folder / name).symlink_to(material / name)
    return folder


def results(folder):
    """What a command has written, by name: not its record, which has times."""
    files = {str(p.relative_to(folder)): p for p in folder.rglob("*") if p.is_file() and not p.is_symlink()}
    return {name: p.read_bytes() for name, p in files.items() if not name.endswith(".config.toml")}


def journal_size(folder):
    return sum(p.stat().st_size for p in folder.rglob("*.unfinished/journal.jsonl"))


def kill(folder, command, rng, whole_group=True):
    """Kill a command after it has finished a block more; returns whether it was still running."""
    running = start(folder, *command)
    size, until = journal_size(folder), time.monotonic() + 60
    while journal_size(folder) <= size and running.poll() is None and time.monotonic() < until:
        time.sleep(0.001)
    time.sleep(rng.uniform(0, 0.1))
    if running.poll() is None:
        os.killpg(running.pid, signal.SIGKILL) if whole_group else running.kill()
    running.communicate(timeout=30)
    return running.returncode == -signal.SIGKILL


@pytest.mark.parametrize("nj", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_featurize_continues_after_kills(tmp_path, material, nj):
    check(tmp_path, material, ("in.jsonl", "broken.wav"), (*FEATS, "--nj", nj), FEATS)


def test_emit_continues_after_kills(tmp_path, material):
    check(tmp_path, material, ("exp", "feats.jsonl", "feats"), EMIT)


@pytest.mark.parametrize("options", [pytest.param((), marks=pytest.mark.slow), ("--emissions", "e", "--nj", 2)])
def test_decode_continues_after_kills(tmp_path, material, options):
    check(tmp_path, material, ("exp", "feats.jsonl", "feats"), (*DECODE, *options))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("command", [(*FEATS, "--nj", 2), EMIT, (*DECODE, "--emissions", "e")])
def test_many_kills_at_random_moments(tmp_path, material, seed, command):
    inputs = ("in.jsonl", "broken.wav") if command[0] == "featurize" else ("exp", "feats.jsonl", "feats")
    check(tmp_path, material, inputs, command, seed=seed, kills=6)


def check(tmp_path, material, inputs, command, reference=None, *, seed=0, kills=2):
    folder, rng = inputs_in(tmp_path, material, *inputs), random.Random(seed)
    run(folder, *(reference or command))
    expected = results(folder)
    folder.rename(tmp_path / "whole")
    folder = inputs_in(tmp_path, material, *inputs)
    out, killed = folder / command[command.index("--max-bad") - 1], 0
    while killed < kills and kill(folder, command, rng, whole_group=killed % 2 == 0):
        killed += 1
        if out.exists():
            assert results(folder).items() >= expected.items(), (
                "killed when all was done, but for the removal of the folder"
            )
    errors = run(folder, *command)
    assert killed and " that an interrupted run has finished" in errors, (killed, errors)
    assert results(folder) == expected
    assert not list(folder.rglob("*.unfinished"))


KILLED_AT = """
import os, signal, sys
left = int(sys.argv.pop(1))

def counted(function):
    def call(*arguments, **options):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return call

for name in ("fsync", "link", "replace", "unlink", "rmdir", "truncate"):
    setattr(os, name, counted(getattr(os, name)))
from ds2cli.cli.main import main
main()
"""
"""Runs a command that is killed at a certain call of those that change files."""


def killed_at(folder, call, *command):
    """Whether a command was killed at that call; False if it ended before."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED_AT, str(call), *map(str, command)],
        cwd=folder, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0


def small_input(folder, count=40):
    rng = np.random.default_rng(0)
    (folder / "wav").mkdir(parents=True)
    lines = []
    for i in range(count):
        soundfile.write(folder / "wav" / f"{i:02}.wav", rng.normal(scale=0.1, size=1600 + 160 * (i % 7)), 16000)
        lines.append(json.dumps({"id": f"u{i:02}", "audio_filepath": f"wav/{i:02}.wav"}))
    (folder / "in.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "wav/07.wav").write_bytes(b"RIFF")


def check_calls(tmp_path, calls):
    """Kill a featurize at each of these calls, in the place of an earlier result with more rows and other settings."""
    small_input(tmp_path / "a", 70)
    small = ("featurize", "in.jsonl", "out.jsonl", "--max-bad", 50)
    run(tmp_path / "a", *small, "--compress")
    lines = (tmp_path / "a/in.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "a/in.jsonl").write_text("".join(lines[:40]))
    shutil.copytree(tmp_path / "a", tmp_path / "whole")
    earlier = results(tmp_path / "whole")
    run(tmp_path / "whole", *small)
    expected, killed = results(tmp_path / "whole"), 0
    for call in calls:
        folder = tmp_path / f"at{call}"
        shutil.copytree(tmp_path / "a", folder)
        if not killed_at(folder, call, *small):
            break
        killed += 1
        left = {name: data for name, data in results(folder).items() if "/." not in name and name[0] != "."}
        if "out.jsonl" in left:
            referred = [
                {n: d for n, d in x.items() if n.endswith((".ark", "out.jsonl"))} for x in (left, earlier, expected)
            ]
            assert referred[0] in referred[1:], f"rows and archives of two runs after a kill at call {call}"
        run(folder, *small)
        assert results(folder) == expected, f"killed at call {call}"
    return killed


def test_a_kill_while_the_results_get_their_names(tmp_path):
    assert check_calls(tmp_path, [5, 14, 19, 24]) == 4


@pytest.mark.slow
def test_a_kill_at_every_change_of_a_file(tmp_path):
    assert 20 < check_calls(tmp_path, range(1, 1000)) < 100
