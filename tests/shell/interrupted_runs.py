"""A training on recordings, and ways to watch and end it from outside."""

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
from ds2cli.train.state_file import load_state

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


def manifests(shared_data, folder, size=60):
    """Recordings of digits in two manifests, and settings of a small network."""
    known = sorted((shared_data / "fsdd" / "recordings").glob("*.wav"))
    random.Random(1).shuffle(known)
    for name, files in (("train", known[:size]), ("dev", known[size : size + 4])):
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
    (folder / "plain.toml").write_text(CONF.format(dropout=0.0))
    return folder


class Run:
    """`ds2 train` in a session of its own, its words in a file."""

    def __init__(self, folder, exp, *options, conf="conf.toml", launcher=("-m", "ds2cli"), environment=None):
        self.exp, self.said_in = Path(exp), Path(f"{exp}.said.{time.monotonic_ns()}")
        command = [sys.executable, *launcher, "train", folder / "train.jsonl", exp, "--dev", folder / "dev.jsonl"]
        command += ["--config", folder / conf, *options]
        env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **(environment or {})}
        with self.said_in.open("w") as f:
            self.process = subprocess.Popen(
                [*map(str, command)], env=env, stdout=f, stderr=f, start_new_session=True, cwd=folder
            )
        self.pid = self.process.pid

    def said(self):
        return self.said_in.read_text()

    def end(self, timeout=120):
        """Its exit status."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, 9)
            raise AssertionError(f"still running: {self.said()}") from None

    def until(self, what, timeout=120):
        """Wait for `what()` to be true; false when the run ended before."""
        stop = time.monotonic() + timeout
        while not what():
            if self.process.poll() is not None:
                return False
            if time.monotonic() > stop:
                os.killpg(self.pid, 9)
                raise AssertionError(f"waited in vain: {self.said()}")
            time.sleep(0.002)
        return True

    def saved(self):
        """Which last.pt there is."""
        try:
            return (self.exp / "last.pt").stat().st_ino
        except FileNotFoundError:
            return 0

    def saves(self, number):
        """Wait until last.pt was written so many times more."""
        for _ in range(number):
            now = self.saved()
            if not self.until(lambda now=now: self.saved() != now):
                return False
        return True


def finish(*given, **options):
    """Run to the end; what was said."""
    run = Run(*given, **options)
    assert run.end(300) == 0, run.said()
    return run.said()


def end_of(exp):
    """All that a run has left, without what depends on the clock: tensors and rows by name."""
    state = load_state(exp)
    kept = {k: v for k, v in state["at"].items() if k not in ("elapsed_s", "seconds", "waited")}
    rows = [json.loads(line) for line in (Path(exp) / "train.jsonl").read_text().splitlines()]
    found = {"at": kept, "rows": [{k: v for k, v in row.items() if k not in TIMES} for row in rows]}
    found |= {f"model {k}": v for k, v in state["model"].items()}
    found |= {f"average {k}": v for k, v in state["average"].items()}
    found |= {f"best {k}": v for k, v in load_model(exp).model.state_dict().items()}
    for number, values in state["optimizer"]["state"].items():
        found |= {f"optimizer {number} {k}": v for k, v in values.items()}
    found["groups"] = state["optimizer"]["param_groups"]
    return found


def assert_same_end(exp, other):
    a, b = end_of(exp), end_of(other)
    assert a.keys() == b.keys()
    assert sum(name.startswith("optimizer") for name in a) > 10
    differ = [
        name
        for name in a
        if not (torch.equal(a[name], b[name]) if isinstance(a[name], torch.Tensor) else a[name] == b[name])
    ]
    assert not differ
    assert not list(Path(exp).glob(".*")), "nothing half-written is left"


def alive(pid):
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def below(pid):
    """The processes that a process started, and those that they started."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    found, new = [], {pid}
    while new:
        new = {child for child, parent in parents.items() if parent in new}
        found += sorted(new)
    return found


def ranks(pid):
    """Those of them that train: the others read, and do without torch."""
    found = []
    for child in below(pid):
        try:
            if re.search(r"libtorch_cpu", Path(f"/proc/{child}/maps").read_text()):
                found.append(child)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return found
