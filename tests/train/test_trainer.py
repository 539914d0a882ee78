from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from itertools import chain, count, repeat
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ds2cli.config.augment import AugmentConfig
from ds2cli.config.features import FeatureConfig
from ds2cli.config.model import ModelConfig
from ds2cli.config.optim import OptimConfig
from ds2cli.config.train import TrainConfig
from ds2cli.errors import BadUtterance, DataError, Ds2Error
from ds2cli.nn.checkpoint import load_model
from ds2cli.nn.distributed.process_group import ProcessGroup
from ds2cli.runtime.file import BEST
from ds2cli.stages.train import _completed_rows
from ds2cli.text.vocab import BLANK, Vocab
from ds2cli.train import trainer as trainer_module
from ds2cli.train.augmenter import Augmenter
from ds2cli.train.batches import load_batch
from ds2cli.train.checkpoint_files import LOG
from ds2cli.train.events import Epoch, Request, Saved, TimeLimit, TrainStep
from ds2cli.train.examples import Utterance
from ds2cli.train.failures import MAX_SKIPPED
from ds2cli.train.job import TrainJob
from ds2cli.train.loader import BatchLoader
from ds2cli.train.resume import LAST, load_checkpoint
from ds2cli.train.trainer import Trainer

VOCAB = Vocab((BLANK, "a", "b"))
FEATURES = {"hop_ms": 10.0}
MODEL = ModelConfig(channels=(12,), kernels=(5,), strides=(2,), rnn_layers=1, rnn_size=12)


def corpus(size=12):
    """Utterances of the letters a and b: four frames of the spectrum of each letter, then four of silence."""
    rng = np.random.default_rng(0)
    shapes, arrays, utterances = rng.normal(size=(3, 6)), {}, []
    shapes[0] = 0
    for i in range(size):
        labels = rng.integers(1, 3, rng.integers(1, 6))
        frames = np.repeat([shapes[s] for label in labels for s in (label, 0)], 4, axis=0)
        arrays[f"u{i:02d}"] = (frames + 0.05 * rng.normal(size=frames.shape)).astype(np.float32)
        text = VOCAB.decode(labels.tolist())
        utterances.append(Utterance(f"u{i:02d}", f"u{i:02d}", len(frames), labels.astype(np.int32), text, 1))
    return arrays, utterances


def job(arrays, utterances, dev=True, **settings):
    settings = {
        "epochs": 3, "batch_s": 1.0, "model": MODEL, "optim": OptimConfig(lr=0.02),
        "augment": AugmentConfig(speed=0.05, time_masks=1, time_width=3), **settings,
    }  # fmt: skip
    mean, std = np.zeros(6, np.float32), np.ones(6, np.float32)
    config = TrainConfig(**settings)
    augmenter = Augmenter(config.augment, FeatureConfig(), config.seed, mean, arrays.__getitem__)
    dev_utterances = utterances[:4] if dev else []
    features = augmenter, augmenter.unaugmented
    return TrainJob(config, VOCAB, FEATURES, utterances, dev_utterances, mean, std, *features)


def untimed(rows):
    timed = ("seconds", "hours_per_hour", "waiting", "memory_mb")
    return [{k: v for k, v in row.items() if k not in timed} for row in rows]


def epoch_rows(events):
    """The rows of train.jsonl for the epochs among events."""
    return [e.to_row() for e in events if isinstance(e, Epoch)]


def take_step(trainer, batch):
    """Take one step with one batch."""
    return trainer.take_step([batch], 0.5, 1.0)


def make_batch(trainer, positions):
    """A batch of the training set, as the trainer loads it."""
    ((batch,),) = trainer._load_shards([[positions]], BatchLoader(trainer.job.train_features, 0))
    return batch


class CountingStore(dict):
    """Stores files in a folder and counts the writes of each."""

    def __init__(self, path):
        super().__init__()
        self.path = path

    def __call__(self, name, data):
        self[name] = self.get(name, 0) + 1
        (self.path / name).write_bytes(data)


def losses(events):
    return [e.loss for e in events if isinstance(e, TrainStep)]


def test_a_network_learns_two_letters(tmp_path):
    arrays, utterances = corpus(24)
    trainer = Trainer(job(arrays, utterances, epochs=25), ProcessGroup())
    rows = epoch_rows(trainer.run(CountingStore(tmp_path), lambda: False))
    assert [r["epoch"] for r in rows] == list(range(1, 26))
    assert rows[-1]["dev_cer"] <= 5.0 and rows[-1]["loss"] < 0.3 < rows[0]["loss"]
    assert list(rows[0]) == [
        "epoch", "step", "loss", "lr", "seconds", "hours_per_hour", "padding", "waiting", "memory_mb",
        "dev_wer", "dev_cer", "samples",
    ]  # fmt: skip
    assert [s["text"] for s in rows[-1]["samples"]] == [u.text for u in utterances[:3]]
    assert sum(s["text"] == s["pred_text"] for s in rows[-1]["samples"]) >= 2
    best = load_model(tmp_path)
    assert best.metadata["dev_cer"] == min(r["dev_cer"] for r in rows)


@pytest.mark.long
@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_run_stopped_at_any_step_resumes_along_the_same_losses(tmp_path, ema):
    arrays, utterances = corpus()
    settings = {"optim": OptimConfig(lr=0.02, ema=ema), "model": ModelConfig(**{**vars(MODEL), "dropout": 0.3})}
    uninterrupted = Trainer(job(arrays, utterances, **settings), ProcessGroup())
    expected = list(uninterrupted.run(lambda *_: None, lambda: False))
    total = len(losses(expected))
    for last_step in (1, total // 2, total):
        files = CountingStore(tmp_path)
        first = Trainer(job(arrays, utterances, **settings), ProcessGroup())
        step, last = iter(range(1, total + 2)), last_step
        before = list(first.run(files, lambda step=step, last=last: Request.STOP * (next(step) >= last)))
        second = Trainer(job(arrays, utterances, **settings), ProcessGroup(), load_checkpoint(tmp_path))
        after = list(second.run(files, lambda: False))
        assert losses(before) + losses(after) == losses(expected)
        assert untimed(epoch_rows([*before, *after])) == untimed(epoch_rows(expected))
        for tensors in (lambda t: t.model.state_dict(), lambda t: t.average.tensors):
            for a, b in zip(tensors(uninterrupted).values(), tensors(second).values(), strict=True):
                assert torch.equal(a, b)


class Killed(Exception):
    """Ends a run at a point that the test chooses."""


@pytest.mark.long
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("name", [BEST, LOG, LAST])
def test_a_run_killed_at_any_write_loses_no_row(tmp_path, name, after):
    arrays, utterances = corpus()

    def train(path, store):
        checkpoint = load_checkpoint(path)
        rows = _completed_rows(path / LOG, checkpoint)
        trainer = Trainer(job(arrays, utterances, keep="last"), ProcessGroup(), checkpoint, rows)
        list(trainer.run(store, lambda: False))
        return untimed(json.loads(line) for line in (path / LOG).read_text().splitlines())

    def killing_store(written, data):
        if written == name and store.get(name) == 1 and not after:
            raise Killed
        store(written, data)
        if written == name and store[name] == 2:
            raise Killed

    for folder in ("uninterrupted", "killed"):
        (tmp_path / folder).mkdir()
    expected = train(tmp_path / "uninterrupted", CountingStore(tmp_path / "uninterrupted"))
    store = CountingStore(tmp_path / "killed")
    with pytest.raises(Killed):
        train(tmp_path / "killed", killing_store)
    assert train(tmp_path / "killed", CountingStore(tmp_path / "killed")) == expected and len(expected) == 3
    assert load_model(tmp_path / "killed").metadata["epoch"] == 3


def test_a_run_stopped_as_its_time_runs_out_is_still_evaluated(tmp_path):
    arrays, utterances = corpus()
    settings = {"epochs": 1, "minutes": 1.0, "batch_s": 0.3}
    first = Trainer(job(arrays, utterances, **settings), ProcessGroup())
    assert len(losses(first.run(CountingStore(tmp_path), lambda: Request.STOP))) == 1 and not (tmp_path / BEST).exists()
    checkpoint = load_checkpoint(tmp_path)
    checkpoint["at"]["elapsed_s"] = 61.0
    events = list(
        Trainer(job(arrays, utterances, **settings), ProcessGroup(), checkpoint).run(
            CountingStore(tmp_path), lambda: False
        )
    )
    (epoch,) = [e for e in events if isinstance(e, Epoch)]
    assert epoch.step == 1 and not losses(events)
    untrained = 1 - 1 / len(first.plan_steps(0))
    assert events[-1] == TimeLimit(1, untrained, 61.0) and epoch.to_row()["untrained"] == round(untrained, 2)
    assert load_model(tmp_path).metadata["epoch"] == 1


def test_a_resumed_run_has_the_time_that_was_left(tmp_path):
    arrays, utterances = corpus()
    settings = {"epochs": 1, "minutes": 1.0, "batch_s": 0.3}
    first = Trainer(job(arrays, utterances, **settings), ProcessGroup())
    list(first.run(CountingStore(tmp_path), lambda: Request.STOP))
    checkpoint = load_checkpoint(tmp_path)
    checkpoint["at"]["elapsed_s"] = 59.999
    resumed = Trainer(job(arrays, utterances, **settings), ProcessGroup(), checkpoint)
    steps = [e for e in resumed.run(CountingStore(tmp_path), int) if isinstance(e, TrainStep)]
    assert steps and all(step.elapsed_s >= 59.999 for step in steps) and steps[-1].progress >= 1


def test_the_first_and_the_last_step_have_a_positive_learning_rate(tmp_path):
    arrays, utterances = corpus()
    trainer = Trainer(job(arrays, utterances, batch_s=0.3), ProcessGroup())
    rates = [
        trainer.optimizer.param_groups[0]["lr"]
        for e in trainer.run(CountingStore(tmp_path), lambda: False)
        if isinstance(e, TrainStep)
    ]
    assert rates[0] > 0 and rates[-1] > 0 and max(rates) <= 0.02


def test_a_network_too_large_for_memory_is_one_error_line(monkeypatch):
    def refuse(*_):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr("ds2cli.train.network.make_network", refuse)
    with pytest.raises(Ds2Error, match=r"does not fit in memory: .*model\.rnn_size is 12"):
        Trainer(job(*corpus()), ProcessGroup())


def test_a_checkpoint_of_another_network_is_one_error_line(tmp_path):
    arrays, utterances = corpus()
    first = Trainer(job(arrays, utterances), ProcessGroup())
    list(first.run(CountingStore(tmp_path), lambda: Request.STOP))
    wider = ModelConfig(**{**vars(MODEL), "rnn_size": 13})
    with pytest.raises(DataError, match=r"^last.pt: does not fit this network: .*size mismatch.* \(another folder"):
        Trainer(job(arrays, utterances, model=wider), ProcessGroup(), load_checkpoint(tmp_path))
    without_state = {k: v for k, v in load_checkpoint(tmp_path).items() if k != "at"}
    with pytest.raises(DataError, match="'at' is missing"):
        Trainer(job(arrays, utterances), ProcessGroup(), without_state)


class OneOfTwo(ProcessGroup):
    """One of two processes; the other has no data."""

    def all_reduce_async(self, flat):
        self.sent.append(flat.clone())

    def wait(self, work):
        pass

    def all_gather(self, values):
        return values


def test_a_shard_of_a_single_output_step_adds_no_labels_and_is_named():
    arrays, utterances = corpus()
    arrays["short"] = np.ones((1, 6), np.float32)
    short = Utterance("short", "short", 1, np.array([1], np.int32), "a")
    group = OneOfTwo(0, 2)
    group.sent = []
    trainer = Trainer(job(arrays, [short, *utterances], augment=AugmentConfig()), group)
    batch = make_batch(trainer, [0, 1])
    assert batch.ids == [] and batch.unusable == {"short": "single-step"}
    assert math.isnan(take_step(trainer, batch)[0])
    *gradients, totals = group.sent
    assert totals.tolist() == [0, 0, 0, 1, 0, -0, 0, 0, 0, 1] and not any(map(torch.any, gradients))
    assert trainer.state.skipped == {"short": "single-step"} and trainer.state.labels == 0
    loss = take_step(trainer, load_batch(utterances[:2], trainer.job.train_features))[0]
    assert math.isfinite(loss) and trainer.failures.steps == 0


@pytest.mark.parametrize("rank, elapsed_s", [(0, 7.0), (1, 0.0)])
def test_only_rank_0_adds_its_time_to_the_sum_over_the_processes(rank, elapsed_s):
    arrays, utterances = corpus()
    group = OneOfTwo(rank, 2)
    group.sent = []
    trainer = Trainer(job(arrays, utterances, augment=AugmentConfig()), group)
    trainer.take_step([make_batch(trainer, [0, 1])], 0.5, 7.0)
    assert trainer.state.elapsed_s == elapsed_s


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_16_bits_change_the_losses_little(tmp_path, precision):
    arrays, utterances = corpus()
    runs = [
        losses(
            Trainer(job(arrays, utterances, epochs=1, precision=p), ProcessGroup()).run(
                CountingStore(tmp_path), lambda: False
            )
        )
        for p in ("float32", precision)
    ]
    assert runs[0] != runs[1] and runs[1] == pytest.approx(runs[0], rel=0.05)


def test_a_finished_run_does_nothing_more(tmp_path):
    arrays, utterances = corpus()
    files = CountingStore(tmp_path)
    list(Trainer(job(arrays, utterances), ProcessGroup()).run(files, lambda: False))
    assert files == {BEST: files[BEST], LAST: 3, LOG: 3}
    assert (
        list(Trainer(job(arrays, utterances), ProcessGroup(), load_checkpoint(tmp_path)).run(files, lambda: False))
        == []
    )


def test_features_that_are_not_finite_are_named_and_left_out(tmp_path):
    arrays, utterances = corpus()
    arrays["u03"] = np.full_like(arrays["u03"], np.nan)
    events = list(
        Trainer(job(arrays, utterances, dev=False), ProcessGroup()).run(CountingStore(tmp_path), lambda: False)
    )
    epochs = [e for e in events if isinstance(e, Epoch)]
    assert [e.skipped for e in epochs] == [{"u03": "features-not-finite"}] * 3
    assert all(map(math.isfinite, losses(events)))


@pytest.mark.parametrize("implementation", ["native", "torch"])
def test_only_an_utterance_with_a_label_too_long_is_skipped(tmp_path, implementation):
    arrays, utterances = corpus()
    long = Utterance("u99", "u00", utterances[0].num_frames, np.ones(200, np.int32), "a" * 200)
    given = job(arrays, [*utterances, long], dev=False, epochs=1, ctc=implementation, augment=AugmentConfig())
    events = list(Trainer(given, ProcessGroup()).run(CountingStore(tmp_path), lambda: False))
    assert [e.skipped for e in events if isinstance(e, TrainStep) and e.skipped] == [{"u99": "label-too-long"}]
    assert all(map(math.isfinite, losses(events))), "the other utterances of its batch count"
    assert events[-1].skipped == {"u99": "label-too-long"} and events[-1].step == len(losses(events))
    trainer = Trainer(given, ProcessGroup())
    sums = trainer.backward([make_batch(trainer, [0, 1, len(utterances)])], seed=0)
    assert sums.labels == len(utterances[0].labels) + len(utterances[1].labels) and sums.counted == 2
    assert list(sums.skipped) == ["u99"] and sums.cost > 0 and not sums.non_finite
    single = load_batch([long], given.train_features)
    assert math.isnan(take_step(trainer, single)[0]) and trainer.failures.steps == 1


def test_non_finite_logits_name_their_utterances_and_skip_the_step():
    arrays, utterances = corpus()
    trainer = Trainer(job(arrays, utterances, dev=False), ProcessGroup())
    before = [p.clone() for p in trainer.parameters]

    def add_nan(_module, _inputs, outputs):
        logits, steps = outputs
        logits[0, 1] = math.nan
        return logits, steps

    hook = trainer.model.register_forward_hook(add_nan)
    batch = load_batch(utterances[:4], trainer.job.train_features)
    loss, skipped, _ = take_step(trainer, batch)
    assert math.isnan(loss) and skipped == {batch.ids[1]: "not-finite"} == trainer.state.skipped
    assert all(map(torch.equal, before, trainer.parameters)) and trainer.failures.steps == 1
    hook.remove()
    assert math.isfinite(take_step(trainer, batch)[0]) and trainer.failures.steps == 0


def test_both_ctc_implementations_give_the_same_losses(tmp_path):
    arrays, utterances = corpus()
    runs = [
        losses(Trainer(job(arrays, utterances, ctc=which), ProcessGroup()).run(CountingStore(tmp_path), lambda: False))
        for which in ("native", "torch")
    ]
    assert runs[0] == pytest.approx(runs[1], rel=1e-3)


def test_a_checkpoint_from_before_reason_codes_resumes(tmp_path):
    arrays, utterances = corpus()
    list(Trainer(job(arrays, utterances), ProcessGroup()).run(CountingStore(tmp_path), lambda: Request.STOP))
    checkpoint = load_checkpoint(tmp_path)
    checkpoint["at"]["skipped"] = ["u03"]
    events = list(
        Trainer(job(arrays, utterances), ProcessGroup(), checkpoint).run(CountingStore(tmp_path), lambda: False)
    )
    assert [row["skipped"] for row in epoch_rows(events) if "skipped" in row] == [{"u03": "unknown"}]


def test_a_network_without_finite_losses_ends_the_run(tmp_path):
    arrays, utterances = corpus(MAX_SKIPPED)
    trainer = Trainer(job(arrays, utterances, batch_utts=1), ProcessGroup())
    with torch.no_grad():
        trainer.model.output.weight.fill_(math.nan)
    with pytest.raises(Ds2Error, match=f"the loss was not finite in {MAX_SKIPPED} steps in a row.*lower optim.lr"):
        list(trainer.run(CountingStore(tmp_path), lambda: False))


def test_steps_without_a_readable_utterance_end_the_run_with_the_reason(tmp_path):
    arrays, utterances = corpus(MAX_SKIPPED)
    given = job(arrays, utterances, batch_utts=1, dev=False)

    def unreadable(utterance, epoch):
        raise BadUtterance("missing-audio", "no such file")

    unreadable.frames = given.train_features.frames
    with pytest.raises(Ds2Error, match=rf"no utterance could be used in {MAX_SKIPPED} steps .*\(missing-audio\)$"):
        list(
            Trainer(replace(given, train_features=unreadable), ProcessGroup()).run(
                CountingStore(tmp_path), lambda: False
            )
        )


def test_early_stopping_works_with_keep_last(tmp_path):
    arrays, utterances = corpus()
    settings = {"epochs": 9, "early_stop": 2, "keep": "last", "optim": OptimConfig(lr=1e-12)}
    trainer = Trainer(job(arrays, utterances, **settings), ProcessGroup())
    rows = epoch_rows(trainer.run(CountingStore(tmp_path), int))
    assert len(rows) == 3 and load_model(tmp_path).metadata["epoch"] == 3


@pytest.mark.long
def test_the_time_limit_ends_a_run_before_its_last_epoch(tmp_path):
    arrays, utterances = corpus()
    events = list(
        Trainer(job(arrays, utterances, epochs=10**6, minutes=1 / 60), ProcessGroup()).run(
            CountingStore(tmp_path), lambda: False
        )
    )
    epochs = [e for e in events if isinstance(e, Epoch)]
    assert events[-2] == epochs[-1] and len(epochs) < 10**6
    assert 10**6 - len(epochs) <= events[-1].untrained < 10**6 - len(epochs) + 1
    assert [e.untrained for e in epochs[:-1]] == [0] * (len(epochs) - 1)
    progress = [e.progress for e in events if isinstance(e, TrainStep)]
    assert progress == sorted(progress) and progress[-1] >= 1 > progress[-2]


def test_what_the_time_limit_cut_off_is_counted_also_after_resuming(tmp_path, monkeypatch):
    """Four steps per epoch, each of a second: the limits end the first run in epoch 3 and the second in epoch 6."""
    clock = count()
    monkeypatch.setattr(trainer_module, "time", SimpleNamespace(monotonic=lambda: float(next(clock))))
    arrays, utterances = corpus()

    def run(minutes, checkpoint=None, **settings):
        settings = {"epochs": 8, "batch_s": 0.3, "sorta_grad": False, **settings}
        trainer = Trainer(job(arrays, utterances, minutes=minutes, **settings), ProcessGroup(), checkpoint)
        events = list(trainer.run(CountingStore(tmp_path), lambda: False))
        steps = [e for e in events if isinstance(e, TrainStep)]
        return events, steps[-1].batch / steps[-1].batches if steps else 0.0

    events, part = run(0.5)
    first = events[-1]
    assert isinstance(first, TimeLimit) and first.epoch < 8
    assert first.untrained == pytest.approx(8 - first.epoch + 1 - part)
    assert events[-2].to_row()["untrained"] == round(first.untrained, 2)
    # nothing is left to do, and the same is reported
    assert run(0.5, load_checkpoint(tmp_path))[0] == [first]
    events, second_part = run(0.8, load_checkpoint(tmp_path))
    assert first.epoch < events[-1].epoch < 8
    assert events[-1].untrained == pytest.approx(8 - events[-1].epoch + 1 - part + 1 - second_part)
    events, _ = run(None, load_checkpoint(tmp_path))
    *_, epoch, end = events
    assert (end.epoch, end.untrained, end.reached) == (8, pytest.approx(1 - part + 1 - second_part), False)
    assert epoch.epoch == 8 and epoch.to_row()["untrained"] == round(end.untrained, 2)
    assert run(None, load_checkpoint(tmp_path))[0] == [end]
    assert first.reached


def test_a_batch_of_a_single_output_step_is_skipped(tmp_path):
    arrays, utterances = corpus(3)
    arrays["short"] = np.ones((1, 6), np.float32)
    short = Utterance("short", "short", 1, np.array([1], np.int32), "a")
    settings = {"batch_s": 0.01, "augment": AugmentConfig(), "dev": False}
    events = list(
        Trainer(job(arrays, [*utterances, short], **settings), ProcessGroup()).run(
            CountingStore(tmp_path), lambda: False
        )
    )
    assert [e.skipped for e in events if isinstance(e, Epoch)] == [{"short": "single-step"}] * 3
    assert sum(map(math.isnan, losses(events))) == 3


def test_an_utterance_with_an_empty_text_counts(tmp_path):
    arrays, utterances = corpus(2)
    silent = Utterance("u99", "u00", utterances[0].num_frames, np.zeros(0, np.int32), "")
    events = list(Trainer(job(arrays, [silent], dev=False), ProcessGroup()).run(CountingStore(tmp_path), lambda: False))
    assert all(map(math.isfinite, losses(events)))


def test_without_a_dev_set_the_last_weights_are_kept(tmp_path):
    arrays, utterances = corpus()
    trainer = Trainer(job(arrays, utterances, dev=False), ProcessGroup())
    rows = epoch_rows(trainer.run(CountingStore(tmp_path), lambda: False))
    assert "dev_wer" not in rows[-1] and load_model(tmp_path).metadata["epoch"] == 3


def gradient(trainer):
    return torch.cat([p.grad.flatten() for p in trainer.parameters])


def test_gradients_are_averaged_and_clipped_per_label_or_per_utterance():
    arrays, utterances = corpus()
    labels = sum(len(u.labels) for u in utterances[:4])
    gradients = {}
    for per, clip in (("label", 0.0), ("utterance", 0.0), ("label", 0.01), ("utterance", 0.01)):
        optim = OptimConfig(per=per, clip=clip)
        trainer = Trainer(job(arrays, utterances, optim=optim, augment=AugmentConfig()), ProcessGroup())
        loss = take_step(trainer, load_batch(utterances[:4], trainer.job.train_features))[0]
        gradients[per, clip] = gradient(trainer)
    assert labels > 4 and loss > 0
    torch.testing.assert_close(gradients["utterance", 0.0], gradients["label", 0.0] * labels / 4)
    assert gradients["label", 0.0].norm() > 0.01
    for per in ("label", "utterance"):
        assert gradients[per, 0.01].norm() == pytest.approx(0.01, rel=1e-3), per


def test_dropout_differs_by_step_and_rank_and_follows_from_them():
    arrays, utterances = corpus()

    def first_loss(step=0, rank=0, dropout=0.5):
        """The loss of the step after `step`, of the same weights and the same batch."""
        group = OneOfTwo(rank, 2)
        group.sent = []
        model = ModelConfig(**{**vars(MODEL), "dropout": dropout})
        trainer = Trainer(job(arrays, utterances, model=model, augment=AugmentConfig()), group)
        trainer.state.step = step
        return take_step(trainer, load_batch(utterances[:4], trainer.job.train_features))[0]

    losses = [first_loss(step, rank) for step in (0, 1) for rank in (0, 1)]
    assert len(set(losses)) == 4 and losses[1] == first_loss(0, 1)
    assert first_loss(0, 0, dropout=0.0) == first_loss(1, 1, dropout=0.0)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_an_epoch_states_the_share_of_padding(tmp_path, accumulate):
    arrays, utterances = corpus()
    given = job(arrays, utterances, epochs=2, augment=AugmentConfig(), batch_s=1.5, accumulate=accumulate)
    trainer = Trainer(given, ProcessGroup())
    frames = sum(u.num_frames for u in utterances)
    for epoch, row in enumerate(epoch_rows(trainer.run(CountingStore(tmp_path), int))):
        batches = [[utterances[i].num_frames for i in batch] for step in trainer.plan_steps(epoch) for batch in step]
        padded = sum(len(lengths) * max(lengths) for lengths in batches)
        assert padded > frames and row["padding"] == round(100 * (padded - frames) / padded, 1), epoch


def test_the_checkpoint_is_also_written_within_an_epoch(tmp_path, monkeypatch):
    arrays, utterances = corpus()
    writes = {}
    for minutes in (1.0, 60.0):
        # two readings per step, each 10 s after the one before
        clock = SimpleNamespace(
            monotonic=lambda seconds=count(0.0, 10.0): next(seconds), perf_counter=time.perf_counter
        )
        monkeypatch.setattr(trainer_module, "time", clock)
        files = CountingStore(tmp_path)
        trainer = Trainer(job(arrays, utterances, epochs=2, batch_s=0.3, save_minutes=minutes), ProcessGroup())
        steps = len(losses(trainer.run(files, int)))
        writes[minutes] = files[LAST], files[LOG]
    assert steps >= 12 and writes[60.0] == (2, 2)
    assert 2 + steps // 6 <= writes[1.0][0] <= 2 + steps // 3 and writes[1.0][1] == 2


def test_the_longest_batch_is_tried_before_the_first_step(tmp_path):
    arrays, utterances = corpus()
    trainer = Trainer(job(arrays, utterances, augment=AugmentConfig(), batch_s=0.5, epochs=1), ProcessGroup())
    sizes = [max(utterances[i].num_frames for i in b) * len(b) for step in trainer.plan_steps(0) for b in step]
    probe = next(iter(trainer.run(CountingStore(tmp_path), int)))
    assert min(sizes) < probe.frames == max(sizes) and probe.audio_frames == sum(sizes)
    longest = [b for step in trainer.plan_steps(0) for b in step][sizes.index(max(sizes))]
    assert (probe.utterances, probe.pieces, probe.steps) == (len(longest), 1, len(sizes))


@pytest.mark.long
def test_the_float16_scale_doubles_after_steady_steps_and_halves_on_overflow(monkeypatch):
    arrays, utterances = corpus()
    monkeypatch.setattr(trainer_module, "SCALE_UP_STEPS", 3)
    trainer = Trainer(job(arrays, utterances, precision="float16", augment=AugmentConfig()), ProcessGroup())
    batch = load_batch(utterances[:4], trainer.job.train_features)
    trainer.state.scale, scales = 64.0, []
    for _ in range(7):
        assert math.isfinite(take_step(trainer, batch)[0])
        scales.append(trainer.state.scale)
    assert scales == [64, 64, 128, 128, 128, 256, 256]
    # a scale at which the gradients overflow is halved until they do not, and the step is taken
    trainer.state.scale = 2.0**126
    assert math.isfinite(take_step(trainer, batch)[0]) and trainer.state.scale < 2.0**126
    # gradients that are not finite at any scale cost a step, and only one halving
    trainer.state.scale = 128.0
    hook = trainer.parameters[0].register_hook(lambda gradient: gradient * math.nan)
    assert math.isnan(take_step(trainer, batch)[0]) and trainer.state.scale == 64.0
    hook.remove()


def test_the_loss_of_an_epoch_is_that_of_its_steps_per_label(tmp_path):
    arrays, utterances = corpus()
    given = job(arrays, utterances, epochs=1, batch_s=100.0, augment=AugmentConfig())
    events = list(Trainer(given, ProcessGroup()).run(CountingStore(tmp_path), int))
    (loss,), (row,) = losses(events), epoch_rows(events)
    assert row["loss"] == round(loss, 4)


def test_only_an_utterance_with_an_impossible_text_is_skipped():
    arrays, utterances = corpus()
    trainer = Trainer(job(arrays, utterances, dev=False, augment=AugmentConfig()), ProcessGroup())

    def forbid_symbols(_module, _inputs, outputs):
        logits, steps = outputs
        logits = logits.clone()
        logits[:, 1, 1:] = -math.inf
        return logits, steps

    trainer.model.register_forward_hook(forbid_symbols)
    batch = load_batch(utterances[:4], trainer.job.train_features)
    loss, skipped, _ = take_step(trainer, batch)
    assert math.isfinite(loss) and skipped == {batch.ids[1]: "impossible-text"} and trainer.state.counted == 3


def test_float16_gradients_are_those_of_float32_at_any_scale():
    arrays, utterances = corpus()
    model, optim = ModelConfig(**{**vars(MODEL), "dropout": 0.0}), OptimConfig(clip=0.0)
    found = []
    for precision, scale in (("float32", 1.0), ("float16", 16.0), ("float16", 1024.0)):
        given = job(arrays, utterances, precision=precision, model=model, optim=optim, augment=AugmentConfig())
        trainer = Trainer(given, ProcessGroup())
        trainer.state.scale = scale
        loss = take_step(trainer, load_batch(utterances[:4], given.train_features))[0]
        found.append((loss, gradient(trainer)))
    (expected_loss, expected), *others = found
    for loss, value in others:
        assert loss == pytest.approx(expected_loss, rel=0.02)
        assert (value - expected).norm() < 0.1 * expected.norm()


def test_a_gradient_that_is_not_finite_names_its_utterances_and_changes_nothing():
    arrays, utterances = corpus()
    trainer = Trainer(job(arrays, utterances, dev=False, augment=AugmentConfig()), ProcessGroup())
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.parameters[0].register_hook(lambda gradient: gradient * math.nan)
    batch = load_batch(utterances[:2], trainer.job.train_features)
    loss, skipped, _ = take_step(trainer, batch)
    assert math.isnan(loss) and skipped == dict.fromkeys(batch.ids, "gradient-not-finite") == trainer.state.skipped
    assert trainer.state.counted == trainer.state.labels == trainer.state.loss == 0
    for name, value in trainer.model.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize("hop_ms, utterances_per_batch", [(5.0, 40), (10.0, 20), (20.0, 10)])
def test_the_length_of_a_batch_is_in_seconds(hop_ms, utterances_per_batch):
    arrays, (one,) = corpus(1)
    utterances = [replace(one, id=f"u{i:02d}", num_frames=20) for i in range(40)]
    given = replace(job(arrays, utterances, batch_s=4.0, augment=AugmentConfig()), features={"hop_ms": hop_ms})
    sizes = [len(batch) for step in Trainer(given, ProcessGroup()).plan_steps(0) for batch in step]
    assert sizes == [utterances_per_batch] * (40 // utterances_per_batch)


@pytest.mark.parametrize("sorta_grad, sorted_epochs", [(True, [True, False, False]), (False, [False, False, False])])
def test_only_the_first_epoch_goes_from_short_to_long_and_only_if_set(sorta_grad, sorted_epochs):
    arrays, utterances = corpus(24)
    given = job(arrays, utterances, sorta_grad=sorta_grad, batch_s=0.5, augment=AugmentConfig())
    trainer, found = Trainer(given, ProcessGroup()), []
    for epoch in range(3):
        longest = [utterances[batch[0]].num_frames for step in trainer.plan_steps(epoch) for batch in step]
        found.append(longest == sorted(longest))
    assert found == sorted_epochs


def test_each_step_gets_the_batches_that_were_planned_for_it():
    arrays, utterances = corpus()
    given = job(arrays, utterances, accumulate=2, batch_s=0.3, augment=AugmentConfig())
    trainer = Trainer(given, ProcessGroup())
    steps = trainer.plan_steps(1)
    loaded = list(trainer._load_shards(steps, BatchLoader(given.train_features, 0)))
    assert [[set(batch.ids) for batch in step] for step in loaded] == [
        [{utterances[i].id for i in batch} for batch in step] for step in steps
    ]
    assert len(steps) > 2 and {len(step) for step in steps[:-1]} == {2}


def test_weights_batches_and_dropout_follow_from_the_seed():
    arrays, utterances = corpus()
    model = ModelConfig(**{**vars(MODEL), "dropout": 0.5})
    first, *others = (
        Trainer(job(arrays, utterances, seed=seed, model=model, augment=AugmentConfig()), ProcessGroup())
        for seed in (3, 3, 4)
    )
    weights = {name: value.clone() for name, value in first.model.state_dict().items()}
    batch = load_batch(utterances[:4], first.job.train_features)
    loss = take_step(first, batch)[0]
    for trainer, same in zip(others, (True, False), strict=True):
        assert torch.equal(trainer.model.output.weight, weights["output.weight"]) is same
        assert (trainer.plan_steps(1) == first.plan_steps(1)) is same
        trainer.model.load_state_dict(weights)
        assert (take_step(trainer, batch)[0] == loss) is same, "dropout"


def test_the_network_gets_the_statistics_of_the_training_set():
    given = replace(job(*corpus()), mean=np.full(6, -3, np.float32), std=np.arange(1, 7, dtype=np.float32))
    model = Trainer(given, ProcessGroup()).model
    assert model.mean.tolist() == [-3] * 6 and model.std.tolist() == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("schedule, divisor", [("epoch", 8), ("plateau", 2), ("constant", 1)])
def test_the_rate_of_a_step_is_divided_as_its_schedule_says(schedule, divisor):
    arrays, utterances = corpus()
    optim = OptimConfig(lr=0.08, schedule=schedule, lr_divisor=2.0)
    trainer = Trainer(job(arrays, utterances, optim=optim), ProcessGroup())
    trainer.state.epoch, trainer.state.divisions = 3, 1
    take_step(trainer, make_batch(trainer, [0, 1]))
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(0.08 / divisor)


def test_the_average_of_the_weights_is_what_is_saved(tmp_path):
    arrays, utterances = corpus()
    trainer = Trainer(job(arrays, utterances, epochs=1, optim=OptimConfig(lr=0.02, ema=0.9)), ProcessGroup())
    list(trainer.run(CountingStore(tmp_path), int))
    saved = load_model(tmp_path).model.state_dict()
    assert all(torch.equal(saved[name], value) for name, value in trainer.average.tensors.items())
    assert not torch.equal(saved["output.weight"], trainer.model.state_dict()["output.weight"])


def test_events_count_the_steps_of_the_epoch_and_all_steps(tmp_path):
    arrays, utterances = corpus()
    given = job(arrays, utterances, epochs=2, batch_s=0.3, augment=AugmentConfig())
    trainer, steps, rates, rows = Trainer(given, ProcessGroup()), [], [], []
    for event in trainer.run(CountingStore(tmp_path), int):
        if isinstance(event, TrainStep):
            steps.append(event)
            rates.append(trainer.optimizer.param_groups[0]["lr"])
        elif isinstance(event, Epoch):
            rows.append((event.epoch, event.step, event.lr, rates[-1]))
    sizes = [len(trainer.plan_steps(epoch)) for epoch in (0, 1)]
    expected = [(epoch, batch, size) for epoch, size in enumerate(sizes) for batch in range(1, size + 1)]
    assert [(e.epoch, e.batch, e.batches) for e in steps] == expected
    assert [e.step for e in steps] == list(range(1, sum(sizes) + 1))
    assert [e.progress for e in steps] == pytest.approx([(epoch + n / size) / 2 for epoch, n, size in expected])
    assert [row[:2] for row in rows] == [(1, sizes[0]), (2, sum(sizes))]
    for *_, lr, rate in rows:
        assert lr == pytest.approx(rate, rel=1e-3) and lr < 0.02


@pytest.mark.parametrize(("batch_s", "counted"), [(0.01, 0), (10.0, None)])
def test_the_first_event_names_an_utterance_that_memory_does_not_hold(tmp_path, batch_s, counted):
    arrays, utterances = corpus()
    longest = max(u.num_frames for u in utterances)
    trainer = Trainer(job(arrays, utterances, epochs=1, batch_s=batch_s, augment=AugmentConfig()), ProcessGroup())

    def fail(_model, arguments):
        if arguments[0].shape[1] >= longest:
            raise torch.OutOfMemoryError("out of memory (test)")

    trainer.model.register_forward_pre_hook(fail)
    probe = next(iter(trainer.run(CountingStore(tmp_path), lambda: Request.NONE)))
    too_large = {u.id for u in utterances if u.num_frames == longest}
    assert probe.too_large and set(probe.too_large) <= too_large
    assert probe.counted == (probe.utterances - len(probe.too_large) if counted is None else counted)


def test_a_request_to_save_writes_a_checkpoint_and_the_training_goes_on(tmp_path):
    arrays, utterances = corpus()
    requests = chain([Request.NONE, Request.SAVE], repeat(Request.NONE))
    files, trainer = CountingStore(tmp_path), Trainer(job(arrays, utterances, epochs=1, batch_s=0.3), ProcessGroup())
    names = [type(event).__name__ for event in trainer.run(files, lambda: next(requests))]
    assert names[:5] == ["MemoryProbe", "TrainStep", "TrainStep", "Saved", "TrainStep"]
    assert names[5:].count("Saved") == 1 and names[-1] == "Epoch" and files[LAST] == 2


def test_a_disk_that_is_full_to_the_end_is_an_error_after_the_last_epoch():
    def refuse(name, _data):
        raise DataError(f"{name}: cannot be written: no space left on device")

    events = []
    with pytest.raises(Ds2Error, match=r"^train: .*no space left on device \(the previous checkpoint is intact"):
        for event in Trainer(job(*corpus(), epochs=1), ProcessGroup()).run(refuse, int):
            events.append(event)
    assert isinstance(events[-1], Epoch)
    assert ["no space left" in event.failed for event in events if isinstance(event, Saved)] == [True]


def test_the_seconds_of_an_epoch_are_those_of_its_steps(tmp_path, monkeypatch):
    """The clock is read twice per step and advances 10 s each time; a loader is waited for 1 s per batch."""

    class SlowLoader(BatchLoader):
        def __call__(self, shards, epoch):
            for batch in super().__call__(shards, epoch):
                self.waited = round(self.waited) + 1.0
                yield batch

    readings = count(0.0, 10.0)
    clock = SimpleNamespace(monotonic=lambda: next(readings), perf_counter=time.perf_counter)
    monkeypatch.setattr(trainer_module, "time", clock)
    monkeypatch.setattr(trainer_module, "BatchLoader", SlowLoader)
    arrays, utterances = corpus()
    trainer = Trainer(job(arrays, utterances, epochs=2, batch_s=0.3, save_minutes=1e6), ProcessGroup())
    rows = epoch_rows(trainer.run(CountingStore(tmp_path), int))
    assert [row["seconds"] for row in rows] == [20.0 * len(trainer.plan_steps(epoch)) for epoch in (0, 1)]
    assert [row["waiting"] for row in rows] == [5.0, 5.0]


@pytest.mark.long
def test_a_step_computed_in_pieces_counts_once():
    arrays, utterances = corpus()
    trainer = Trainer(job(arrays, utterances, augment=AugmentConfig()), ProcessGroup())
    failures = [torch.OutOfMemoryError("out of memory (test)")] * 2

    def fail(*_):
        if failures:
            raise failures.pop()

    trainer.model.register_forward_hook(fail)
    batch = load_batch(utterances[:4], trainer.job.train_features)
    assert math.isfinite(take_step(trainer, batch)[0]) and trainer.state.cut == 1 and not failures
    assert math.isfinite(take_step(trainer, batch)[0]) and trainer.state.cut == 1
    assert trainer.state.counted == 8


def test_a_single_output_step_is_enough_without_batch_norm_and_two_with_it():
    arrays, utterances = corpus()
    short = []
    for name in ("s1", "s2"):
        arrays[name] = np.ones((1, 6), np.float32)
        short.append(Utterance(name, name, 1, np.array([1], np.int32), "a"))
    for norm, positions, used in (("none", [0], ["s1"]), ("batch", [0], []), ("batch", [0, 1], ["s1", "s2"])):
        model = ModelConfig(**{**vars(MODEL), "norm": norm})
        given = job(arrays, [*short, *utterances], model=model, augment=AugmentConfig())
        assert make_batch(Trainer(given, ProcessGroup()), positions).ids == used, (norm, positions)


def test_settings_reach_what_they_are_for(tmp_path, monkeypatch):
    """Those that change no result: the CTC implementation, the data-loader processes; and the norms of one process."""
    arrays, utterances = corpus()
    for implementation in ("native", "torch"):
        trainer = Trainer(job(arrays, utterances, ctc=implementation), ProcessGroup())
        assert trainer.backward.implementation == implementation
    for sync in (False, True):
        assert bool(Trainer(job(arrays, utterances, sync_norm=sync), OneOfTwo(0, 2)).backward.norms) is sync
    numbers = []
    monkeypatch.setattr(trainer_module, "BatchLoader", lambda *args: numbers.append(args[1]) or BatchLoader(args[0], 0))
    next(iter(Trainer(job(arrays, utterances, readers=3), ProcessGroup()).run(CountingStore(tmp_path), int)))
    assert numbers == [3]


def test_a_single_step_without_a_usable_utterance_is_not_the_end(tmp_path):
    arrays, utterances = corpus(2)
    for name in arrays:
        arrays[name] = np.full_like(arrays[name], np.nan)
    trainer = Trainer(job(arrays, utterances, epochs=2, dev=False, batch_s=100.0), ProcessGroup())
    rows = epoch_rows(trainer.run(CountingStore(tmp_path), int))
    assert [(row["step"], row["loss"]) for row in rows] == [(1, None), (2, None)]
    assert rows[1]["skipped"] == {"u00": "features-not-finite", "u01": "features-not-finite"}
