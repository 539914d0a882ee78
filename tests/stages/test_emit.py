"""Emissions of rows in an archive."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import typer

from ds2cli import manifest
from ds2cli.archive import ArkWriter, read_matrix
from ds2cli.cli.main import app
from ds2cli.config.model import ModelConfig
from ds2cli.drops import Ledger
from ds2cli.errors import DataError, Ds2Error, UsageError
from ds2cli.nn.checkpoint import BEST, dump_model
from ds2cli.nn.models.ds2 import DeepSpeech2
from ds2cli.recognizer.emissions import archive_path
from ds2cli.recognizer.experiment import Experiment
from ds2cli.stages import emit
from ds2cli.text.vocab import BLANK, Vocab

MODEL = ModelConfig(channels=(8,), kernels=(5,), strides=(3,), rnn_layers=1, rnn_size=8)


@pytest.fixture
def experiment(tmp_path):
    torch.manual_seed(0)
    vocab = Vocab((BLANK, " ", "a", "b", "c"))
    state = DeepSpeech2(MODEL, 5, 20).state_dict()
    (tmp_path / BEST).write_bytes(dump_model(state, MODEL, vocab, {"hop_ms": 10.0}, {}))
    return Experiment(str(tmp_path))


def test_rows_gain_emissions(toy, tmp_path, experiment):
    rows = list(manifest.read(str(toy / "dev.jsonl")))
    results = list(emit.run(rows, Ledger(), experiment, str(tmp_path / "e.ark")))
    assert [r["id"] for r in results] == [r["id"] for r in rows]
    for row in results:
        scores = read_matrix(row["emission"], row["id"])
        assert scores.shape == (row["num_steps"], 5) == (-(-row["num_frames"] // 3), 5)
        assert row["step_s"] == pytest.approx(0.03) and row["text"]
        np.testing.assert_allclose(np.exp(scores).sum(1), 1, rtol=1e-5)


def test_an_emission_that_a_row_already_has_is_computed_again(toy, tmp_path, experiment):
    rows = list(manifest.read(str(toy / "dev.jsonl")))[:3]
    with ArkWriter(tmp_path / "old.ark") as ark:
        uniform = np.full((1, 5), np.log(0.2), np.float32)
        old = [{**row, "emission": ark.write(row["id"], uniform), "num_steps": 1, "step_s": 9.0} for row in rows]
    computed = list(emit.run(old, Ledger(), experiment, str(tmp_path / "e.ark")))
    assert computed == list(emit.run(rows, Ledger(), experiment, str(tmp_path / "e.ark")))
    assert all(row["emission"].startswith(f"{tmp_path}/e.ark:") and row["num_steps"] > 1 for row in computed)


def test_a_missing_network_is_reported_before_any_row_is_read(tmp_path):
    def rows():
        pytest.fail("a row was read")
        yield {}

    with pytest.raises(DataError, match="no trained network"):
        emit.run(rows(), Ledger(), Experiment(str(tmp_path / "none")), str(tmp_path / "e.ark"))


def test_rows_without_usable_features_are_dropped(toy, tmp_path, experiment):
    rows = list(manifest.read(str(toy / "dev.jsonl")))[:4]
    with ArkWriter(tmp_path / "bad.ark") as ark:
        rows[0]["feats"] = ark.write(rows[0]["id"], np.zeros((5, 7), np.float32))
        rows[1]["feats"] = ark.write(rows[1]["id"], np.zeros((0, 0), np.float32))
    rows[2]["feats"] = str(tmp_path / "gone.ark:3")
    ledger = Ledger()
    results = list(emit.run(rows, ledger, experiment, str(tmp_path / "e.ark")))
    assert [r["id"] for r in results] == [rows[3]["id"]]
    assert [r["reason"] for r in ledger.rows] == ["wrong-features", "too-short", "missing-archive"]
    assert ledger.rows[0]["detail"] == "7 bins, the network was trained on 20"


def test_the_archive_is_next_to_the_manifest_by_default():
    assert archive_path(None, "data/dev.jsonl.gz") == "data/emissions/dev.ark"
    assert archive_path("x", "data/dev.jsonl") == "x/dev.ark"
    assert archive_path("x", "-") == "x/emissions.ark"
    with pytest.raises(UsageError, match="--dir"):
        archive_path(None, "-")


def test_a_refused_run_leaves_the_previous_archive(toy, tmp_path, experiment):
    rows = list(manifest.read(str(toy / "dev.jsonl")))[:4]
    ark = tmp_path / "e.ark"
    list(emit.run(rows, Ledger(), experiment, str(ark)))
    before = ark.read_bytes()
    rows[2] = {**rows[2], "feats": str(tmp_path / "gone.ark:3")}
    with pytest.raises(Ds2Error, match="emit: refused: 1 of 4"):
        list(emit.run(rows, Ledger(), experiment, str(ark), 24.0))
    assert ark.read_bytes() == before
    assert len(list(emit.run(rows, Ledger(), experiment, str(ark), 25.0))) == 3


def test_the_command_passes_its_folder_and_limit_on(tmp_path, monkeypatch, jsonl):
    given = []
    monkeypatch.setattr(emit, "run", lambda *arguments: given.append(arguments[3:]) or arguments[0])
    source = jsonl(tmp_path / "in.jsonl", [{"id": "a", "feats": "x.ark:3"}])
    arguments = [tmp_path, source, tmp_path / "out.jsonl", "--dir", tmp_path / "x"]
    command = typer.main.get_command(app)
    command.main(["emit", *map(str, arguments), "--max-bad", "7"], standalone_mode=False)
    assert given == [(f"{tmp_path}/x/out.ark", 7.0)]
