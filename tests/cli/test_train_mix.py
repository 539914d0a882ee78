"""`ds2 train` and `ds2 plan` with the section [mix]: further corpora in each epoch."""

from __future__ import annotations

import json
import tomllib

import numpy as np
import pytest

from ds2cli.train.losses import read_losses

CONFIG = """
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
def mixed(toy, tmp_path):
    """A config in which half of each epoch's utterances are of the toy's training set."""
    file = tmp_path / "mix.toml"
    file.write_text(f'{CONFIG}[mix]\nmanifests = ["{toy}/train.jsonl"]\nweights = [0.5]\n')
    return file


@pytest.mark.long
def test_a_network_is_tuned_on_a_new_corpus_with_a_part_of_the_old_one(ds2, toy, tmp_path, mixed):
    first, exp = tmp_path / "first", tmp_path / "exp"
    (tmp_path / "first.toml").write_text(CONFIG)
    done = ds2("train", toy / "train.jsonl", first, "--config", tmp_path / "first.toml")
    assert done.returncode == 0, done.stderr
    command = ["train", toy / "dev.jsonl", exp, "--config", mixed, "--init", first, "--nproc", "2"]
    done = ds2(*command)
    assert done.returncode == 0, done.stderr
    rows = (toy / "dev.jsonl").read_text().count("\n") + (toy / "train.jsonl").read_text().count("\n")
    assert f"{rows} in = {rows} kept + 0 dropped" in done.stderr and "--init" in done.stderr
    saved = tomllib.loads((exp / "config.toml").read_text())
    assert saved["mix"] == {"manifests": [f"{toy}/train.jsonl"], "weights": [0.5]}
    assert "mix.manifests 1" in saved["made_by"]["inputs"]
    assert ds2(*command).returncode == 0, "the same command resumes"
    for setting, message in (("mix.weights=[0.4]", "mix.weights was [0.5], is [0.4]"), ("mix.weights=[]", "a weight")):
        done = ds2(*command, "--set", setting)
        assert done.returncode == 2 and message in done.stderr


def test_the_plan_has_the_utterances_of_an_epoch(ds2, toy, mixed):
    count = (toy / "dev.jsonl").read_text().count("\n")
    done = ds2("plan", toy / "dev.jsonl", "--config", mixed, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["utterances"] == 2 * count


def test_a_corpus_with_other_features_is_refused(ds2, toy, tmp_path, mixed):
    for name, window in (("train", 20.0), ("other", 25.0)):
        (tmp_path / f"{name}.jsonl").write_text((toy / "dev.jsonl").read_text())
        (tmp_path / f"{name}.jsonl.config.toml").write_text(f"window_ms = {window}\n")
    mixed.write_text(mixed.read_text().replace(str(toy), str(tmp_path)))
    done = ds2("train", tmp_path / "other.jsonl", tmp_path / "exp", "--config", mixed)
    assert done.returncode == 3 and "features have other settings" in done.stderr


@pytest.mark.long
@pytest.mark.parametrize("nproc", [1, 2])
def test_a_small_corpus_with_a_large_share_is_seen_several_times_in_a_step(ds2, toy, tmp_path, mixed, nproc):
    small = tmp_path / "small.jsonl"
    rows = [json.loads(line) for line in (toy / "train.jsonl").read_text().splitlines()[:2]]
    for row in rows:
        row["feats"] = str(toy / row["feats"])
    small.write_text("".join(json.dumps(row) + "\n" for row in rows))
    if (toy / "train.jsonl.config.toml").exists():
        small.with_name("small.jsonl.config.toml").write_text((toy / "train.jsonl.config.toml").read_text())
    mixed.write_text(mixed.read_text().replace(f"{toy}/train.jsonl", str(small)))
    done = ds2("train", toy / "dev.jsonl", tmp_path / "exp", "--config", mixed, "--nproc", nproc)
    assert done.returncode == 0, done.stderr
    assert np.isfinite(read_losses(str(tmp_path / "exp")).nats).all()
