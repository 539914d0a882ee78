from __future__ import annotations

import json
import re

import pytest
from typer.testing import CliRunner

from ds2cli import manifest
from ds2cli.cli.main import app
from ds2cli.cli.plan import _format_time

SMALL = ["--epochs", "3", "--batch-s", "5", "--set", "model.channels=[16]", "--set", "model.kernels=[5]"]
SMALL += ["--set", "model.strides=[2]", "--set", "model.rnn_layers=1", "--set", "model.rnn_size=16"]


def test_the_estimate_matches_the_training(ds2, toy, tmp_path, jsonl):
    both = [toy / "train.jsonl", "--dev", toy / "dev.jsonl", *SMALL]
    done = ds2("plan", *both, "--json")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert ds2("train", both[0], tmp_path / "exp", *both[1:]).returncode == 0
    rows = jsonl(tmp_path / "exp" / "train.jsonl")
    assert plan["steps_a_pass"] == rows[0]["step"] and abs(plan["steps"] - rows[2]["step"]) <= 1
    assert (plan["utterances"], plan["dropped"], plan["symbols"]) == (48, 0, 5)
    assert plan["padding"] == rows[0]["padding"]
    frames = sum(row["num_frames"] for row in jsonl(toy / "train.jsonl"))
    assert abs(plan["hours"] - frames / 100 / 3600) < 0.01
    largest = max((tmp_path / "exp" / name).stat().st_size for name in ("best.safetensors", "last.pt"))
    total = sum(p.stat().st_size for p in (tmp_path / "exp").iterdir() if p.suffix in (".pt", ".safetensors"))
    assert total <= plan["disk_mb"] * 2**20 + 2 * 10**5 and plan["disk_mb"] * 2**20 < 3 * total + largest
    assert plan["memory_mb"] > 50 and plan["minutes"] >= 0 and plan["seconds_a_step"] > 0
    assert not list(tmp_path.glob("*.pt"))


def test_the_estimate_as_text_with_a_time_limit(ds2, toy):
    limits = ["--minutes", "0.001", "--epochs", "9999"]
    done = ds2("plan", toy / "train.jsonl", *SMALL, *limits, "--set", "optim.method=sgd")
    assert done.returncode == 0, done.stderr
    lines = dict(line.split(None, 1) for line in done.stdout.replace("longest batch", "longest").splitlines())
    assert list(lines) == ["data", "network", "steps", "longest", "time", "memory", "disk"]
    limit = r"; --minutes 0\.001 ends it after [\d.]+ of 9999 epochs"
    assert re.fullmatch(rf"[\d.]+ s, [\d.]+ s per epoch \([\d.]+x real time\){limit}", lines["time"]), lines["time"]
    assert lines["data"].startswith("48 utterances")


def test_settings_that_a_training_refuses_are_refused(ds2, toy):
    done = ds2("plan", toy / "train.jsonl", "--early-stop", "2")
    assert done.returncode == 2 and "--dev DEV" in done.stderr


def test_the_settings_of_the_features_are_read_from_another_file(ds2, toy, tmp_path, jsonl):
    (tmp_path / "features.toml").write_text("hop_ms = 100.0\n")
    done = ds2("plan", toy / "train.jsonl", *SMALL, "--features", tmp_path / "features.toml", "--json")
    assert done.returncode == 0, done.stderr
    frames = sum(row["num_frames"] for row in jsonl(toy / "train.jsonl"))
    assert json.loads(done.stdout)["hours"] == round(frames / 10 / 3600, 2)


ESTIMATED = {
    "utterances": 1234, "hours": 5.25, "symbols": 29, "parameters": 39168029, "steps_a_pass": 1029, "steps": 12345,
    "padding": 7.5, "longest": [8, 12000], "seconds_a_step": 0.5, "hours_per_hour": 25.2, "minutes_a_pass": 12.5,
    "minutes": 240.0, "epochs": 7.0, "memory_mb": 2345, "disk_mb": 4567.8,
}  # fmt: skip


def test_each_number_of_the_estimate_is_in_its_line(toy, tmp_path, jsonl, monkeypatch):
    seen = []

    def estimate(job, device):
        seen.append((len(job.train), len(job.dev), job.config.epochs, device.type))
        return ESTIMATED

    monkeypatch.setattr("ds2cli.stages.plan.estimate", estimate)
    rows = jsonl(tmp_path / "rows.jsonl", [*manifest.read(str(toy / "train.jsonl")), {"id": "z", "text": "a"}])
    command = ["plan", rows, "--dev", str(toy / "dev.jsonl"), "--epochs", "7", "--device", "cpu"]
    assert CliRunner().invoke(app, command).stdout.splitlines() == [
        "data          1,234 utterances, 5.25 h, 1 dropped",
        "network       39,168,029 parameters, 29 symbols",
        "steps         12,345, 1,029 per epoch, 7.5 % padding",
        "longest batch 8 utterances, 12,000 frames",
        "time          4.0 h, 12.5 min per epoch (25.2x real time)",
        "memory        2,345 MB",
        "disk          4,567.8 MB",
    ]
    assert json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout) == {**ESTIMATED, "dropped": 1}
    assert seen == [(48, 8, 7, "cpu")] * 2


@pytest.mark.parametrize(
    ("minutes", "text"), [(0.01, "0.6 s"), (1.49, "89 s"), (1.5, "1.5 min"), (119.9, "119.9 min"), (120, "2.0 h")]
)
def test_a_time_is_given_in_the_unit_that_fits(minutes, text):
    assert _format_time(minutes) == text
