"""The settings of features reach the network, also by way of `ds2 data`; other settings are refused or warned of."""

from __future__ import annotations

import json
import tomllib
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from ds2cli.cli.lib.features import warn_of_other_features

TRAIN = ("--set", "model.rnn_size=8", "--set", "model.rnn_layers=1", "--set", "model.channels=[8,8]", "--epochs", "1")


@pytest.fixture
def featurized(ds2, tmp_path):
    """Folder with six recordings and their features, 20 mel filters, in feats.jsonl."""
    rng = np.random.default_rng(0)
    with (tmp_path / "rows.jsonl").open("w") as f:
        for i in range(6):
            soundfile.write(tmp_path / f"{i}.wav", rng.normal(0, 0.1, 16000), 16000)
            row = {"id": f"u{i}", "audio_filepath": f"{i}.wav", "duration": 1.0, "text": "a b"}
            f.write(json.dumps(row) + "\n")
    kind = "--kind", "fbank", "--set", "num_mels=20", "--dir", tmp_path / "ark"
    done = ds2("featurize", tmp_path / "rows.jsonl", tmp_path / "feats.jsonl", *kind)
    assert done.returncode == 0, done.stderr
    return tmp_path


def inherited(path):
    return tomllib.loads(path.read_text())["made_by"]["features"]


@pytest.mark.parametrize("command", ["sort", "fix", "subset", "combine"])
def test_what_is_made_from_features_has_their_settings(ds2, featurized, command):
    out = featurized / "out.jsonl"
    assert ds2("data", command, featurized / "feats.jsonl", out).returncode == 0
    settings = inherited(featurized / "out.jsonl.config.toml")
    assert (settings["kind"], settings["num_mels"]) == ("fbank", 20)
    # and again from that
    assert ds2("data", command, out, featurized / "again.jsonl").returncode == 0
    assert inherited(featurized / "again.jsonl.config.toml") == settings


def test_each_part_of_a_split_has_the_settings(ds2, featurized):
    ds2("data", "split", featurized / "feats.jsonl", featurized / "part.JOB.jsonl", "--parts", "2")
    for part in ("1", "2"):
        assert inherited(featurized / f"part.{part}.jsonl.config.toml")["num_mels"] == 20


def test_a_manifest_without_features_saves_none(ds2, featurized):
    ds2("data", "sort", featurized / "rows.jsonl", featurized / "out.jsonl")
    assert "features" not in tomllib.loads((featurized / "out.jsonl.config.toml").read_text())["made_by"]


def test_features_of_different_settings_are_not_combined(ds2, featurized):
    ds2("featurize", featurized / "rows.jsonl", featurized / "other.jsonl", "--kind", "fbank", "--set", "num_mels=21",
        "--dir", featurized / "ark2")  # fmt: skip
    done = ds2("data", "combine", featurized / "feats.jsonl", featurized / "other.jsonl", featurized / "out.jsonl")
    assert done.returncode == 3
    difference = f"its features have other settings than those of {featurized}/feats.jsonl: num_mels"
    assert done.stderr == f"ds2: {featurized}/other.jsonl: {difference}\n"
    assert not (featurized / "out.jsonl").exists()


def test_a_network_trained_on_a_subset_recognizes_recordings(ds2, featurized):
    ds2("data", "subset", featurized / "feats.jsonl", featurized / "five.jsonl", "--first", "5")
    done = ds2("train", featurized / "five.jsonl", featurized / "exp", *TRAIN)
    assert done.returncode == 0 and "warning" not in done.stderr, done.stderr
    done = ds2("transcribe", featurized / "exp", featurized / "0.wav")
    assert done.returncode == 0, done.stderr


def test_features_whose_settings_are_unknown_are_warned_of(ds2, featurized):
    (featurized / "feats.jsonl.config.toml").unlink()
    done = ds2("train", featurized / "feats.jsonl", featurized / "exp", *TRAIN)
    assert done.returncode == 0
    assert (
        "warning: train: the features have 20 bins, spectrogram features with the settings known have 161: the network "
        "will not recognize recordings (give the settings with --features)\n"
    ) in done.stderr


@pytest.mark.parametrize(
    ("saved", "names"),
    [
        ("hop_ms = 5.0\nnj = 4\n", None),
        ("hop_ms = 10.0\nfloor = 1e-8\n", "floor, hop_ms"),
        ("nj = 4\n", None),
        ("[made_by.features]\nhop_ms = 20.0\n", "hop_ms"),
    ],
)
def test_only_features_of_other_settings_are_warned_of(tmp_path, capsys, saved, names):
    path = str(tmp_path / "a.jsonl")
    (tmp_path / "a.jsonl.config.toml").write_text(saved)
    warn_of_other_features(path, SimpleNamespace(path="exp", network=SimpleNamespace(features={"hop_ms": 5.0})))
    warning = f"warning: {path}: its features have other settings than the network was trained on: {names}\n"
    assert capsys.readouterr().err == (warning if names else "")
