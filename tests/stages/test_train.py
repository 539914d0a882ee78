from __future__ import annotations

import json
from dataclasses import fields, replace
from itertools import islice

import numpy as np
import pytest
import torch

from ds2cli import manifest
from ds2cli.archive import ArkWriter, read_matrix
from ds2cli.config.base import as_dict, build
from ds2cli.config.features import FeatureConfig
from ds2cli.config.train import TrainConfig
from ds2cli.drops import Ledger
from ds2cli.errors import DataError, Ds2Error, UsageError
from ds2cli.nn.checkpoint import load_model
from ds2cli.nn.distributed.process_group import PeerLostError, ProcessGroup
from ds2cli.stages import train
from ds2cli.train import data as train_data
from ds2cli.train.evaluate import count_greedy_errors
from ds2cli.train.events import Epoch, MemoryProbe, Request, Restart, Resumed, Saved, TrainStep
from ds2cli.train.examples import fingerprint
from ds2cli.train.network import build_initial_network, plan_initial_weights
from ds2cli.train.resume import LAST, dump_checkpoint, load_checkpoint

FEATURES = FeatureConfig().features()
SMALL = {
    "epochs": 2, "batch_s": 10.0, "optim": {"lr": 0.01},
    "model": {"channels": [16], "kernels": [5], "strides": [2], "rnn_layers": 1, "rnn_size": 16},
}  # fmt: skip


def config(**changed):
    return build(TrainConfig, ("test", SMALL), ("changed", changed))


def prepared(toy, exp, rows=None, ledger=None, stats=None, **changed):
    rows = list(manifest.read(str(toy / "train.jsonl"))) if rows is None else rows
    dev = manifest.read(str(toy / "dev.jsonl"))
    return train_data.prepare_job(config(**changed), rows, dev, str(exp), FEATURES, ledger or Ledger(), stats)


def rows_of(job, exp):
    return [e.to_row() for e in train.run(job, str(exp)) if isinstance(e, Epoch)]


def untimed(rows):
    timed = ("seconds", "hours_per_hour", "waiting", "memory_mb")
    return [{k: v for k, v in row.items() if k not in timed} for row in rows]


def test_the_files_of_an_experiment(toy, tmp_path, jsonl):
    rows = rows_of(prepared(toy, tmp_path), tmp_path)
    assert jsonl(tmp_path / "train.jsonl") == rows and [r["epoch"] for r in rows] == [1, 2]
    assert (tmp_path / "tokens.txt").read_text().splitlines() == ["<blank>", "<space>", "a", "b", "c"]
    trained = load_model(tmp_path)
    assert trained.features == FEATURES and trained.step_s == pytest.approx(0.02)
    assert -10 < float(trained.model.mean.mean()) < -8, "statistics of the features before normalization"


@pytest.mark.long
def test_the_same_command_resumes_and_does_nothing_once_finished(toy, tmp_path):
    expected = untimed(rows_of(prepared(toy, tmp_path / "uninterrupted", epochs=3), tmp_path / "uninterrupted"))
    events = train.run(prepared(toy, tmp_path / "interrupted", epochs=3), str(tmp_path / "interrupted"))
    while not isinstance(next(events), Epoch):
        pass
    events.close()
    job = prepared(toy, tmp_path / "interrupted", epochs=3)
    assert job.mean.tolist() == prepared(toy, tmp_path / "other").mean.tolist(), "statistics come from the checkpoint"
    assert untimed(rows_of(job, tmp_path / "interrupted")) == expected[1:]
    log = (tmp_path / "interrupted" / "train.jsonl").read_text().splitlines()
    assert untimed(map(json.loads, log)) == expected
    assert rows_of(prepared(toy, tmp_path / "interrupted", epochs=3), tmp_path / "interrupted") == []
    assert (
        rows_of(prepared(toy, tmp_path / "interrupted", epochs=1, fresh=True), tmp_path / "interrupted")[0]["epoch"]
        == 1
    )


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_fresh_removes_the_checkpoint_with_the_first_step(toy, tmp_path):
    rows_of(prepared(toy, tmp_path, epochs=1), tmp_path)
    for name in (f".1.part.{LAST}", ".1.part.best.safetensors", ".1.part.train.png", ".1.part.train.jsonl"):
        (tmp_path / name).write_bytes(b"half")
    (tmp_path / "epoch-001.safetensors").write_bytes(b"of the previous run")
    (tmp_path / "average.safetensors").write_bytes(b"not written by ds2 train")
    before = contents(tmp_path)
    events = train.run(prepared(toy, tmp_path, fresh=True), str(tmp_path))
    assert contents(tmp_path) == before
    assert isinstance(next(events), MemoryProbe)
    assert {path.name for path in tmp_path.iterdir()} == {"tokens.txt", "average.safetensors"}
    while not isinstance(next(events), Epoch):
        pass
    events.close()


def test_fresh_starts_over_once_when_torchrun_starts_it_again(toy, tmp_path, monkeypatch):
    rows_of(prepared(toy, tmp_path, epochs=1), tmp_path)
    job, seen = prepared(toy, tmp_path, fresh=True), []

    def see(_job, _folder, checkpoint, *_):
        seen.append((checkpoint is None, (tmp_path / LAST).exists()))
        return iter(())

    monkeypatch.setattr(train, "_train", see)
    monkeypatch.setattr(train.process_group, "torchrun_rank", lambda: (0, 1))
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    list(train.run(job, str(tmp_path)))
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")
    list(train.run(job, str(tmp_path)))
    assert seen == [(False, True), (True, False)]


def test_a_resumed_training_says_from_where_and_a_complete_one_that_it_is(toy, tmp_path):
    events = train.run(prepared(toy, tmp_path, epochs=2), str(tmp_path), lambda: Request.SAVE)
    assert [type(event) for event in islice(events, 3)] == [MemoryProbe, TrainStep, Saved]
    events.close()
    first, *rest = train.run(prepared(toy, tmp_path, epochs=2), str(tmp_path))
    assert first == Resumed(str(tmp_path / LAST), 0, 1, 1, first.elapsed_s) and 0 < first.elapsed_s < 60
    last = [event for event in rest if isinstance(event, TrainStep)][-1]
    (only,) = train.run(prepared(toy, tmp_path, epochs=2), str(tmp_path))
    assert only == Resumed(str(tmp_path / LAST), 2, 0, last.step, only.elapsed_s, complete=True)
    first = next(train.run(prepared(toy, tmp_path, epochs=3), str(tmp_path)))
    assert first == Resumed(str(tmp_path / LAST), 2, 0, last.step, only.elapsed_s)


def refuse(error):
    def fail(*_, **__):
        raise error

    return fail


@pytest.mark.parametrize(
    ("place", "error"),
    [
        ("_start_group", Ds2Error("train: --nproc")),
        ("_check_same_on_all_ranks", Ds2Error("train: other data")),
        ("_completed_rows", DataError("train.jsonl: no rows")),
        ("Trainer", DataError("last.pt: does not fit this network")),
        ("Trainer._probe_memory", Ds2Error("train: the network does not fit in memory")),
    ],
)
@pytest.mark.parametrize("fresh", [False, True])
def test_a_training_that_is_refused_before_its_first_step_changes_nothing(
    toy, tmp_path, monkeypatch, place, error, fresh
):
    rows_of(prepared(toy, tmp_path, epochs=1), tmp_path)
    (tmp_path / "config.toml").write_text("of the previous run")
    before, started = contents(tmp_path), []
    monkeypatch.setattr(f"ds2cli.stages.train.{place}", refuse(error))
    with pytest.raises(type(error), match=str(error)):
        list(train.run(prepared(toy, tmp_path, fresh=fresh), str(tmp_path), on_start=lambda: started.append(1)))
    assert contents(tmp_path) == before and not started


def test_settings_are_written_when_the_training_starts_and_not_when_it_is_complete(toy, tmp_path):
    started = []
    for epochs, count in ((1, 1), (1, 1), (2, 2)):
        job = prepared(toy, tmp_path, epochs=epochs)
        list(train.run(job, str(tmp_path), on_start=lambda: started.append((tmp_path / "tokens.txt").exists())))
        assert started == [True] * count


def test_a_folder_that_cannot_be_changed_is_a_data_error(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "ds2cli.text.vocab.Vocab.save", refuse(PermissionError(13, "Permission denied", "exp/pieces.model"))
    )
    with pytest.raises(DataError, match=r"^exp/pieces\.model: cannot be changed: permission denied$"):
        list(train.run(prepared(toy, tmp_path), str(tmp_path)))


def test_resuming_with_other_settings_or_data_is_refused(toy, tmp_path):
    rows_of(prepared(toy, tmp_path, epochs=1), tmp_path)
    with pytest.raises(UsageError, match=r"optim.lr was 0.01, is 0.02 .*--fresh"):
        rows_of(prepared(toy, tmp_path, optim={"lr": 0.02}), tmp_path)
    shortened = list(manifest.read(str(toy / "train.jsonl")))[1:]
    with pytest.raises(UsageError, match="other utterances"):
        rows_of(prepared(toy, tmp_path, rows=shortened), tmp_path)
    job = prepared(toy, tmp_path, epochs=2)
    with pytest.raises(UsageError, match=r"other features: hop_ms was 10.0, is 5.0 \(.*--fresh"):
        rows_of(replace(job, features={**job.features, "hop_ms": 5.0}), tmp_path)
    with pytest.raises(UsageError, match="another dev set"):
        rows_of(replace(job, dev=job.dev[1:]), tmp_path)
    assert len(rows_of(job, tmp_path)) == 1, "more epochs are allowed"


def test_a_checkpoint_from_before_the_setting_ctc_resumes(toy, tmp_path):
    rows_of(prepared(toy, tmp_path, epochs=1), tmp_path)
    checkpoint = load_checkpoint(tmp_path)
    del checkpoint["config"]["ctc"]
    (tmp_path / LAST).write_bytes(dump_checkpoint({k: v for k, v in checkpoint.items() if k != "format"}))
    assert len(rows_of(prepared(toy, tmp_path, epochs=2), tmp_path)) == 1
    assert len(rows_of(prepared(toy, tmp_path, epochs=3, ctc="torch"), tmp_path)) == 1


def test_unusable_rows_are_dropped_with_a_reason(toy, tmp_path):
    rows = list(manifest.read(str(toy / "train.jsonl")))
    frames = rows[0]["num_frames"]
    rows[0]["text"] = "ab" * frames
    rows[1]["text"] = "aa" * (rows[1]["num_frames"] // 4)
    rows[2]["text"] = " "
    rows[3]["feats"] = str(tmp_path / "missing.ark:5")
    ledger = Ledger()
    job = prepared(toy, tmp_path, rows=rows, ledger=ledger)
    assert ledger.reasons == {"label-too-long": 2, "no-text": 1, "missing-archive": 1}
    assert "labels need" in ledger.rows[0]["detail"] and len(job.train) == len(rows) - 4
    assert ledger.kept == len(job.train) + len(job.dev)


def test_augmentation_that_needs_audio_drops_rows_without_a_recording(toy, tmp_path):
    ledger = Ledger()
    with pytest.raises(
        DataError, match=r"no utterance can be used, .*noise, impulse responses, speeds and shifts need"
    ):
        prepared(toy, tmp_path, ledger=ledger, augment={"speeds": [0.9, 1.0]})
    assert set(ledger.reasons) == {"no-audio"}


def test_a_missing_dev_recording_is_skipped_by_name(toy, tmp_path):
    job = prepared(toy, tmp_path, epochs=1)
    job.dev[0] = replace(job.dev[0], feats=str(tmp_path / "missing.ark:5"))
    (row,) = rows_of(job, tmp_path)
    assert row["dev_skipped"] == {job.dev[0].id: "missing-archive"} and row["dev_wer"] >= 0


def test_unreadable_dev_rows_are_dropped_before_training(toy, tmp_path):
    rows, dev = (list(manifest.read(str(toy / f"{name}.jsonl"))) for name in ("train", "dev"))
    with ArkWriter(tmp_path / "narrow.ark") as ark:
        dev[0]["feats"] = ark.write(dev[0]["id"], np.zeros((5, 7), np.float32))
    dev[1]["feats"] = str(tmp_path / "missing.ark:5")
    ledger = Ledger()
    job = train_data.prepare_job(config(), rows, dev, str(tmp_path), FEATURES, ledger)
    assert ledger.reasons == {"wrong-features": 1, "missing-archive": 1}
    assert [u.id for u in job.dev] == [row["id"] for row in dev[2:]]
    with pytest.raises(DataError, match="no dev utterance can be used"):
        train_data.prepare_job(config(), rows, dev[:2], str(tmp_path), FEATURES, Ledger())


def test_no_usable_row_is_an_error(toy, tmp_path):
    rows = [{**row, "text": ""} for row in manifest.read(str(toy / "train.jsonl"))]
    with pytest.raises(DataError, match="no utterance can be used"):
        prepared(toy, tmp_path, rows=rows)


def test_statistics_of_a_file_equal_those_of_the_rows(toy, tmp_path):
    from ds2cli.feats import cmvn

    stats = cmvn.empty(20)
    for row in manifest.read(str(toy / "train.jsonl")):
        cmvn.accumulate(stats, read_matrix(row["feats"]))
    with ArkWriter(tmp_path / "cmvn.ark") as ark:
        ark.write("global", stats)
    from_file, from_rows = prepared(toy, tmp_path, stats=str(tmp_path / "cmvn.ark")), prepared(toy, tmp_path)
    np.testing.assert_allclose(from_file.mean, from_rows.mean, rtol=1e-5)
    np.testing.assert_allclose(from_file.std, from_rows.std, rtol=1e-4)


def test_a_resumed_training_refuses_other_statistics(toy, tmp_path):
    for name, square in (("first", 4.0), ("other", 4.1)):
        with ArkWriter(tmp_path / f"{name}.ark") as ark:
            ark.write("global", np.array([[10.0] * 20 + [10.0], [10 * square] * 20 + [0.0]]))
    first, other = (str(tmp_path / f"{name}.ark") for name in ("first", "other"))
    exp = tmp_path / "exp"
    rows_of(prepared(toy, exp, epochs=1, stats=first), exp)
    for known in (first, None):
        np.testing.assert_allclose(prepared(toy, exp, stats=known).mean, 1.0)
    with pytest.raises(UsageError, match=rf"^{exp}: was trained with other statistics than {other} \(leave out --cmvn"):
        prepared(toy, exp, stats=other)
    assert prepared(toy, exp, stats=other, fresh=True).std[0] == pytest.approx(3.1**0.5)


def test_unsuitable_statistics_are_refused(toy, tmp_path, piped):
    with pytest.raises(DataError, match=r"x.cmvn.ark: this is a pipe, .*, expected a file \(cat .*x.cmvn.ark > FILE\)"):
        prepared(toy, tmp_path, stats=piped(b"", "x.cmvn.ark"))
    with pytest.raises(DataError, match="no such file"):
        prepared(toy, tmp_path, stats=str(tmp_path / "none.ark"))
    with ArkWriter(tmp_path / "narrow.ark") as ark:
        ark.write("global", np.ones((2, 11)))
    with pytest.raises(DataError, match="20 bins, the statistics have 10"):
        prepared(toy, tmp_path, stats=str(tmp_path / "narrow.ark"))
    with ArkWriter(tmp_path / "tall.ark") as ark:
        ark.write("global", np.ones((3, 21)))
    with pytest.raises(DataError, match=r"tall.ark: expected statistics \(2, bins \+ 1\), found \(3, 21\)"):
        prepared(toy, tmp_path, stats=str(tmp_path / "tall.ark"))


@pytest.mark.long
def test_two_processes_train_like_one(toy, tmp_path):
    one_epoch = rows_of(prepared(toy, tmp_path / "one", epochs=1), tmp_path / "one")
    two = rows_of(prepared(toy, tmp_path / "two", epochs=1, nproc=2), tmp_path / "two")
    assert two[0]["step"] == one_epoch[0]["step"]
    # each process normalizes over its own half of a batch, so the losses are close, not equal
    assert two[0]["loss"] == pytest.approx(one_epoch[0]["loss"], rel=0.2)
    # the dev results of two processes are those of the stored network in one process
    job = prepared(toy, tmp_path)
    by_word, by_character, *_ = count_greedy_errors(load_model(tmp_path / "two"), job.dev, job.dev_features)
    assert (two[0]["dev_wer"], two[0]["dev_cer"]) == (round(by_word.rate, 2), round(by_character.rate, 2))
    assert len(rows_of(prepared(toy, tmp_path / "two", epochs=2, nproc=2), tmp_path / "two")) == 1


def test_a_row_of_an_epoch_that_the_checkpoint_does_not_contain_is_written_again(toy, tmp_path, jsonl):
    events = train.run(prepared(toy, tmp_path, epochs=3), str(tmp_path))
    while not isinstance(next(events), Epoch):
        pass
    events.close()
    (first,) = jsonl(tmp_path / "train.jsonl")
    # killed between the writes of train.jsonl and last.pt
    jsonl(tmp_path / "train.jsonl", [first, {**first, "epoch": 2, "loss": -1.0}])
    rows = rows_of(prepared(toy, tmp_path, epochs=3), tmp_path)
    assert [row["epoch"] for row in rows] == [2, 3]
    assert jsonl(tmp_path / "train.jsonl") == [first, *rows]


def test_each_checkpoint_that_was_written_allows_all_restarts_again(toy, tmp_path, monkeypatch):
    checkpoints = iter([Saved(), Saved(), Saved("the disk is full")])

    class CrashingTrainer:
        """Writes a checkpoint or fails to, then loses a process."""

        def __init__(self, *_):
            pass

        def run(self, store, request):
            yield next(checkpoints)
            raise PeerLostError("a process exited")

    monkeypatch.setattr(train, "Trainer", CrashingTrainer)
    seen = []
    events = train.run(prepared(toy, tmp_path, restarts=1), str(tmp_path))
    with pytest.raises(PeerLostError):
        for event in events:
            seen.append(type(event))
    assert seen == [Saved, Restart, Saved, Restart, Saved]


def test_a_resumed_run_normalizes_as_its_network_does(toy, tmp_path):
    rows_of(prepared(toy, tmp_path, epochs=1), tmp_path)
    checkpoint = load_checkpoint(tmp_path)
    checkpoint["model"]["mean"].fill_(5.0)
    checkpoint["model"]["std"].fill_(7.0)
    (tmp_path / LAST).write_bytes(dump_checkpoint(checkpoint))
    job = prepared(toy, tmp_path)
    assert set(job.mean.tolist()) == {5.0} and set(job.std.tolist()) == {7.0}
    del checkpoint["model"]["std"]
    (tmp_path / LAST).write_bytes(dump_checkpoint(checkpoint))
    with pytest.raises(DataError, match=r"last.pt: not a checkpoint of ds2 train \(remove it, or give --fresh\)"):
        prepared(toy, tmp_path)


def test_only_training_utterances_are_augmented_and_the_seed_of_the_run_decides_how(toy, tmp_path):
    augment = {"gain_db": 6.0}
    job, other = (prepared(toy, tmp_path, seed=seed, augment=augment) for seed in (7, 8))
    stored = read_matrix(job.train[0].feats)
    np.testing.assert_array_equal(job.dev_features(job.train[0]), stored)
    augmented = job.train_features(job.train[0], 0)
    assert not np.allclose(augmented, stored)
    assert not np.allclose(augmented, other.train_features(other.train[0], 0))
    np.testing.assert_array_equal(job.train_features.fill, job.mean)


def test_with_the_means_of_utterances_all_bins_have_one_scale_and_masks_write_those_means(toy, tmp_path):
    settings = {"model": {**SMALL["model"], "input_norm": "utterance"}, "augment": {"freq_masks": 1}}
    each, one = prepared(toy, tmp_path / "each"), prepared(toy, tmp_path / "one", **settings)
    assert len(set(each.std.tolist())) > 1 and len(set(one.std.tolist())) == 1
    assert one.std[0] == pytest.approx(np.sqrt(np.square(each.std).mean()), rel=1e-6)
    np.testing.assert_array_equal(each.mean, one.mean)
    assert one.train_features.fill is None
    rows_of(prepared(toy, tmp_path / "one", epochs=1, **settings), tmp_path / "one")
    resumed = prepared(toy, tmp_path / "one", **settings)
    np.testing.assert_array_equal(resumed.std, one.std)


def test_training_starts_from_the_weights_of_another_network(toy, tmp_path):
    first = tmp_path / "first"
    rows_of(prepared(toy, first, epochs=1), first)
    network = build_initial_network(prepared(toy, tmp_path / "second", init=str(first)), torch.device("cpu"))
    source = load_model(first).model.state_dict()
    assert all(torch.equal(value, source[name]) for name, value in network.named_parameters())
    assert prepared(toy, first, init=str(first)).init is None, "a resumed run has its own weights"
    plan = plan_initial_weights(prepared(toy, tmp_path / "third", init=str(first)))
    weights = [value for name, value in source.items() if value.dim() and name not in ("mean", "std")]
    assert plan.complete and plan.values == sum(map(torch.numel, weights))


def test_an_initial_network_of_which_nothing_fits_is_refused_and_the_named_fix_helps(toy, tmp_path):
    first, other = tmp_path / "first", {"channels": [5], "rnn_size": 5}
    rows_of(prepared(toy, first, epochs=1), first)
    with pytest.raises(UsageError, match=rf"^train: --init {first}: this network takes 0 of \d+ weights .*\[model\] "):
        plan_initial_weights(prepared(toy, tmp_path / "second", init=str(first), model=other))
    # the settings of [model] in its config.toml, which are those of SMALL
    assert plan_initial_weights(prepared(toy, tmp_path / "second", init=str(first))).complete


MAY_CHANGE = {
    "epochs": 9, "minutes": 1.0, "device": "cpu", "nproc": 2, "readers": 1, "restarts": 0, "ctc": "torch",
    "save_minutes": 1.0, "keep_best": 3, "early_stop": 2, "tensorboard": True, "fresh": True, "max_bad": 50.0,
    "dropped": "d.jsonl",
}  # fmt: skip
MAY_NOT_CHANGE = {
    "init": "other", "batch_s": 11.0, "batch_utts": 3, "accumulate": 2, "sorta_grad": False, "seed": 1,
    "sync_norm": True, "precision": "bfloat16", "keep": "last", "units": {"min_count": 2}, "model": {"dropout": 0.2},
    "optim": {"ema": 0.9}, "augment": {"gain_db": 1.0},
    "mix": {"manifests": ["a.jsonl"], "weights": [0.1]},
}  # fmt: skip


def test_settings_that_may_change_when_a_run_resumes(toy, tmp_path):
    job = prepared(toy, tmp_path)
    checkpoint = {
        "config": as_dict(job.config), "features": job.features, "train": fingerprint(job.train),
        "dev": fingerprint(job.dev),
    }  # fmt: skip
    assert {*MAY_CHANGE, *MAY_NOT_CHANGE} == {f.name for f in fields(job.config)}
    train._check_resumable({name: checkpoint[name] for name in ("config", "train")}, job, "exp of version 0.1")
    for name, value in MAY_CHANGE.items():
        train._check_resumable(checkpoint, replace(job, config=config(**{name: value})), "exp")
    for name, value in MAY_NOT_CHANGE.items():
        full = name + "." + next(iter(value)) if isinstance(value, dict) else name
        with pytest.raises(UsageError, match=rf"^exp: was trained with other settings: {full} was .*, is "):
            train._check_resumable(checkpoint, replace(job, config=config(**{name: value})), "exp")


def test_many_differences_are_named_as_far_as_they_fit_in_a_message(toy, tmp_path):
    job = prepared(toy, tmp_path)
    settings = as_dict(job.config) | {f"{n}" * 99: "\u2028" * 99 for n in range(100, 150)}
    with pytest.raises(UsageError, match=r"^exp: .*: (100){20} was '(.u2028){9}.*; and 48 more \(use another") as error:
        train._check_resumable({"config": settings, "train": fingerprint(job.train)}, job, "exp")
    assert len(str(error.value)) < 400


def check_same(*jobs):
    """What each rank finds out about the others, in turn; the last of them knows all."""
    seen = {}

    class Gathered(ProcessGroup):
        def all_gather(self, part):
            seen.update(part)
            return seen

    for rank, job in enumerate(jobs):
        train._check_same_on_all_ranks(job, Gathered(rank, len(jobs)))


def test_all_processes_need_the_same_data_and_settings(toy, tmp_path):
    job = prepared(toy, tmp_path)
    for name in ("nproc", "readers", "restarts", "save_minutes", "tensorboard", "fresh", "max_bad", "dropped"):
        check_same(job, replace(job, config=config(**{name: MAY_CHANGE[name]})))
    check_same(job, replace(job, config=config(init="other")))
    for name, value in {**MAY_NOT_CHANGE, "epochs": 9, "ctc": "torch", "keep_best": 3}.items():
        full = name + "." + next(iter(value)) if isinstance(value, dict) else name
        if name != "init":
            with pytest.raises(Ds2Error, match=rf"^train: {full} is .* in process 1, .* in process 0 \(use the same"):
                check_same(job, replace(job, config=config(**{name: value})))
    for other in (replace(job, train=job.train[1:]), replace(job, dev=job.dev[1:])):
        with pytest.raises(Ds2Error, match=r"^train: the processes were given different utterances"):
            check_same(job, other)
    with pytest.raises(Ds2Error, match=r"^train: symbols is .* in process 1"):
        check_same(job, replace(job, vocab=type(job.vocab)((*job.vocab.symbols, "z"))))


def test_the_device_is_a_gpu_if_there_are_enough(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert [train.select_device(config(device=name)).type for name in ("auto", "cpu")] == ["cpu", "cpu"]
    with pytest.raises(UsageError, match=r"^--device cuda: torch finds no CUDA device"):
        train.select_device(config(device="cuda"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for name, nproc, chosen in (("auto", 2, "cuda"), ("cuda", 1, "cuda"), ("cpu", 2, "cpu")):
        assert train.select_device(config(device=name, nproc=nproc)).type == chosen
    with pytest.raises(UsageError, match=r"^train: --nproc 3: expected at most one process per GPU, found 2 GPUs"):
        train.select_device(config(nproc=3))


TORCHRUN = {"RANK": "0", "WORLD_SIZE": "9", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1", "LOCAL_WORLD_SIZE": "3"}


@pytest.mark.parametrize(("gpus", "unit"), [(0, "core"), (2, "GPU")])
def test_processes_of_torchrun_have_the_same_limits(monkeypatch, gpus, unit):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setenv("DS2_CORES", "2")
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    # a scheduler may give each process its own cores and GPUs
    assert train.select_device(config(nproc=99)).type == ("cuda" if gpus else "cpu")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    message = rf"^train: --nproc-per-node 3: .* one process per {unit}, found 2 {unit}s \(use --nproc-per-node 2\)$"
    with pytest.raises(UsageError, match=message):
        train.select_device(config())
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    train.select_device(config(nproc=99))


def test_of_another_kind_only_the_kind_is_named():
    assert train._differences({"kind": "a", "x": 1}, {"kind": "b", "y": 2}) == ["kind was a, is b"]
    before = {"model.kind": "a", "model.x": 1, "seed": 1, "same": 0}
    now = {"model.kind": "b", "model.y": 2, "seed": 2, "same": 0}
    assert train._differences(before, now) == ["model.kind was a, is b", "seed was 1, is 2"]
    assert train._differences(before, now, ignored=("model",)) == ["seed was 1, is 2"]


def test_without_an_experiment_the_current_folder_is_not_resumed_from(toy, tmp_path, monkeypatch):
    (tmp_path / LAST).write_bytes(b"damaged")
    (tmp_path / "tokens.txt").write_text("<blank>\nz\n")
    monkeypatch.chdir(tmp_path)
    assert "z" not in prepared(toy, "").vocab.symbols


def test_settings_of_a_damaged_checkpoint_are_named_in_one_line():
    assert train._differences({"a\nb": "x\ty", "seed": 1}, {"seed": 2}) == [
        "'a\\nb' was 'x\\ty', is None",
        "seed was 1, is 2",
    ]
