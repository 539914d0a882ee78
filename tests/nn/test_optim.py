from __future__ import annotations

import pytest
import torch
from torch import nn

from ds2cli.config.optim import OptimConfig
from ds2cli.nn.optim import Average, build, rate, wants_bfloat16


@pytest.mark.parametrize(
    ("progress", "expected"), [(0.0, 0.0), (0.05, 0.5), (0.1, 1.0), (0.55, 0.5), (1.0, 0.0), (1.2, 0.0)]
)
def test_the_rate_rises_and_falls_to_zero(progress, expected):
    assert rate(progress, OptimConfig(lr=1.0, warmup=0.1)) == pytest.approx(expected)


def test_no_warm_up_and_a_curved_fall():
    assert rate(0.0, OptimConfig(lr=1.0, warmup=0.0)) == 1.0
    assert rate(0.5, OptimConfig(lr=1.0, warmup=0.0, power=2.0)) == pytest.approx(0.25)
    assert rate(1.0, OptimConfig(lr=1.0, warmup=1.0)) == 1.0


def test_precision_is_what_was_asked_for():
    assert wants_bfloat16("bfloat16") and not wants_bfloat16("float32")


@pytest.mark.parametrize(("one_dnn", "supported"), [(True, True), (True, False), (False, True)])
def test_auto_takes_bfloat16_only_where_one_dnn_has_it(monkeypatch, one_dnn, supported):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: one_dnn)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: supported, raising=False)
    assert wants_bfloat16("auto") is (one_dnn and supported)


def test_only_matrices_decay():
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    groups = build(model, OptimConfig(weight_decay=0.5)).param_groups
    assert [len(g["params"]) for g in groups] == [1, 3]
    assert [g["weight_decay"] for g in groups] == [0.5, 0.0]


def test_the_average_starts_quickly_and_then_moves_slowly():
    model = nn.BatchNorm1d(1)
    average = Average(model, 0.9)
    nn.init.constant_(model.weight, 11.0)
    average.update(model, 1)
    assert float(average.state["weight"]) == pytest.approx(1 + 0.9 * 10)
    average.update(model, 1000)
    assert float(average.state["weight"]) == pytest.approx(10 + 0.1 * 1)
    assert int(average.state["num_batches_tracked"]) == 0


def test_without_memory_nothing_is_copied():
    model = nn.Linear(2, 2)
    average = Average(model, 0.0)
    average.update(model, 1)
    average.load(model.state_dict())
    assert average.state == {}


def test_a_loaded_average_goes_on():
    model = nn.Linear(2, 2)
    first, second = Average(model, 0.99), Average(model, 0.99)
    nn.init.zeros_(model.weight)
    first.update(model, 5)
    second.load(first.state)
    assert torch.equal(first.state["weight"], second.state["weight"])
