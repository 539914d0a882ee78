"""What version 0.1.0 wrote can still be opened, used and resumed."""

import shutil
from pathlib import Path

import pytest

VERSION = Path(__file__).parent / "v0.1"


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(VERSION, tmp_path / "v0.1"))


def losses(rows):
    return [row["loss"] for row in rows]


def test_a_finished_training_resumes_along_the_same_losses(folder, ds2, jsonl):
    options = ["--dev", folder / "dev.jsonl", "--config", folder / "train.toml"]
    run = ds2("train", folder / "train.jsonl", folder / "exp", *options)
    assert run.returncode == 0, run.stderr
    resumed, expected = jsonl(folder / "exp" / "train.jsonl"), jsonl(folder / "resumed.jsonl")
    assert [row["epoch"] for row in resumed] == [1, 2, 3, 4, 5, 6]
    assert resumed[:3] == expected[:3]
    assert losses(resumed) == pytest.approx(losses(expected), rel=1e-2)
    assert [row["step"] for row in resumed] == [row["step"] for row in expected]


def test_settings_that_the_checkpoint_was_not_made_with_are_refused(folder, ds2):
    options = ["--config", folder / "train.toml", "--set", "model.rnn_size=9", "--dev", folder / "dev.jsonl"]
    run = ds2("train", folder / "train.jsonl", folder / "exp", *options)
    assert run.returncode == 2 and "model.rnn_size" in run.stderr, run.stderr


def test_the_settings_of_an_experiment_are_read_back(folder, ds2):
    options = ["--dev", folder / "dev.jsonl", "--config", folder / "exp" / "config.toml"]
    run = ds2("train", folder / "train.jsonl", folder / "exp", *options)
    assert run.returncode == 0, run.stderr


def test_its_network_computes_the_same_emissions(folder, ds2, jsonl):
    run = ds2("emit", folder / "exp", folder / "dev.jsonl", folder / "again.jsonl", "--dir", folder / "again")
    assert run.returncode == 0, run.stderr
    greedy = ds2("decode", folder / "exp", folder / "again.jsonl", "-", "--greedy")
    assert greedy.returncode == 0, greedy.stderr
    (folder / "greedy.jsonl").write_text(greedy.stdout)
    assert texts(jsonl(folder / "greedy.jsonl")) == texts(jsonl(folder / "dev.greedy.jsonl"))


def test_stored_emissions_and_tuned_weights_give_the_same_texts(folder, ds2, jsonl):
    args = ["--lm", folder / "exp" / "lm.arpa", "--nbest", 2, "--timestamps"]
    run = ds2("decode", folder / "exp", folder / "dev.emit.jsonl", folder / "new.jsonl", *args)
    assert run.returncode == 0 and "alpha 0.2, beta -1, unknown -1, unknown_letter 0" in run.stderr, run.stderr
    new, old = ([without_confidences(row) for row in jsonl(folder / name)] for name in ("new.jsonl", "dev.lm.jsonl"))
    assert new == old


def without_confidences(row):
    """Version 0.1 measured the confidence of a word in another way, and that of a text not at all."""
    words = [{name: value for name, value in word.items() if name != "conf"} for word in row["pred_words"]]
    return {name: value for name, value in row.items() if name != "pred_conf"} | {"pred_words": words}


def test_stored_emissions_are_aligned_to_the_same_times(folder, ds2, jsonl):
    run = ds2("align", folder / "exp", folder / "dev.emit.jsonl", folder / "new.jsonl")
    assert run.returncode == 0, run.stderr
    assert jsonl(folder / "new.jsonl") == jsonl(folder / "dev.ali.jsonl")


def test_decoded_rows_are_scored_and_explained(folder, ds2):
    (folder / "dev.lm.jsonl.config.toml").write_text(
        (VERSION / "dev.lm.jsonl.config.toml").read_text().replace('"exp/lm.arpa"', f'"{folder}/exp/lm.arpa"')
    )
    run = ds2("score", folder / "dev.lm.jsonl", "--why", folder / "exp")
    assert run.returncode == 0 and run.stdout.startswith("%WER "), run.stderr


def test_networks_of_epochs_are_averaged(folder, ds2):
    networks = [folder / "exp" / f"epoch-00{n}.safetensors" for n in (2, 3)]
    run = ds2("model", "average", *networks, folder / "average.safetensors")
    assert run.returncode == 0, run.stderr
    assert ds2("model", "show", folder / "average.safetensors").returncode == 0


def texts(rows):
    return [row["pred_text"] for row in rows]
