from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from ds2cli import manifest
from ds2cli.archive import ArkWriter, read_matrix
from ds2cli.config.base import build
from ds2cli.config.featurize import SpectrogramConfig
from ds2cli.config.train import TrainConfig
from ds2cli.drops import Ledger
from ds2cli.errors import DataError, UsageError
from ds2cli.nn.checkpoint import load_model
from ds2cli.stages import train
from ds2cli.train import data as train_data
from ds2cli.train.evaluate import count_greedy_errors
from ds2cli.train.state_file import LAST, dump_state, load_state

FEATURES = SpectrogramConfig().features()
SMALL = {
    "epochs": 2, "batch_s": 10.0, "optim": {"lr": 0.01},
    "model": {"channels": [16], "kernels": [5], "strides": [2], "rnn_layers": 1, "rnn_size": 16},
}  # fmt: skip


def config(**changed):
    return build(TrainConfig, ("test", SMALL), ("changed", changed))


def prepared(toy, exp, rows=None, ledger=None, stats=None, **changed):
    rows = list(manifest.read(str(toy / "train.jsonl"))) if rows is None else rows
    dev = manifest.read(str(toy / "dev.jsonl"))
    return train_data.prepare(config(**changed), rows, dev, str(exp), FEATURES, ledger or Ledger(), stats)


def rows_of(job, exp):
    return [e for e in train.run(job, str(exp)) if isinstance(e, dict)]


def untimed(rows):
    timed = ("seconds", "hours_per_hour", "waiting", "memory_mb")
    return [{k: v for k, v in row.items() if k not in timed} for row in rows]


def test_the_experiment_folder(toy, tmp_path, jsonl):
    rows = rows_of(prepared(toy, tmp_path), tmp_path)
    assert jsonl(tmp_path / "train.jsonl") == rows and [r["epoch"] for r in rows] == [1, 2]
    assert (tmp_path / "tokens.txt").read_text().splitlines() == ["<blank>", "<space>", "a", "b", "c"]
    trained = load_model(tmp_path)
    assert trained.features == FEATURES and trained.step_s == pytest.approx(0.02)
    assert -10 < float(trained.model.mean.mean()) < -8, "normalised by the statistics of the raw features"


def test_the_same_command_goes_on_and_a_finished_one_does_nothing(toy, tmp_path):
    expected = untimed(rows_of(prepared(toy, tmp_path / "whole", epochs=3), tmp_path / "whole"))
    cut = train.run(prepared(toy, tmp_path / "cut", epochs=3), str(tmp_path / "cut"))
    while not isinstance(next(cut), dict):
        pass
    cut.close()
    job = prepared(toy, tmp_path / "cut", epochs=3)
    assert job.mean.tolist() == prepared(toy, tmp_path / "other").mean.tolist(), "the checkpoint's statistics"
    assert untimed(rows_of(job, tmp_path / "cut")) == expected[1:]
    log = (tmp_path / "cut" / "train.jsonl").read_text().splitlines()
    assert untimed(map(json.loads, log)) == expected
    assert rows_of(prepared(toy, tmp_path / "cut", epochs=3), tmp_path / "cut") == []
    assert rows_of(prepared(toy, tmp_path / "cut", epochs=1, fresh=True), tmp_path / "cut")[0]["epoch"] == 1


def test_a_fresh_start_forgets_the_checkpoint_at_once_and_a_restart_of_it_does_not(toy, tmp_path, monkeypatch):
    rows_of(prepared(toy, tmp_path, epochs=1), tmp_path)
    for name in (f".1.part.{LAST}", ".1.part.best.safetensors"):
        (tmp_path / name).write_bytes(b"half")
    (tmp_path / "epoch-001.safetensors").write_bytes(b"of the run before")
    (tmp_path / "average.safetensors").write_bytes(b"of somebody else")
    events = train.run(prepared(toy, tmp_path, fresh=True), str(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {"tokens.txt", "average.safetensors"}
    while not isinstance(next(events), dict):
        pass
    events.close()
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert [row["epoch"] for row in rows_of(prepared(toy, tmp_path, fresh=True), tmp_path)] == [2]


def test_other_settings_or_other_data_are_refused(toy, tmp_path):
    rows_of(prepared(toy, tmp_path, epochs=1), tmp_path)
    with pytest.raises(UsageError, match=r"optim.lr was 0.01, is 0.02 .*--fresh"):
        rows_of(prepared(toy, tmp_path, optim={"lr": 0.02}), tmp_path)
    some = list(manifest.read(str(toy / "train.jsonl")))[1:]
    with pytest.raises(UsageError, match="other utterances"):
        rows_of(prepared(toy, tmp_path, rows=some), tmp_path)
    job = prepared(toy, tmp_path, epochs=2)
    with pytest.raises(UsageError, match=r"other features: hop_ms was 10.0, is 5.0 \(.*--fresh"):
        rows_of(replace(job, features={**job.features, "hop_ms": 5.0}), tmp_path)
    with pytest.raises(UsageError, match="another dev set"):
        rows_of(replace(job, dev=job.dev[1:]), tmp_path)
    assert len(rows_of(job, tmp_path)) == 1, "more epochs are welcome"


def test_a_checkpoint_of_before_there_was_a_choice_of_loss_goes_on(toy, tmp_path):
    rows_of(prepared(toy, tmp_path, epochs=1), tmp_path)
    state = load_state(tmp_path)
    del state["config"]["ctc"]
    (tmp_path / LAST).write_bytes(dump_state({k: v for k, v in state.items() if k != "format"}))
    assert len(rows_of(prepared(toy, tmp_path, epochs=2), tmp_path)) == 1
    assert len(rows_of(prepared(toy, tmp_path, epochs=3, ctc="torch"), tmp_path)) == 1


def test_what_cannot_be_learned_from_is_dropped_with_its_reason(toy, tmp_path):
    rows = list(manifest.read(str(toy / "train.jsonl")))
    frames = rows[0]["num_frames"]
    rows[0]["text"] = "ab" * frames
    rows[1]["text"] = "aa" * (rows[1]["num_frames"] // 4)
    rows[2]["text"] = " "
    rows[3]["feats"] = str(tmp_path / "gone.ark:5")
    ledger = Ledger()
    job = prepared(toy, tmp_path, rows=rows, ledger=ledger)
    assert ledger.reasons == {"label-too-long": 2, "no-text": 1, "missing-archive": 1}
    assert "labels need" in ledger.rows[0]["detail"] and len(job.train) == len(rows) - 4
    assert ledger.kept == len(job.train) + len(job.dev)


def test_what_needs_a_recording_drops_rows_without_one(toy, tmp_path):
    ledger = Ledger()
    with pytest.raises(DataError, match=r"no utterance can be used, .*noise, rooms, speeds and shifts need"):
        prepared(toy, tmp_path, ledger=ledger, augment={"speeds": [0.9, 1.0]})
    assert set(ledger.reasons) == {"no-audio"}


def test_a_dev_recording_that_is_not_there_costs_itself(toy, tmp_path):
    job = prepared(toy, tmp_path, epochs=1)
    job.dev[0] = replace(job.dev[0], feats=str(tmp_path / "gone.ark:5"))
    (row,) = rows_of(job, tmp_path)
    assert row["dev_skipped"] == {job.dev[0].id: "missing-archive"} and row["dev_wer"] >= 0


def test_a_dev_row_that_cannot_be_read_is_dropped_before_the_training(toy, tmp_path):
    rows, dev = (list(manifest.read(str(toy / f"{name}.jsonl"))) for name in ("train", "dev"))
    with ArkWriter(tmp_path / "odd.ark") as ark:
        dev[0]["feats"] = ark.write(dev[0]["id"], np.zeros((5, 7), np.float32))
    dev[1]["feats"] = str(tmp_path / "gone.ark:5")
    ledger = Ledger()
    job = train_data.prepare(config(), rows, dev, str(tmp_path), FEATURES, ledger)
    assert ledger.reasons == {"wrong-features": 1, "missing-archive": 1}
    assert [u.id for u in job.dev] == [row["id"] for row in dev[2:]]
    with pytest.raises(DataError, match="no dev utterance can be used"):
        train_data.prepare(config(), rows, dev[:2], str(tmp_path), FEATURES, Ledger())


def test_nothing_left_is_an_error(toy, tmp_path):
    rows = [{**row, "text": ""} for row in manifest.read(str(toy / "train.jsonl"))]
    with pytest.raises(DataError, match="no utterance can be used"):
        prepared(toy, tmp_path, rows=rows)


def test_statistics_of_a_file_are_those_of_the_rows(toy, tmp_path):
    from ds2cli.feats import cmvn

    stats = cmvn.empty(20)
    for row in manifest.read(str(toy / "train.jsonl")):
        cmvn.accumulate(stats, read_matrix(row["feats"]))
    with ArkWriter(tmp_path / "cmvn.ark") as ark:
        ark.write("global", stats)
    given, found = prepared(toy, tmp_path, stats=str(tmp_path / "cmvn.ark")), prepared(toy, tmp_path)
    np.testing.assert_allclose(given.mean, found.mean, rtol=1e-5)
    np.testing.assert_allclose(given.std, found.std, rtol=1e-4)


def test_statistics_that_do_not_fit_are_refused(toy, tmp_path):
    with pytest.raises(DataError, match="no such file"):
        prepared(toy, tmp_path, stats=str(tmp_path / "none.ark"))
    with ArkWriter(tmp_path / "narrow.ark") as ark:
        ark.write("global", np.ones((2, 11)))
        ark.write("tall", np.ones((3, 21)))
    with pytest.raises(DataError, match="20 bins, the statistics have 10"):
        prepared(toy, tmp_path, stats=str(tmp_path / "narrow.ark"))


def test_two_processes_learn_as_one(toy, tmp_path):
    one = rows_of(prepared(toy, tmp_path / "one", epochs=1), tmp_path / "one")
    two = rows_of(prepared(toy, tmp_path / "two", epochs=1, nproc=2), tmp_path / "two")
    assert two[0]["step"] == one[0]["step"]
    # each process norms over its own half of a batch, so the losses are near, not equal
    assert two[0]["loss"] == pytest.approx(one[0]["loss"], rel=0.2)
    # they test on the dev set together, to what the stored network gives in one process
    job = prepared(toy, tmp_path)
    by_word, by_character, *_ = count_greedy_errors(load_model(tmp_path / "two"), job.dev, job.plain)
    assert (two[0]["dev_wer"], two[0]["dev_cer"]) == (round(by_word.rate, 2), round(by_character.rate, 2))
    assert len(rows_of(prepared(toy, tmp_path / "two", epochs=2, nproc=2), tmp_path / "two")) == 1
