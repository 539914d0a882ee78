"""The estimate of a training run, with steps that take a known time; tests/cli/test_plan.py compares it with a run."""

from __future__ import annotations

from itertools import count
from types import SimpleNamespace

import pytest
import torch

from ds2cli import manifest
from ds2cli.config.base import build
from ds2cli.config.train import TrainConfig
from ds2cli.drops import Ledger
from ds2cli.stages import plan
from ds2cli.train.data import prepare_job
from ds2cli.train.trainer import Trainer

SMALL = {
    "epochs": 3, "batch_s": 5.0,
    "model": {"channels": [8], "kernels": [5], "strides": [2], "rnn_layers": 1, "rnn_size": 8},
}  # fmt: skip
FEATURES = {"sample_rate": 16000, "window_ms": 20.0, "hop_ms": 10.0}


@pytest.mark.parametrize("accumulate", [1, 3])
def test_times_follow_from_those_of_the_batches(toy, monkeypatch, accumulate):
    monkeypatch.setattr(Trainer, "time_step", lambda _trainer, _batch: 2.0)
    config = build(TrainConfig, ("test", {**SMALL, "accumulate": accumulate}))
    job = prepare_job(config, manifest.read(str(toy / "train.jsonl")), None, "", FEATURES, Ledger())
    batches = sum(map(len, Trainer(job, plan.ProcessGroup()).plan_steps(0)))
    found = plan.estimate(job, torch.device("cpu"))
    assert batches > 3 and found["steps_per_epoch"] == -(-batches // accumulate)
    assert found["seconds_per_step"] == pytest.approx(2.0 * accumulate, abs=0.01)
    assert found["minutes_per_epoch"] == pytest.approx(2.0 * batches / 60, abs=0.01)
    assert found["minutes"] == pytest.approx(3 * 2.0 * batches / 60, abs=0.03) and found["epochs"] == 3.0


@pytest.mark.parametrize("epochs", [0.5, 1.0, 2.5])
def test_a_time_limit_leaves_time_for_some_of_the_epochs(toy, monkeypatch, epochs):
    monkeypatch.setattr(Trainer, "time_step", lambda _trainer, _batch: 2.0)

    def estimate(**settings):
        config = build(TrainConfig, ("test", {**SMALL, **settings}))
        job = prepare_job(config, manifest.read(str(toy / "train.jsonl")), None, "", FEATURES, Ledger())
        return plan.estimate(job, torch.device("cpu"))

    whole = estimate()
    limited = estimate(minutes=epochs * whole["minutes_per_epoch"])
    assert limited["epochs"] == pytest.approx(epochs, abs=0.02)
    assert limited["minutes"] == pytest.approx(epochs * whole["minutes_per_epoch"], abs=0.01)
    later = (whole["steps"] - whole["steps_per_epoch"]) / 2
    expected = whole["steps_per_epoch"] * min(epochs, 1) + later * max(epochs - 1, 0)
    assert expected - 0.2 <= limited["steps"] <= expected + 1.2


def test_the_disk_space_of_the_networks_that_are_kept(toy):
    sizes = {}
    for kept in (1, 2, 3):
        config = build(TrainConfig, ("test", {**SMALL, "keep_best": kept}))
        job = prepare_job(config, manifest.read(str(toy / "train.jsonl")), None, "", FEATURES, Ledger())
        trainer = Trainer(job, plan.ProcessGroup())
        sizes[kept] = plan._disk_bytes(trainer)
    network = sizes[3] - sizes[2]
    assert network == plan._bytes(trainer.model.state_dict()) > 0
    assert sizes[2] - sizes[1] == 2 * network, "with 1, no epoch is kept for averaging"


def prepared(toy, dev=False, **settings):
    config = build(TrainConfig, ("test", SMALL), ("changed", settings))
    rows = [list(manifest.read(str(toy / f"{name}.jsonl"))) for name in ("train", "dev")]
    return prepare_job(config, rows[0], rows[1] if dev else None, "", FEATURES, Ledger())


def test_sizes_are_those_of_the_planned_batches(toy, monkeypatch):
    monkeypatch.setattr(Trainer, "time_step", lambda _trainer, _batch: 2.0)
    job = prepared(toy, sorta_grad=False)
    trainer, found = Trainer(job, plan.ProcessGroup()), plan.estimate(job, torch.device("cpu"))
    steps = [trainer.plan_steps(epoch) for epoch in (0, 1)]
    assert found["steps"] == len(steps[0]) + 2 * len(steps[1])
    batches = [[job.train[i].num_frames for i in batch] for step in steps[0] for batch in step]
    longest = max(batches, key=lambda lengths: max(lengths) * len(lengths))
    assert found["longest"] == [len(longest), max(longest) * len(longest)]
    frames = sum(map(sum, batches))
    assert found["hours"] == round(frames / 100 / 3600, 2)
    assert found["hours_per_hour"] == pytest.approx(frames / 100 / (2.0 * len(batches)), abs=0.1)
    assert found["parameters"] == sum(p.numel() for p in trainer.model.parameters())


def test_the_time_is_not_more_than_the_limit(toy, monkeypatch):
    monkeypatch.setattr(Trainer, "time_step", lambda _trainer, _batch: 2.0)
    for minutes in (0.05, 0.1):
        found = plan.estimate(prepared(toy, minutes=minutes), torch.device("cpu"))
        assert found["minutes"] == minutes < found["minutes_per_epoch"]


def test_the_time_of_an_epoch_includes_the_evaluation_of_the_whole_dev_set(toy, monkeypatch):
    """The evaluation of half of the dev set takes 60 s, and steps take no time."""
    parts, readings = [], count(0.0, 60.0)
    monkeypatch.setattr(Trainer, "time_step", lambda _trainer, _batch: 0.0)
    monkeypatch.setattr(plan, "TIMED_DEV_UTTERANCES", 4)
    monkeypatch.setattr(plan, "time", SimpleNamespace(perf_counter=lambda: next(readings)))
    monkeypatch.setattr(plan, "count_greedy_errors", lambda _trained, part, _features: parts.append(part))
    job = prepared(toy, dev=True)
    found = plan.estimate(job, torch.device("cpu"))
    assert parts == [job.dev[::2]] and len(job.dev) == 8
    all_frames, read_frames = (sum(u.num_frames for u in part) for part in (job.dev, parts[0]))
    assert found["minutes_per_epoch"] == pytest.approx(all_frames / read_frames, abs=0.001)


@pytest.mark.parametrize(
    ("optim", "tensors"),
    [({"method": "adamw"}, 3), ({"method": "sgd"}, 2), ({"method": "sgd", "ema": 0.9}, 3)],
    ids=["adamw", "sgd", "average"],
)
def test_the_disk_space_of_the_checkpoint(toy, optim, tensors):
    """last.pt, and the new one next to it, with weights, the averages of the optimizer and those of the weights."""
    trainer = Trainer(prepared(toy, optim=optim), plan.ProcessGroup())
    trainer.time_step([0, 1])
    network = plan._bytes(trainer.model.state_dict())
    assert plan._disk_bytes(trainer) == pytest.approx((1 + 2 * tensors) * network, rel=0.06)


def test_steps_from_the_longest_batch_to_the_shortest_are_timed(toy, monkeypatch):
    job, timed = prepared(toy), []

    def frames(batch):
        return max(job.train[i].num_frames for i in batch) * len(batch)

    def time_step(_trainer, batch):
        """Half a second, and a millisecond per frame."""
        timed.append(frames(batch))
        return 0.5 + 0.001 * timed[-1]

    monkeypatch.setattr(Trainer, "time_step", time_step)
    found = plan.estimate(job, torch.device("cpu"))
    sizes = [frames(batch) for step in Trainer(job, plan.ProcessGroup()).plan_steps(0) for batch in step]
    assert timed[0] == timed[1] == max(sizes) and timed[-1] == min(sizes)
    assert timed[1:] == sorted(timed[1:], reverse=True) and len(timed) == 1 + min(plan.TIMED_STEPS, len(sizes))
    assert found["minutes_per_epoch"] == pytest.approx(sum(0.5 + 0.001 * n for n in sizes) / 60, abs=0.001)
