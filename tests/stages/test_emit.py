"""Emissions of rows in an archive."""

from __future__ import annotations

import tomllib
from dataclasses import replace

import numpy as np
import pytest
import torch
import typer

from ds2cli import manifest
from ds2cli.archive import ArkWriter, read_matrix
from ds2cli.cli.main import app
from ds2cli.config.model import ModelConfig
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, DataError, Ds2Error, UsageError
from ds2cli.nn import infer
from ds2cli.nn.checkpoint import dump_model
from ds2cli.nn.models.ds2 import DeepSpeech2
from ds2cli.recognizer.emissions import archive_path
from ds2cli.recognizer.ensemble import Ensemble, MeanEmission
from ds2cli.recognizer.experiment import Experiment
from ds2cli.runtime.file import BEST
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
    monkeypatch.setattr(emit, "run", lambda *arguments: given.append(arguments[3:5]) or arguments[0])
    source = jsonl(tmp_path / "in.jsonl", [{"id": "a", "feats": "x.ark:3", "emission": "y.ark:3"}])
    (tmp_path / "y.ark").touch()
    arguments = [tmp_path, source, tmp_path / "out.jsonl", "--dir", tmp_path / "x"]
    command = typer.main.get_command(app)
    command.main(["emit", *map(str, arguments), "--max-bad", "7"], standalone_mode=False)
    assert given == [(f"{tmp_path}/x/out.ark", 7.0)]


@pytest.fixture
def network(tmp_path):
    """A function that writes a network with random weights to a new folder, and returns its path."""

    def write(name, seed=0, symbols=" abc", model=MODEL, bins=20, features=None):
        torch.manual_seed(seed)
        vocab = Vocab((BLANK, *symbols))
        state = DeepSpeech2(model, len(vocab), bins).state_dict()
        (tmp_path / name).mkdir()
        settings = {"hop_ms": 10.0, **(features or {})}
        (tmp_path / name / BEST).write_bytes(dump_model(state, model, vocab, settings, {}))
        return str(tmp_path / name)

    return write


def emissions(experiment, rows, ark):
    found = list(emit.run(rows, Ledger(), experiment, str(ark)))
    return [read_matrix(row["emission"], row["id"]) for row in found]


def test_an_ensemble_of_twice_the_same_network_is_the_network(toy, tmp_path, network):
    rows, path = list(manifest.read(str(toy / "dev.jsonl"))), network("a")
    single = emissions(Experiment(path), rows, tmp_path / "1.ark")
    twice = emissions(Ensemble([path, path]), rows, tmp_path / "2.ark")
    for one, two in zip(single, twice, strict=True):
        np.testing.assert_array_equal(one, two)


def test_an_ensemble_is_the_mean_of_the_probabilities_of_each_symbol(toy, tmp_path, network):
    rows = list(manifest.read(str(toy / "dev.jsonl")))
    paths = [network("a", 0), network("b", 1, symbols="cb a"), network("c", 2, symbols="abc ")]
    order = [[0, 1, 2, 3, 4], [0, 3, 4, 2, 1], [0, 4, 1, 2, 3]]
    each = [emissions(Experiment(path), rows, tmp_path / f"{i}.ark") for i, path in enumerate(paths)]
    together = emissions(Ensemble(paths), rows, tmp_path / "e.ark")
    assert len(together) == len(rows)
    for i, found in enumerate(together):
        p = np.mean([np.exp(x[i].astype(np.float64))[:, o] for x, o in zip(each, order, strict=True)], axis=0)
        np.testing.assert_allclose(found, np.log(p), rtol=1e-6, atol=1e-7)
        assert found.dtype == np.float32


def test_the_emissions_of_an_ensemble_do_not_depend_on_the_batches(toy, tmp_path, network, monkeypatch):
    rows = list(manifest.read(str(toy / "dev.jsonl")))
    ensemble = Ensemble([network("a"), network("b", 1)])
    together = emissions(ensemble, rows, tmp_path / "1.ark")
    monkeypatch.setattr(infer, "BATCH_FRAMES", 1)
    for one, other in zip(together, emissions(ensemble, rows[::-1], tmp_path / "2.ark")[::-1], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_what_does_not_fit_in_one_network_is_dropped_alone(toy, tmp_path, network, monkeypatch):
    rows = list(manifest.read(str(toy / "dev.jsonl")))[:3]
    ensemble, ledger = Ensemble([network("a"), network("b", 1)]), Ledger()
    compute = Experiment.compute_emissions

    def fail(self, feats, check):
        found = compute(self, feats, check)
        return [BadUtterance("out-of-memory", "too long") if i == 1 else x for i, x in enumerate(found)]

    monkeypatch.setattr(ensemble.others[0], "compute_emissions", fail.__get__(ensemble.others[0]))
    kept = list(emit.run(rows, ledger, ensemble, str(tmp_path / "e.ark")))
    assert [row["id"] for row in kept] == [rows[0]["id"], rows[2]["id"]]
    assert [(row["id"], row["reason"]) for row in ledger.rows] == [(rows[1]["id"], "out-of-memory")]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"symbols": " abd"}, r"b: cannot be averaged with .*a: its network has other symbols: it lacks 'c' and also "),
        ({"symbols": " abcd"}, "other symbols: it also has 'd'"),
        ({"bins": 21}, "its features have 21 bins, expected 20"),
        ({"features": {"hop_ms": 12.0}}, "its features have other settings: hop_ms 12.0, expected 10.0"),
        ({"features": {"kind": "unknown", "x": 1}}, "other settings: kind unknown, expected None; x 1, expected None"),
        ({"model": replace(MODEL, strides=(2,))}, r"a step of 2 frames \(model.strides\), expected 3"),
    ],
    ids=str,
)
def test_networks_that_do_not_go_together_are_reported_before_any_row_is_read(tmp_path, network, changes, message):
    def rows():
        pytest.fail("a row was read")
        yield {}

    ensemble = Ensemble([network("a"), network("b", **changes)])
    with pytest.raises(DataError, match=message):
        emit.run(rows(), Ledger(), ensemble, str(tmp_path / "e.ark"))


def test_zero_probability_stays_zero_only_if_all_networks_agree():
    mean = MeanEmission(np.array([[-np.inf, -np.inf, 0.0]], np.float32))
    mean.add(np.array([[-np.inf, np.log(0.5), np.log(0.5)]], np.float32))
    np.testing.assert_allclose(np.exp(mean.result()), [[0, 0.25, 0.75]], rtol=1e-6)


def test_the_command_makes_an_ensemble_and_saves_its_networks(toy, tmp_path, network, jsonl):
    first, second, third = network("a"), network("b", 1), network("c", 2)
    command = typer.main.get_command(app)
    out = tmp_path / "out.jsonl"
    arguments = ["emit", first, str(toy / "dev.jsonl"), str(out), "--ensemble", second, "--ensemble", third]
    command.main(arguments, standalone_mode=False)
    rows = list(manifest.read(str(toy / "dev.jsonl")))
    expected = emissions(Ensemble([first, second, third]), rows, tmp_path / "e.ark")
    for row, emission in zip(manifest.read(str(out)), expected, strict=True):
        np.testing.assert_array_equal(read_matrix(row["emission"], row["id"]), emission)
    assert tomllib.loads((tmp_path / "out.jsonl.config.toml").read_text())["ensemble"] == [second, third]
