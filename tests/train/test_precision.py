"""The precision that `auto` chooses: measured once on a CPU, and that of the checkpoint for a run that is resumed."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from ds2cli.nn.distributed.process_group import ProcessGroup
from ds2cli.train import precision
from ds2cli.train.events import Precision, Request
from ds2cli.train.precision import choose_precision, measure_seconds
from ds2cli.train.resume import load_checkpoint
from ds2cli.train.trainer import Trainer
from tests.train.test_trainer import VOCAB, CountingStore, corpus, job

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def auto(monkeypatch, tmp_path):
    """A job with --precision auto on a processor with bfloat16, and an empty cache in tmp_path."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(precision, "_has_bfloat16", lambda: True)
    return job(*corpus(), precision="auto")


def measured(monkeypatch, float32, bfloat16):
    """Let a measurement find these seconds; returns the list of the jobs measured."""
    jobs = []
    monkeypatch.setattr(
        precision, "measure_seconds", lambda job: jobs.append(job) or {"float32": float32, "bfloat16": bfloat16}
    )
    return jobs


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16"])
def test_a_precision_that_is_set_is_used_without_a_reason(name):
    assert choose_precision(job(*corpus(), precision=name), CPU) == Precision(name)


@pytest.mark.parametrize(
    ("bfloat16_s", "chosen"), [(0.5, "bfloat16"), (0.9, "bfloat16"), (0.99, "float32"), (2.0, "float32")]
)
def test_auto_is_bfloat16_only_if_it_is_clearly_faster(auto, monkeypatch, bfloat16_s, chosen):
    measured(monkeypatch, 1.0, bfloat16_s)
    found = choose_precision(auto, CPU)
    assert found.name == chosen
    times = f"1000 ms in float32, {1000 * bfloat16_s:.0f} ms in bfloat16"
    assert found.reason == f"on this machine, a short batch takes {times}"


def test_a_machine_is_measured_once_per_network(auto, monkeypatch, tmp_path):
    jobs = measured(monkeypatch, 1.0, 0.5)
    assert choose_precision(auto, CPU) == choose_precision(auto, CPU)
    assert len(jobs) == 1
    choose_precision(job(*corpus(), precision="auto", batch_s=9.0), CPU)
    monkeypatch.setattr(precision, "processor_name", lambda: "another")
    choose_precision(auto, CPU)
    assert len(jobs) == 3 and len(list(tmp_path.rglob("*.json"))) == 3


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"float32": 1}', '{"float32": 1, "bfloat16": null}', "\0"])
def test_a_damaged_cache_is_measured_again(auto, monkeypatch, tmp_path, content):
    jobs = measured(monkeypatch, 1.0, 0.5)
    choose_precision(auto, CPU)
    (file,) = tmp_path.rglob("*.json")
    file.write_text(content)
    assert choose_precision(auto, CPU).name == "bfloat16" and len(jobs) == 2
    assert json.loads(file.read_text()) == {"float32": 1.0, "bfloat16": 0.5}


def test_a_cache_that_cannot_be_written_does_not_matter(auto, monkeypatch, tmp_path):
    jobs = measured(monkeypatch, 1.0, 0.5)
    (tmp_path / "ds2cli").write_text("a file in place of the folder")
    assert [choose_precision(auto, CPU).name for _ in range(2)] == ["bfloat16"] * 2
    assert len(jobs) == 2


def test_a_processor_without_bfloat16_is_not_measured(auto, monkeypatch):
    jobs = measured(monkeypatch, 1.0, 0.5)
    monkeypatch.setattr(precision, "_has_bfloat16", lambda: False)
    assert choose_precision(auto, CPU) == Precision("float32", "the processor does not support bfloat16")
    assert jobs == []


@pytest.mark.parametrize(("one_dnn", "supported"), [(True, True), (True, False), (False, True)])
def test_the_processor_has_bfloat16_only_if_one_dnn_supports_it(monkeypatch, one_dnn, supported):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: one_dnn)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: supported, raising=False)
    assert precision._has_bfloat16() is (one_dnn and supported)


@pytest.mark.parametrize(("supported", "name"), [(True, "bfloat16"), (False, "float16")])
def test_auto_on_a_gpu_depends_on_what_it_supports(auto, monkeypatch, supported, name):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: supported)
    assert choose_precision(auto, GPU).name == name


def test_measuring_times_every_precision_and_draws_no_random_numbers(auto):
    before = torch.get_rng_state()
    seconds = measure_seconds(auto)
    assert list(seconds) == ["float32", "bfloat16"] and min(seconds.values()) > 0
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("frames", "batch_s", "size"),
    [([300, 100, 120], 6.0, (5, 120)), ([5000] * 2, 20.0, (1, 200)), ([1], 1.0, (100, 1))],
)
def test_the_batch_that_is_timed_is_typical_of_the_job(frames, batch_s, size):
    utterances = [SimpleNamespace(num_frames=n) for n in frames]
    typical = SimpleNamespace(
        train=utterances, config=SimpleNamespace(batch_s=batch_s), features={"hop_ms": 10.0}, vocab=VOCAB
    )
    assert precision._typical_size(typical) == size


def test_a_run_is_resumed_in_its_precision_on_any_machine(auto, monkeypatch, tmp_path):
    measured(monkeypatch, 1.0, 0.5)
    files = CountingStore(tmp_path)
    trainer = Trainer(replace(auto, config=replace(auto.config, epochs=1)), ProcessGroup())
    events = list(trainer.run(files, lambda: Request.NONE))
    assert events[0] == trainer.precision and trainer.precision.name == "bfloat16"
    monkeypatch.setattr(precision, "_has_bfloat16", lambda: False)
    resumed = Trainer(auto, ProcessGroup(), load_checkpoint(tmp_path))
    assert resumed.precision == Precision("bfloat16", "as when the training was started")
    assert resumed.backward.precision == torch.bfloat16


@pytest.mark.parametrize("saved", [None, "int8", ["bfloat16"]])
def test_a_checkpoint_without_a_known_precision_leaves_the_choice(auto, monkeypatch, saved):
    measured(monkeypatch, 1.0, 0.5)
    trainer = Trainer(auto, ProcessGroup())
    assert trainer._choose_precision({"precision": saved}).reason.startswith("on this machine")
