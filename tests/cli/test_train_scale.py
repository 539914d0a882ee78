"""Training on very many rows: when the first step begins, and how much memory it takes.

    python -m pytest -m slow tests/cli/test_train_scale.py -s      # DS2_SCALE_ROWS=1000000 for fewer rows

A training of this size is a process of its own, which reports its times and memory at some of its steps.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ds2cli.config.base import to_toml
from ds2cli.config.model import ModelConfig
from ds2cli.config.optim import OptimConfig
from ds2cli.config.train import TrainConfig

ROOT = Path(__file__).parents[2]
ROWS = int(os.environ.get("DS2_SCALE_ROWS", "10000000"))
EPOCH_ROWS = min(ROWS, 500_000)
MAX_MB = 1500
SMALL = ModelConfig(channels=(4,), kernels=(3,), strides=(2,), rnn_layers=1, rnn_size=8)

PROBE = """
import time
started = time.time()
import json, os, sys
from pathlib import Path
from ds2cli.train.trainer import Trainer
from ds2cli.cli.main import main

steps, every, most, take_step = 0, int(sys.argv[1]), int(sys.argv[2]), Trainer.take_step


def report():
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    mb = {name: int(status[name].split()[0]) >> 10 for name in ("RssAnon", "RssFile")}
    wall, cpu = time.time() - started, time.process_time()
    print(json.dumps({"step": steps, "wall_s": wall, "cpu_s": cpu, **mb}), file=sys.stderr, flush=True)


def probed(*arguments, **named):
    global steps
    if steps % every == 0:
        report()
    steps += 1
    if steps > most:
        os._exit(0)
    return take_step(*arguments, **named)


Trainer.take_step = probed
sys.argv = ["ds2", *sys.argv[3:]]
main()
"""


def train(folder, rows, every, most, batch_s, *options):
    """Train on a number of rows, for `most` steps or an epoch; returns the reports, one every `every` steps."""
    manifest = folder / "train.jsonl"
    generate = [sys.executable, ROOT / "utils/big_manifest.py", manifest, "--rows", str(rows), "--features"]
    subprocess.run(generate, check=True)
    config = TrainConfig(epochs=1, batch_s=batch_s, model=SMALL, optim=OptimConfig())
    (folder / "train.toml").write_text(to_toml(config, {}))
    command = [sys.executable, "-c", PROBE, str(every), str(most), "train", manifest, folder / "exp"]
    options = ["--config", folder / "train.toml", *options]
    environment = os.environ | {"TMPDIR": str(folder)}
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    reports = [json.loads(line) for line in done.stderr.splitlines() if line.startswith('{"step"')]
    print(*reports, sep="\n")
    return reports


@pytest.mark.slow
def test_ten_million_rows_are_at_the_first_step_within_a_minute_and_need_little_memory(tmp_path):
    is_idle = os.getloadavg()[0] < 1
    reports = train(tmp_path, ROWS, 50, 200, 200.0)
    first = reports[0]
    # where other processes run, too, the time of this one
    assert first["step"] == 0 and first["wall_s" if is_idle else "cpu_s"] < 60
    assert len(reports) > 1 and all(report["RssAnon"] + report["RssFile"] < MAX_MB for report in reports)


@pytest.mark.slow
def test_memory_does_not_grow_over_an_epoch(tmp_path):
    steps = EPOCH_ROWS // 1000
    reports = train(tmp_path, EPOCH_ROWS, steps // 10, 10**9, 200.0)
    assert len(reports) >= 10
    anonymous = [report["RssAnon"] for report in reports]
    # the first steps reserve memory for batches of different sizes
    assert max(anonymous[5:]) < max(anonymous[1:5]) + 30
    assert all(report["RssAnon"] + report["RssFile"] < MAX_MB for report in reports)
