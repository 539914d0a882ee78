"""The precision that `auto` chooses: measured once on a CPU, and that of the checkpoint for a run that is resumed."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from ds2cli.nn.distributed.process_group import ProcessGroup
from ds2cli.stages import train
from ds2cli.train import precision
from ds2cli.train.backward import Backward
from ds2cli.train.events import Measuring, Precision, Request
from ds2cli.train.network import build_initial_network
from ds2cli.train.precision import choose_precision, measure_seconds, must_measure
from ds2cli.train.resume import load_checkpoint
from ds2cli.train.trainer import Trainer
from tests.train.test_trainer import VOCAB, CountingStore, corpus, job

ROOT = Path(__file__).parents[2]
GPU = ProcessGroup(device=torch.device("cuda"))


@pytest.fixture
def auto(monkeypatch, tmp_path):
    """A job with --precision auto on a processor with bfloat16, and an empty cache in tmp_path."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(precision, "_has_bfloat16", lambda: True)
    return job(*corpus(), precision="auto")


def choose(job, group=None):
    """The precision chosen for a job by a group of one process."""
    group = group or ProcessGroup()
    return choose_precision(job, group, build_initial_network(job, torch.device("cpu")))


def measured(monkeypatch, float32, bfloat16):
    """Let a measurement find these seconds; returns the list of the jobs measured."""
    jobs = []
    monkeypatch.setattr(
        precision, "measure_seconds", lambda job, *_: jobs.append(job) or {"float32": float32, "bfloat16": bfloat16}
    )
    return jobs


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16"])
def test_a_precision_that_is_set_is_used_without_a_reason(name):
    assert choose(job(*corpus(), precision=name)) == Precision(name)


@pytest.mark.parametrize(
    ("bfloat16_s", "chosen"), [(0.5, "bfloat16"), (0.9, "bfloat16"), (0.99, "float32"), (2.0, "float32")]
)
def test_auto_is_bfloat16_only_if_it_is_clearly_faster(auto, monkeypatch, tmp_path, bfloat16_s, chosen):
    measured(monkeypatch, 1.0, bfloat16_s)
    found = choose(auto)
    assert found.name == chosen
    times = f"1000 ms in float32, {1000 * bfloat16_s:.0f} ms in bfloat16"
    (file,) = tmp_path.rglob("*.json")
    assert found.reason == f"a short batch takes {times}; to measure again, delete {file}"


def test_a_machine_is_measured_once_per_network(auto, monkeypatch, tmp_path):
    jobs = measured(monkeypatch, 1.0, 0.5)
    assert choose(auto) == choose(auto)
    assert len(jobs) == 1
    choose(job(*corpus(), precision="auto", batch_s=9.0))
    assert len(jobs) == 2
    (file, _) = tmp_path.rglob("*.json")
    file.unlink()
    choose(auto), choose(job(*corpus(), precision="auto", batch_s=9.0))
    assert len(jobs) == 3, "a measurement that is deleted is repeated"


X86 = {
    "vendor_id": "AuthenticAMD", "cpu family": "25", "model": "1", "model name": "AMD EPYC", "stepping": "1",
    "flags": "fma avx2",
}  # fmt: skip
ARM = {
    "CPU implementer": "0x41", "CPU architecture": "8", "CPU variant": "0x1", "CPU part": "0xd40", "CPU revision": "1",
    "Features": "asimd bf16",
}  # fmt: skip


@pytest.mark.parametrize("fields", [X86, ARM], ids=["x86", "arm"])
def test_each_part_of_the_processor_is_part_of_the_key(auto, monkeypatch, tmp_path, fields):
    monkeypatch.setattr(precision, "PROCESSORS", tmp_path / "cpuinfo")

    def key(**others):
        lines = "".join(f"{name}\t: {value}\n" for name, value in {"processor": 0, **fields, **others}.items())
        (tmp_path / "cpuinfo").write_text(f"{lines}\n{lines.replace(': ', ': of the second ')}")
        return precision._cache_file(auto, 1)

    first = key()
    assert precision.processor() == fields
    assert key(**{"cpu MHz": "2445.4", "bogomips": "9"}) == first == key()
    assert len({first, *(key(**{name: "other"}) for name in fields)}) == 1 + len(fields)
    (tmp_path / "cpuinfo").unlink()
    assert list(precision.processor()) == ["processor", "machine"]


def test_each_other_thing_that_changes_the_speed_is_part_of_the_key(auto, monkeypatch):
    def key(config=None, processes=1):
        return precision._cache_file(replace(auto, config=config or auto.config), processes)

    keys = [key(), key(processes=2), key(replace(auto.config, batch_s=9.0)), key(replace(auto.config, ctc="torch"))]
    keys.append(key(replace(auto.config, model=replace(auto.config.model, rnn_size=16))))
    for where, name, value in (
        (precision.native, "instruction_set", lambda: "avx9"), (precision, "__version__", "9"),
        (torch, "get_num_threads", lambda: 99), (torch, "__version__", "9"),
    ):  # fmt: skip
        with monkeypatch.context() as patch:
            patch.setattr(precision.native, "available", lambda: True)
            patch.setattr(where, name, value)
            keys.append(key())
    assert len(set(keys)) == len(keys)
    assert key(replace(auto.config, epochs=99, seed=7)) == keys[0]


def test_a_user_without_a_home_measures_each_time(auto, monkeypatch):
    def no_home():
        raise RuntimeError("no home")

    jobs = measured(monkeypatch, 1.0, 0.5)
    monkeypatch.setattr(precision.io, "cache_folder", no_home)
    assert choose(auto).reason.endswith("500 ms in bfloat16") and choose(auto) and len(jobs) == 2


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"float32": 1}', '{"float32": 1, "bfloat16": null}', "\0"])
def test_a_damaged_cache_is_measured_again(auto, monkeypatch, tmp_path, content):
    jobs = measured(monkeypatch, 1.0, 0.5)
    choose(auto)
    (file,) = tmp_path.rglob("*.json")
    file.write_text(content)
    assert choose(auto).name == "bfloat16" and len(jobs) == 2
    assert json.loads(file.read_text()) == {"float32": 1.0, "bfloat16": 0.5}


def test_a_cache_that_cannot_be_written_does_not_matter(auto, monkeypatch, tmp_path):
    jobs = measured(monkeypatch, 1.0, 0.5)
    (tmp_path / "ds2cli").write_text("a file in place of the folder")
    assert [choose(auto) for _ in range(2)] == [
        Precision("bfloat16", "a short batch takes 1000 ms in float32, 500 ms in bfloat16")
    ] * 2
    assert len(jobs) == 2


def test_a_processor_without_bfloat16_is_not_measured(auto, monkeypatch):
    jobs = measured(monkeypatch, 1.0, 0.5)
    monkeypatch.setattr(precision, "_has_bfloat16", lambda: False)
    assert choose(auto) == Precision("float32", "the processor does not support bfloat16")
    assert jobs == []


@pytest.mark.parametrize(("one_dnn", "supported"), [(True, True), (True, False), (False, True)])
def test_the_processor_has_bfloat16_only_if_one_dnn_supports_it(monkeypatch, one_dnn, supported):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: one_dnn)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: supported, raising=False)
    assert precision._has_bfloat16() is (one_dnn and supported)


@pytest.mark.parametrize(("supported", "name"), [(True, "bfloat16"), (False, "float16")])
def test_auto_on_a_gpu_depends_on_what_it_supports(auto, monkeypatch, supported, name):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: supported)
    assert choose(auto, GPU).name == name


def test_measuring_times_every_precision_and_leaves_the_model_and_the_random_numbers_alone(auto):
    model = build_initial_network(auto, torch.device("cpu"))
    before = torch.get_rng_state()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    seconds = measure_seconds(auto, model)
    assert list(seconds) == ["float32", "bfloat16"] and min(seconds.values()) > 0
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize(
    ("budget_s", "rounds", "float32_s", "bfloat16_s"),
    [(1e9, 4, 8.0, 14.0), (440.0, 3, 8.0, 15.0), (100.0, 1, 100.0, 80.0), (0.0, 1, 100.0, 80.0)],
)
def test_the_fastest_step_counts_and_no_round_begins_after_the_budget(
    auto, monkeypatch, budget_s, rounds, float32_s, bfloat16_s
):
    """The steps take 100, 20, 8 and 9 s in float32 and 80, 15, 30 and 14 s in bfloat16; those before them 99 s."""
    clock, steps = [0.0], {"float32": [100.0, 20.0, 8.0, 9.0], "bfloat16": [80.0, 15.0, 30.0, 14.0]}
    sizes = []

    class TimedBackward(Backward):
        def __call__(self, batches, seed):
            (batch,) = batches
            sizes.append(batch.feats.shape[0])
            times = steps[str(self.precision).removeprefix("torch.")]
            clock[0] += 99.0 if len(batch.ids) == 2 else times.pop(0)
            torch._foreach_copy_(self.saved_statistics, self.statistics)

    monkeypatch.setattr(precision, "Backward", TimedBackward)
    monkeypatch.setattr(precision, "BUDGET_S", budget_s)
    monkeypatch.setattr(precision, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    found = measure_seconds(auto, build_initial_network(auto, torch.device("cpu")))
    assert found == {"float32": float32_s, "bfloat16": bfloat16_s}
    utterances = precision._typical_size(auto, 1)[0]
    assert sizes == [2, utterances, 2, utterances] + [utterances] * 2 * (rounds - 1)


@pytest.mark.parametrize(
    ("frames", "settings", "processes", "size"),
    [
        ([300, 100, 120], {"batch_s": 6.0}, 1, (5, 120)),
        ([5000] * 2, {"batch_s": 20.0}, 1, (1, 1000)),
        ([1], {"batch_s": 1.0}, 1, (100, 1)),
        # 20 and 100 utterances, shortened to 10 s in all
        ([100], {"batch_s": 20.0}, 1, (20, 50)),
        ([100], {"batch_s": 100.0}, 1, (62, 16)),
        ([1400], {"batch_s": 1600.0}, 1, (62, 16)),
        # the share of one of several processes
        ([1400], {"batch_s": 1600.0}, 4, (28, 35)),
        ([100], {"batch_s": 2.0}, 4, (1, 100)),
        ([100], {"batch_s": 100.0, "batch_utts": 8}, 1, (8, 100)),
        # utterances shorter than eight steps are not lengthened
        ([10], {"batch_s": 100.0}, 1, (100, 10)),
    ],
)
def test_the_batch_that_is_timed_is_as_wide_as_the_batches_of_the_job(frames, settings, processes, size):
    utterances = [SimpleNamespace(num_frames=n) for n in frames]
    config = SimpleNamespace(batch_utts=None, model=SimpleNamespace(stride=2))
    vars(config).update(settings)
    typical = SimpleNamespace(train=utterances, config=config, features={"hop_ms": 10.0}, vocab=VOCAB)
    assert precision._typical_size(typical, processes) == size


def test_a_measurement_is_announced_only_if_it_follows(auto, monkeypatch):
    jobs, group = measured(monkeypatch, 1.0, 0.5), ProcessGroup()
    assert must_measure(auto, group)
    assert not must_measure(auto, group, {"precision": "float32"}) and must_measure(auto, group, {"precision": "int8"})
    assert not must_measure(auto, GPU) and not must_measure(auto, ProcessGroup(rank=1, size=2))
    assert not must_measure(replace(auto, config=replace(auto.config, precision="bfloat16")), group)
    with monkeypatch.context() as patch:
        patch.setattr(precision, "_has_bfloat16", lambda: False)
        assert not must_measure(auto, group)
    assert jobs == []
    choose(auto)
    assert not must_measure(auto, group) and len(jobs) == 1


def test_training_announces_its_measurement(auto, monkeypatch, tmp_path):
    measured(monkeypatch, 1.0, 0.5)
    one_epoch = replace(auto, config=replace(auto.config, epochs=1))
    for name, expected in (("first", [Measuring, Precision]), ("second", [Precision])):
        events = [type(event) for event in train.run(one_epoch, str(tmp_path / name))]
        assert [event for event in events if event in (Measuring, Precision)] == expected == events[: len(expected)]
    assert Precision not in map(type, train.run(one_epoch, str(tmp_path / "first"))), "nothing is left to train"


def test_the_recipes_state_their_precision():
    others = ("gru.toml", "networks.toml")
    files = [p for p in (ROOT / "egs").glob("*/conf/*.toml") if "[model]" in p.read_text() and p.name not in others]
    assert {p.name for p in files} >= {"train.toml", "ds2.toml", "mini.toml"}
    assert all(tomllib.loads(p.read_text())["precision"] in ("float32", "bfloat16") for p in files)


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
    found = choose_precision(auto, ProcessGroup(), trainer.model, {"precision": saved})
    assert found.reason.startswith("a short batch takes")
