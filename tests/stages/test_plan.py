"""The estimate of a training run, with steps that take a known time; tests/cli/test_plan.py compares it with a run."""

from __future__ import annotations

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
    assert batches > 3 and found["steps_a_pass"] == -(-batches // accumulate)
    assert found["seconds_a_step"] == pytest.approx(2.0 * accumulate, abs=0.01)
    assert found["minutes_a_pass"] == pytest.approx(2.0 * batches / 60, abs=0.01)
    assert found["minutes"] == pytest.approx(3 * 2.0 * batches / 60, abs=0.03) and found["epochs"] == 3.0


@pytest.mark.parametrize("epochs", [0.5, 1.0, 2.5])
def test_a_time_limit_leaves_time_for_some_of_the_epochs(toy, monkeypatch, epochs):
    monkeypatch.setattr(Trainer, "time_step", lambda _trainer, _batch: 2.0)

    def estimate(**settings):
        config = build(TrainConfig, ("test", {**SMALL, **settings}))
        job = prepare_job(config, manifest.read(str(toy / "train.jsonl")), None, "", FEATURES, Ledger())
        return plan.estimate(job, torch.device("cpu"))

    whole = estimate()
    limited = estimate(minutes=epochs * whole["minutes_a_pass"])
    assert limited["epochs"] == pytest.approx(epochs, abs=0.02)
    assert limited["minutes"] == pytest.approx(epochs * whole["minutes_a_pass"], abs=0.01)
    later = (whole["steps"] - whole["steps_a_pass"]) / 2
    expected = whole["steps_a_pass"] * min(epochs, 1) + later * max(epochs - 1, 0)
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
