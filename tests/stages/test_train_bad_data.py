"""Damaged data and files cost as little as possible, and are reported."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import soundfile

from ds2cli import manifest
from ds2cli.archive import ArkWriter
from ds2cli.config.base import build
from ds2cli.config.features import FeatureConfig
from ds2cli.config.train import TrainConfig
from ds2cli.drops import Ledger
from ds2cli.errors import DataError, Ds2Error, UsageError
from ds2cli.stages import train
from ds2cli.text.vocab import BLANK, Vocab
from ds2cli.train import data as train_data
from ds2cli.train.checkpoint_files import LOG
from ds2cli.train.events import Epoch
from ds2cli.train.resume import LAST, dump_checkpoint, load_checkpoint

FEATURES = FeatureConfig().features()
SMALL = {
    "epochs": 1, "batch_s": 10.0, "optim": {"lr": 0.01},
    "model": {"channels": [8], "kernels": [5], "strides": [2], "rnn_layers": 1, "rnn_size": 8},
}  # fmt: skip


@pytest.fixture
def rows(toy):
    return list(manifest.read(str(toy / "train.jsonl")))


@pytest.fixture
def dev(toy):
    return list(manifest.read(str(toy / "dev.jsonl")))


def prepared(rows, dev, exp, ledger=None, **changed):
    config = build(TrainConfig, ("test", SMALL), ("changed", changed))
    return train_data.prepare_job(config, rows, dev, str(exp), FEATURES, ledger or Ledger())


def rows_of(job, exp):
    return [e.to_row() for e in train.run(job, str(exp)) if isinstance(e, Epoch)]


@pytest.mark.parametrize("value", [math.nan, math.inf, 3e38])
def test_values_that_are_not_log_powers_do_not_affect_the_rest(rows, dev, tmp_path, value):
    feats = np.full((60, 20), -9.0, np.float32)
    feats[3, 4] = value
    with ArkWriter(tmp_path / "damaged.ark") as ark:
        rows[5] = {**rows[5], "feats": ark.write(rows[5]["id"], feats), "num_frames": 60, "text": "a b"}
    job = prepared(rows, dev, tmp_path / "exp")
    assert np.isfinite(job.mean).all() and job.std.min() > 0.1 and job.std.max() < 100
    (row,) = rows_of(job, tmp_path / "exp")
    assert 0 < row["loss"] < 20


def test_rows_with_another_number_of_bins_are_dropped(rows, dev, tmp_path):
    with ArkWriter(tmp_path / "damaged.ark") as ark:
        rows[5] = {**rows[5], "feats": ark.write(rows[5]["id"], np.zeros((60, 7), np.float32)), "text": "a b"}
    ledger = Ledger()
    job = prepared(rows, dev, tmp_path, ledger)
    assert ledger.reasons == {"wrong-features": 1} and len(job.train) == len(rows) - 1


def texts_of(rows, *texts):
    """The rows with these texts in turn, repeated."""
    return [{**row, "text": texts[i % len(texts)]} for i, row in enumerate(rows)]


def test_texts_are_read_with_one_space_and_damaged_ones_are_dropped(rows, dev, tmp_path):
    ledger, warnings = Ledger(), []
    config = build(TrainConfig, ("test", SMALL))
    rows = texts_of(rows[:42], "a b\n", " a\u2028b", "a\tb", "a b", "a\x00b", "a\ufffdb", "a b")
    job = train_data.prepare_job(config, rows, texts_of(dev, "b\r\n a"), "", FEATURES, ledger, warn=warnings.append)
    assert job.vocab.symbols == (BLANK, " ", "a", "b") and {u.text for u in job.train} == {"a b"}
    assert {u.text for u in job.dev} == {"b a"}
    assert (ledger.reasons["control-characters"], ledger.reasons["not-utf8"]) == (6, 6)
    assert ledger.kept == len(job.train) + len(job.dev) and ledger.kept + ledger.dropped == len(rows) + len(dev)
    assert [warning.partition(" have")[0] for warning in warnings] == [
        "train: 18 of 42 training texts", f"train: {len(dev)} of {len(dev)} dev texts",
    ]  # fmt: skip
    job.vocab.save(tmp_path / "tokens.txt")
    assert Vocab.load(tmp_path / "tokens.txt") == job.vocab


def test_dev_texts_that_the_network_cannot_write_are_refused_or_counted(rows, dev, tmp_path):
    with pytest.raises(
        DataError, match=rf"^train: the case differs .*in {len(dev)} of {len(dev)} texts.*\(ds2 data fix"
    ):
        prepared(rows, texts_of(dev, "A b"), tmp_path)
    warnings = []
    config = build(TrainConfig, ("test", SMALL))
    train_data.prepare_job(config, rows, texts_of(dev, "a b ä", "a b"), "", FEATURES, Ledger(), warn=warnings.append)
    (warning,) = warnings
    assert f"the network cannot write {len(dev) // 2} of " in warning and "lack 'ä' (" in warning


@pytest.mark.parametrize("dev_texts", [None, "", " "])
def test_a_dev_set_without_rows_or_texts_is_refused(rows, dev, tmp_path, dev_texts):
    dev = [] if dev_texts is None else [{**row, "text": dev_texts} for row in dev]
    with pytest.raises(DataError, match=r"the dev manifest has no rows|no dev utterance has a text"):
        prepared(rows, dev, tmp_path)


def test_noise_and_reverberation_are_applied_to_the_training_set(tmp_path, jsonl):
    rng, speech = np.random.default_rng(0), []
    for i in range(6):
        path = str(tmp_path / f"{i}.wav")
        soundfile.write(path, 0.1 * rng.standard_normal(16000), 16000)
        speech.append({"id": f"u{i}", "audio_filepath": path, "duration": 1.0, "text": "a b"})
    # 8 kHz and two channels: noise and impulse responses may differ from the utterances
    soundfile.write(tmp_path / "noise.wav", 0.1 * rng.standard_normal((8000, 2)), 8000)
    soundfile.write(tmp_path / "room.wav", [[0.0, 0.1], [1.0, 0.9], [0.5, 0.2]], 8000)
    manifests = {
        name: jsonl(tmp_path / f"{name}.jsonl", [{"id": "n", "audio_filepath": str(tmp_path / f"{name}.wav")}])
        for name in ("noise", "room")
    }
    augment = {"noise": manifests["noise"], "noise_share": 1.0, "rir": manifests["room"], "rir_share": 1.0}
    job = prepared(speech, speech[:2], tmp_path / "exp", augment=augment)
    augmented, unaugmented = job.train_features(job.train[0], 0), job.dev_features(job.train[0])
    assert augmented.shape == unaugmented.shape and not np.allclose(augmented, unaugmented)
    assert not np.allclose(augmented, job.train_features(job.train[0], 1)), "other noise in another epoch"
    (row,) = rows_of(job, tmp_path / "exp")
    assert row["loss"] > 0 and "skipped" not in row


def test_an_epoch_in_which_no_utterance_counts_ends_the_run(rows, dev, tmp_path):
    with pytest.raises(
        Ds2Error,
        match=r"^train: nothing was learned in epoch \d: every utterance was skipped, the last: [^\n]*\(not-finite\)$",
    ):
        rows_of(prepared(rows, dev, tmp_path, optim={"lr": 1e30, "clip": 0.0}, epochs=3), tmp_path)


def test_float16_finds_its_scale_without_skipping_a_step(rows, dev, tmp_path):
    events = list(train.run(prepared(rows, dev, tmp_path, precision="float16"), str(tmp_path)))
    losses = [e.loss for e in events if hasattr(e, "loss")]
    assert losses and all(map(math.isfinite, losses))


def test_a_folder_is_locked_by_one_training(rows, dev, tmp_path):
    first = train.run(prepared(rows, dev, tmp_path), str(tmp_path))
    with pytest.raises(UsageError, match="another ds2 train is running there"):
        train.run(prepared(rows, dev, tmp_path), str(tmp_path))
    next(first)
    first.close()
    assert len(rows_of(prepared(rows, dev, tmp_path), tmp_path)) == 1


@pytest.fixture
def trained(rows, dev, tmp_path):
    rows_of(prepared(rows, dev, tmp_path), tmp_path)
    return tmp_path


def test_a_checkpoint_with_a_wrong_byte_is_refused(trained):
    data = bytearray((trained / LAST).read_bytes())
    data[len(data) // 2] ^= 1
    (trained / LAST).write_bytes(data)
    with pytest.raises(DataError, match=r"last.pt: not a checkpoint: it is damaged \(remove it, or give --fresh\)"):
        load_checkpoint(trained)


@pytest.mark.parametrize("wrong", [
    {"at": [1]}, {"at": {"epoch": -5}}, {"at": {"epoch": "x"}}, {"config": 3}, {"features": 3}, {"optimizer": 3},
    {"average": 3},
])  # fmt: skip
def test_a_checkpoint_with_wrong_entries_is_one_error_line(trained, rows, dev, wrong):
    checkpoint = load_checkpoint(trained)
    (trained / LAST).write_bytes(dump_checkpoint({**{k: v for k, v in checkpoint.items() if k != "format"}, **wrong}))
    with pytest.raises(DataError, match=r"^[^\n]*(last.pt|train.jsonl): [^\n]*$"):
        rows_of(prepared(rows, dev, trained, epochs=2), trained)


@pytest.mark.parametrize("log", [b"\xff\xfe\x00", b"[1]\n", b"{}\n", json.dumps("x").encode()])
def test_a_log_without_epochs_is_one_error_line(trained, rows, dev, log):
    (trained / LOG).write_bytes(log)
    with pytest.raises(DataError, match=r"train.jsonl: expected one row per epoch \(remove it"):
        rows_of(prepared(rows, dev, trained, epochs=2), trained)
