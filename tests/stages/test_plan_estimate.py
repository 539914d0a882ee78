"""Estimates for GPUs: sizes are those of the training, times follow the GPU and the data."""

from __future__ import annotations

import numpy as np
import pytest

from ds2cli import manifest
from ds2cli.config.base import build
from ds2cli.config.features import FeatureConfig
from ds2cli.config.plan import GPUS, find_gpu
from ds2cli.config.train import TrainConfig
from ds2cli.drops import Ledger
from ds2cli.errors import UsageError
from ds2cli.stages import plan
from ds2cli.stages.model import NetworkSpec
from ds2cli.stages.plan_estimate import choose_precision, describe_data, estimate_on_gpu, read_data
from ds2cli.stages.plan_gpu import spread_lengths
from ds2cli.stages.plan_layers import list_costs
from ds2cli.train.data import prepare_job
from ds2cli.train.trainer import Trainer

SMALL = {"channels": [32], "kernels": [5], "strides": [2], "rnn_layers": 2, "rnn_size": 128}
FEATURES = {"sample_rate": 16000, "window_ms": 20.0, "hop_ms": 10.0}


def estimate(name="v100", hours=100.0, utterances=50_000, longest=None, **settings):
    """The estimate for data of this size, with a network of 3 GRU layers."""
    config = build(TrainConfig, ("test", {"batch_s": 400.0, **settings}))
    data = describe_data(config, FeatureConfig(), hours, utterances, longest)
    network = NetworkSpec(config.model, 29, 161, 10.0)
    return estimate_on_gpu(config, network, FeatureConfig(), data, find_gpu(name), name)


@pytest.mark.parametrize("optim", [{"method": "adamw"}, {"method": "sgd", "ema": 0.9}], ids=["adamw", "average"])
def test_sizes_are_those_of_the_training(toy, optim):
    config = build(
        TrainConfig, ("test", {"batch_s": 5.0, "epochs": 3, "accumulate": 2, "model": SMALL, "optim": optim})
    )
    rows = manifest.read(str(toy / "train.jsonl"))
    job = prepare_job(config, rows, None, "", FEATURES, Ledger())
    network = NetworkSpec(config.model, len(job.vocab), len(job.mean), 10.0)
    found = estimate_on_gpu(config, network, FeatureConfig(), read_data(job), find_gpu("t4"), "t4")
    trainer = Trainer(job, plan.ProcessGroup())
    steps = trainer.plan_steps(1)
    batches = [[job.train[i].num_frames for i in batch] for step in steps for batch in step]
    padded = [max(lengths) * len(lengths) for lengths in batches]
    assert (found["utterances"], found["steps_per_epoch"], found["steps"]) == (48, len(steps), 3 * len(steps))
    assert found["padding"] == pytest.approx(100 * (1 - sum(map(sum, batches)) / sum(padded)), abs=0.06)
    assert found["longest"][1] == max(padded)
    assert found["hours"] == round(sum(map(sum, batches)) / 100 / 3600, 2)
    assert found["parameters"] == sum(p.numel() for p in trainer.parameters)
    trainer.time_step([0, 1])
    # the running statistics of norms are stored, too
    assert found["disk_mb"] * 2**20 == pytest.approx(plan._disk_bytes(trainer), rel=0.06)


def test_lengths_have_the_mean_and_the_maximum_given():
    for mean, longest in [(1230, 2460), (540, 2000), (1230, 1400), (700, 700)]:
        lengths = spread_lengths(10_000, mean, longest)
        assert lengths.mean() == pytest.approx(mean, rel=0.01) and lengths.max() == pytest.approx(longest, rel=0.01)
        assert (np.diff(lengths) >= 0).all() and lengths.min() >= 1


def test_data_of_a_known_size():
    found = estimate(hours=960, utterances=281_241)
    assert (found["utterances"], found["symbols"]) == (281_241, 29)
    assert found["hours"] == pytest.approx(960, rel=0.002)
    # a byte per bin and a head for each utterance; four bytes without compression
    assert found["compressed_mb"] == pytest.approx(960 * 360_000 * 161 / 2**20, rel=0.01)
    assert found["features_mb"] == pytest.approx(4 * 960 * 360_000 * 161 / 2**20, rel=0.01)
    # ten times the data of the same lengths
    larger = estimate(hours=9600, utterances=2_812_410)
    assert larger["minutes"] == pytest.approx(10 * found["minutes"], rel=0.02)
    assert larger["steps"] == pytest.approx(10 * found["steps"], rel=0.02)


def test_times_follow_the_gpu_the_network_and_the_settings():
    base = estimate()
    assert (
        estimate("h100")["minutes"] < estimate("a100-80")["minutes"] < base["minutes"] < estimate("titan-x")["minutes"]
    )
    assert estimate(precision="float16")["minutes"] < base["minutes"]
    assert estimate(batch_s=3200.0, nproc=8)["minutes"] < base["minutes"] / 6
    assert estimate(model={"rnn_size": 1024})["minutes"] > 1.3 * base["minutes"]
    assert estimate(epochs=40)["minutes"] == pytest.approx(2 * base["minutes"], rel=0.01)
    limited = estimate(minutes=base["minutes"] / 2)
    assert limited["epochs"] == pytest.approx(10, abs=0.1)
    # all utterances of one length have no padding; very different ones have some
    assert estimate(longest=7.2)["padding"] == 0 and estimate(longest=100.0)["padding"] > base["padding"]


def test_a_clipped_relu_is_a_loop_of_python_and_slower():
    tanh, relu = (estimate(model={"cell": "rnn", "activation": name}) for name in ("tanh", "relu"))
    assert relu["minutes"] > tanh["minutes"]
    config = build(TrainConfig, ("test", {}))
    network = NetworkSpec(config.model, 29, 161, 10.0)
    fused = [layer.recurrence.fused for layer in list_costs(network, config, 2) if layer.recurrence]
    synchronized = build(TrainConfig, ("test", {"sync_norm": True}))
    loops = [layer.recurrence.fused for layer in list_costs(network, synchronized, 2) if layer.recurrence]
    assert fused == [True] * 3 and loops == [False] * 3


@pytest.mark.parametrize("name", ["t4", "a100-80"])
@pytest.mark.parametrize("processes", [1, 4])
def test_the_largest_batch_fits_and_a_larger_one_does_not(name, processes):
    settings = {"model": {"rnn_size": 1024}, "nproc": processes, "longest": 20.0, "utterances": 200_000, "hours": 400}
    largest = estimate(name, **settings)["largest_batch_s"]
    assert largest > 20
    assert estimate(name, **settings, batch_s=float(largest))["fits"]
    assert not estimate(name, **settings, batch_s=1.3 * largest)["fits"]


def test_a_network_that_does_not_fit_at_all():
    found = estimate("t4", model={"rnn_size": 16384, "rnn_layers": 4})
    assert not found["fits"] and found["largest_batch_s"] == 0


def test_more_gpus_share_a_batch():
    one, eight = (estimate("v100", nproc=nproc, batch_s=1600.0) for nproc in (1, 8))
    assert one["steps"] == eight["steps"] and eight["memory_mb"] < one["memory_mb"] / 2
    assert eight["minutes"] < one["minutes"]


def test_every_gpu_has_plausible_figures():
    for name, gpu in GPUS.items():
        assert find_gpu(name.upper()) is gpu and gpu.peak("float16") >= gpu.float32 == gpu.peak("float32")
        assert (gpu.float16 is None) >= (gpu.bfloat16 is not None) or gpu.float16 is not None
        assert 8 <= gpu.memory <= 200 and 300 <= gpu.bandwidth <= 5000 and gpu.peak("tf32") >= gpu.float32


def test_the_precision_is_one_that_the_gpu_has():
    choices = [choose_precision("auto", find_gpu(name), name) for name in ("titan-x", "v100", "a100-40")]
    assert choices == ["float32", "float16", "bfloat16"]
    with pytest.raises(
        UsageError, match=r"v100 has no units for it, expected float32 or float16 \(--precision float16\)"
    ):
        choose_precision("bfloat16", find_gpu("v100"), "v100")
