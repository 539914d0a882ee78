from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from ds2cli.config.optim import OptimConfig
from ds2cli.train.optim import WeightAverage, build_optimizer, learning_rate, take_optimizer_step


def rate(progress, epoch=0, divisions=0, **settings):
    return learning_rate(progress, epoch, divisions, OptimConfig(**{"lr": 1.0, "warmup": 0.0, **settings}))


@pytest.mark.parametrize(
    ("progress", "expected"), [(0.0, 0.0), (0.05, 0.5), (0.1, 1.0), (0.55, 0.5), (1.0, 0.0), (1.2, 0.0)]
)
def test_the_rate_rises_and_falls_to_zero(progress, expected):
    assert rate(progress, warmup=0.1) == pytest.approx(expected)


def test_no_warm_up_and_a_curved_decay():
    assert rate(0.0) == 1.0
    assert rate(0.5, power=2.0) == pytest.approx(0.25)
    assert rate(1.0, warmup=1.0) == 1.0


def test_the_rate_of_the_paper_is_divided_in_each_epoch():
    rates = [rate(0.5, epoch, schedule="epoch", lr=6e-4) for epoch in range(20)]
    assert rates == pytest.approx([6e-4 / 1.2**epoch for epoch in range(20)])
    assert rate(0.05, 1, schedule="epoch", warmup=0.1) == pytest.approx(0.5), "the warm-up comes first"


def test_the_cosine_plateau_and_constant_schedules():
    assert [rate(p, schedule="cosine") for p in (0.0, 0.5, 1.0)] == pytest.approx([1.0, 0.5, 0.0])
    assert rate(0.2, schedule="cosine", warmup=0.2) == pytest.approx(1.0)
    assert rate(0.9, 7, 3, schedule="plateau", lr_divisor=2.0) == 1 / 8
    assert rate(0.9, 7, 3, schedule="constant") == 1.0


def test_nesterov_momentum_follows_its_formula():
    """v <- mu v + g; w <- w - rate (g + mu v), with weight decay that does not enter v."""
    weight = nn.Linear(1, 1, bias=False)
    nn.init.constant_(weight.weight, 1.0)
    optimizer = build_optimizer(weight, OptimConfig(method="sgd", momentum=0.9, weight_decay=0.1))
    w, v = 1.0, 0.0
    for gradient, lr in [(1.0, 0.1), (-2.0, 0.1), (0.5, 0.05)]:
        weight.weight.grad = torch.full((1, 1), gradient)
        take_optimizer_step(optimizer, lr)
        v = 0.9 * v + gradient
        w = w * (1 - lr * 0.1) - lr * (gradient + 0.9 * v)
        assert float(weight.weight.detach()) == pytest.approx(w, rel=1e-5)


def test_adamw_follows_its_formula():
    """m <- 0.9 m + 0.1 g; v <- beta2 v + (1 - beta2) g^2; w <- w - rate (decay w + m' / sqrt(v')), m', v' unbiased."""
    weight = nn.Linear(1, 1, bias=False)
    nn.init.constant_(weight.weight, 1.0)
    optimizer = build_optimizer(weight, OptimConfig(method="adamw", beta2=0.5, weight_decay=0.1))
    w, m, v = 1.0, 0.0, 0.0
    for t, (gradient, lr) in enumerate([(1.0, 0.1), (-2.0, 0.1), (0.5, 0.05)], start=1):
        weight.weight.grad = torch.full((1, 1), gradient)
        take_optimizer_step(optimizer, lr)
        m, v = 0.9 * m + 0.1 * gradient, 0.5 * v + 0.5 * gradient**2
        w = w * (1 - lr * 0.1) - lr * (m / (1 - 0.9**t)) / (v / (1 - 0.5**t)) ** 0.5
        assert float(weight.weight.detach()) == pytest.approx(w, rel=1e-5)


def test_only_matrices_decay():
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    groups = build_optimizer(model, OptimConfig(weight_decay=0.5)).param_groups
    assert [len(g["params"]) for g in groups] == [1, 3]
    assert [g["weight_decay"] for g in groups] == [0.5, 0.0]
    groups = build_optimizer(model, OptimConfig(method="sgd", weight_decay=0.5)).param_groups
    assert [(len(g["params"]), g["shrink"]) for g in groups] == [(1, 0.5), (3, 0.0)]


def test_sgd_without_momentum_steps_against_the_gradient():
    weight = nn.Linear(1, 1, bias=False)
    nn.init.constant_(weight.weight, 1.0)
    optimizer = build_optimizer(weight, OptimConfig(method="sgd", momentum=0.0, weight_decay=0.0))
    for expected in (0.8, 0.6):
        weight.weight.grad = torch.full((1, 1), 2.0)
        take_optimizer_step(optimizer, 0.1)
        assert float(weight.weight.detach()) == pytest.approx(expected)


def test_the_average_moves_quickly_at_first_and_then_slowly():
    model = nn.BatchNorm1d(1)
    average = WeightAverage(model, 0.9)
    nn.init.constant_(model.weight, 11.0)
    average.update(model, 1)
    assert float(average.tensors["weight"]) == pytest.approx(1 + 0.9 * 10)
    average.update(model, 1000)
    assert float(average.tensors["weight"]) == pytest.approx(10 + 0.1 * 1)
    assert int(average.tensors["num_batches_tracked"]) == 0


def test_the_average_includes_the_running_statistics():
    model = nn.BatchNorm1d(1)
    average = WeightAverage(model, 0.9)
    nn.init.constant_(model.running_mean, 10.0)
    average.update(model, 1)
    assert float(average.tensors["running_mean"]) == pytest.approx(0.9 * 10)


def test_without_decay_nothing_is_copied():
    model = nn.Linear(2, 2)
    average = WeightAverage(model, 0.0)
    average.update(model, 1)
    average.load(model.state_dict())
    assert average.tensors == {}


def test_a_loaded_average_resumes():
    model = nn.Linear(2, 2)
    first, second = WeightAverage(model, 0.99), WeightAverage(model, 0.99)
    nn.init.zeros_(model.weight)
    first.update(model, 5)
    second.load(first.tensors)
    assert torch.equal(first.tensors["weight"], second.tensors["weight"])


def test_a_training_step_does_not_load_torchs_compiler():
    """It would take two seconds, and as many to end."""
    code = """
import sys, torch
from ds2cli.config.optim import OptimConfig
from ds2cli.nn.ctc.loss import ctc_loss
from ds2cli.train.optim import build_optimizer, take_optimizer_step
layer = torch.nn.Linear(4, 3)
for method in ("adamw", "sgd"):
    optimizer = build_optimizer(layer, OptimConfig(method=method))
    labels, lengths = torch.tensor([[1]]), torch.tensor([5])
    ctc_loss(layer(torch.ones(5, 1, 4)), labels, lengths, torch.tensor([1])).backward()
    take_optimizer_step(optimizer, 0.1)
    optimizer.zero_grad()
    optimizer.load_state_dict(optimizer.state_dict())
    assert type(optimizer).__name__.lower() == method and len(optimizer.state) > 0
print("torch._dynamo" in sys.modules)
"""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr
