from __future__ import annotations

import json
import re

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
    done = ds2("plan", toy / "train.jsonl", *SMALL, "--minutes", "0.001", "--set", "optim.method=sgd")
    assert done.returncode == 0, done.stderr
    lines = dict(line.split(None, 1) for line in done.stdout.replace("longest batch", "longest").splitlines())
    assert list(lines) == ["data", "network", "steps", "longest", "time", "memory", "disk"]
    limit = r"; --minutes 0\.001 ends it after [\d.]+ of 3 epochs"
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
