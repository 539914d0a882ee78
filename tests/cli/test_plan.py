from __future__ import annotations

import json
import re

import pytest
from typer.testing import CliRunner

from ds2cli import manifest
from ds2cli.cli.lib.train_display import MEASURING
from ds2cli.cli.main import app
from ds2cli.cli.plan import _format_time
from ds2cli.errors import UsageError
from ds2cli.train import precision

SMALL = ["--epochs", "3", "--batch-s", "5", "--set", "model.channels=[16]", "--set", "model.kernels=[5]"]
SMALL += ["--set", "model.strides=[2]", "--set", "model.rnn_layers=1", "--set", "model.rnn_size=16"]


def test_the_estimate_matches_the_training(ds2, toy, tmp_path, jsonl):
    both = [toy / "train.jsonl", "--dev", toy / "dev.jsonl", *SMALL]
    done = ds2("plan", *both, "--json")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert ds2("train", both[0], tmp_path / "exp", *both[1:]).returncode == 0
    rows = jsonl(tmp_path / "exp" / "train.jsonl")
    assert plan["steps_per_epoch"] == rows[0]["step"] and abs(plan["steps"] - rows[2]["step"]) <= 1
    assert (plan["utterances"], plan["dropped"], plan["symbols"]) == (48, 0, 5)
    assert plan["padding"] == rows[0]["padding"]
    frames = sum(row["num_frames"] for row in jsonl(toy / "train.jsonl"))
    assert abs(plan["hours"] - frames / 100 / 3600) < 0.01
    largest = max((tmp_path / "exp" / name).stat().st_size for name in ("best.safetensors", "last.pt"))
    total = sum(p.stat().st_size for p in (tmp_path / "exp").iterdir() if p.suffix in (".pt", ".safetensors"))
    assert total <= plan["disk_mb"] * 2**20 + 2 * 10**5 and plan["disk_mb"] * 2**20 < 3 * total + largest
    assert plan["memory_mb"] > 50 and plan["minutes"] >= 0 and plan["seconds_per_step"] > 0
    assert not list(tmp_path.glob("*.pt"))


def test_the_estimate_as_text_with_a_time_limit(ds2, toy):
    limits = ["--minutes", "0.001", "--epochs", "9999"]
    done = ds2("plan", toy / "train.jsonl", *SMALL, *limits, "--set", "optim.method=sgd")
    assert done.returncode == 0, done.stderr
    lines = dict(line.split(None, 1) for line in done.stdout.replace("longest batch", "longest").splitlines())
    assert list(lines) == ["data", "network", "precision", "steps", "longest", "time", "memory", "disk"]
    limit = r"; --minutes 0\.001 ends it after [\d.]+ of 9999 epochs"
    assert re.fullmatch(rf"[\d.]+ s, [\d.]+ s per epoch \([\d.]+ h of audio per hour\){limit}", lines["time"])
    assert lines["data"].startswith("48 utterances") and lines["precision"] == "float32"


def test_settings_that_a_training_refuses_are_refused(ds2, toy):
    done = ds2("plan", toy / "train.jsonl", "--early-stop", "2")
    assert done.returncode == 2 and "--dev DEV" in done.stderr


@pytest.mark.parametrize("option", [["--nproc", "9"], ["--device", "cuda"]])
def test_processes_and_devices_that_are_not_there_are_refused_before_the_manifest_is_read(monkeypatch, option):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setenv("DS2_CORES", "2")
    monkeypatch.setattr(manifest, "read", None)
    refused = CliRunner().invoke(app, ["plan", "train.jsonl", *option]).exception
    assert isinstance(refused, UsageError) and str(refused).startswith(("train: --nproc 9: ", "--device cuda: "))


def test_a_measurement_is_announced_and_the_precision_is_given(toy, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(precision, "_has_bfloat16", lambda: True)
    monkeypatch.setattr(precision, "measure_seconds", lambda *_: {"float32": 2.0, "bfloat16": 1.0})
    command = ["plan", str(toy / "train.jsonl"), *SMALL, "--device", "cpu", "--precision", "auto"]
    first, second = (CliRunner().invoke(app, [*command, *json_option]) for json_option in ([], ["--json"]))
    (file,) = tmp_path.rglob("*.json")
    reason = f"a short batch takes 2000 ms in float32, 1000 ms in bfloat16; to measure again, delete {file}"
    assert f"precision     bfloat16 ({reason})\n" in first.stdout and f"plan: {MEASURING}\n" in first.stderr
    found = json.loads(second.stdout)
    assert (found["precision"], found["precision_reason"]) == ("bfloat16", reason) and second.stderr == ""


def test_the_settings_of_the_features_are_read_from_another_file(ds2, toy, tmp_path, jsonl):
    (tmp_path / "features.toml").write_text("hop_ms = 100.0\n")
    done = ds2("plan", toy / "train.jsonl", *SMALL, "--features", tmp_path / "features.toml", "--json")
    assert done.returncode == 0, done.stderr
    frames = sum(row["num_frames"] for row in jsonl(toy / "train.jsonl"))
    assert json.loads(done.stdout)["hours"] == round(frames / 10 / 3600, 2)


ESTIMATED = {
    "utterances": 1234, "hours": 5.25, "symbols": 29, "parameters": 39168029, "precision": "float16",
    "precision_reason": "chosen", "steps_per_epoch": 1029, "steps": 12345,
    "padding": 7.5, "longest": [8, 12000], "seconds_per_step": 0.5, "hours_per_hour": 25.2, "minutes_per_epoch": 12.5,
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
        "precision     float16 (chosen)",
        "steps         12,345, 1,029 per epoch, 7.5 % padding",
        "longest batch 8 utterances, 12,000 frames",
        "time          4.0 h, 12.5 min per epoch (25.2 h of audio per hour)",
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
