"""Runs of `ds2 train` on recordings, watched and interrupted from outside."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import soundfile
import torch

from ds2cli.nn.checkpoint import load_model
from ds2cli.train.resume import load_checkpoint

ROOT = Path(__file__).parents[2]
CONF = """
batch_s = 3.0
seed = 5
[model]
channels = [16]
kernels = [11]
strides = [3]
rnn_layers = 1
rnn_size = 16
dropout = {dropout}
[optim]
lr = 0.005
ema = 0.9
[augment]
speeds = [0.9, 1.0, 1.1]
gain_db = 6.0
time_masks = 1
"""
WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
TIMES = ("seconds", "hours_per_hour", "waiting", "memory_mb")


def write_data(shared_data, folder, size=60):
    """Write manifests of spoken digits for training and dev, and the settings of a small network."""
    recordings = sorted((shared_data / "fsdd" / "recordings").glob("*.wav"))
    random.Random(1).shuffle(recordings)
    for name, files in (("train", recordings[:size]), ("dev", recordings[size : size + 4])):
        with (folder / f"{name}.jsonl").open("w") as f:
            for path in sorted(files):
                row = {
                    "id": path.stem,
                    "audio_filepath": str(path),
                    "duration": soundfile.info(path).duration,
                    "text": WORDS[int(path.stem[0])],
                }
                f.write(json.dumps(row) + "\n")
    (folder / "conf.toml").write_text(CONF.format(dropout=0.2))
    (folder / "no_dropout.toml").write_text(CONF.format(dropout=0.0))
    return folder


class Run:
    """`ds2 train` in its own session; stdout and stderr go to a file."""

    def __init__(self, folder, exp, *options, conf="conf.toml", launcher=("-m", "ds2cli"), environment=None):
        self.exp, self.output_file = Path(exp), Path(f"{exp}.log.{time.monotonic_ns()}")
        command = [sys.executable, *launcher, "train", folder / "train.jsonl", exp, "--dev", folder / "dev.jsonl"]
        command += ["--config", folder / conf, *options]
        env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **(environment or {})}
        with self.output_file.open("w") as f:
            self.process = subprocess.Popen(
                [*map(str, command)], env=env, stdout=f, stderr=f, start_new_session=True, cwd=folder
            )
        self.pid = self.process.pid

    def output(self):
        return self.output_file.read_text()

    def wait(self, timeout=120):
        """Wait for the end; returns the exit status."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, 9)
            raise AssertionError(f"still running: {self.output()}") from None

    def wait_until(self, condition, timeout=120):
        """Wait until `condition()` is true; returns False when the run ends first."""
        deadline = time.monotonic() + timeout
        while not condition():
            if self.process.poll() is not None:
                return False
            if time.monotonic() > deadline:
                os.killpg(self.pid, 9)
                raise AssertionError(f"timed out: {self.output()}")
            time.sleep(0.002)
        return True

    def checkpoint_inode(self):
        """The inode of last.pt, which changes with each write; 0 without one."""
        try:
            return (self.exp / "last.pt").stat().st_ino
        except FileNotFoundError:
            return 0

    def wait_for_saves(self, number):
        """Wait until last.pt is written `number` more times; returns False when the run ends first."""
        for _ in range(number):
            inode = self.checkpoint_inode()
            if not self.wait_until(lambda inode=inode: self.checkpoint_inode() != inode):
                return False
        return True


def run_to_end(*arguments, **options):
    """Train to the end; returns the output."""
    run = Run(*arguments, **options)
    assert run.wait(300) == 0, run.output()
    return run.output()


def final_state(exp):
    """The tensors and rows of a finished run by name, without measured times."""
    checkpoint = load_checkpoint(exp)
    state = {k: v for k, v in checkpoint["at"].items() if k not in ("elapsed_s", "seconds", "waited")}
    rows = [json.loads(line) for line in (Path(exp) / "train.jsonl").read_text().splitlines()]
    result = {"at": state, "rows": [{k: v for k, v in row.items() if k not in TIMES} for row in rows]}
    result |= {f"model {k}": v for k, v in checkpoint["model"].items()}
    result |= {f"average {k}": v for k, v in checkpoint["average"].items()}
    result |= {f"best {k}": v for k, v in load_model(exp).model.state_dict().items()}
    for number, values in checkpoint["optimizer"]["state"].items():
        result |= {f"optimizer {number} {k}": v for k, v in values.items()}
    result["groups"] = checkpoint["optimizer"]["param_groups"]
    return result


def assert_same_result(exp, other):
    a, b = final_state(exp), final_state(other)
    assert a.keys() == b.keys()
    assert sum(name.startswith("optimizer") for name in a) > 10
    differ = [
        name
        for name in a
        if not (torch.equal(a[name], b[name]) if isinstance(a[name], torch.Tensor) else a[name] == b[name])
    ]
    assert not differ
    assert not list(Path(exp).glob(".*")), "partially written files are left"


def is_alive(pid):
    """Whether a process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def descendants(pid):
    """All processes that a process started, directly or indirectly."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    all_children, generation = [], {pid}
    while generation:
        generation = {child for child, parent in parents.items() if parent in generation}
        all_children += sorted(generation)
    return all_children


def training_ranks(pid):
    """The descendants that train; data-loader processes do not load torch."""
    ranks = []
    for child in descendants(pid):
        try:
            if re.search(r"libtorch_cpu", Path(f"/proc/{child}/maps").read_text()):
                ranks.append(child)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return ranks
