from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from ds2cli.config.augment import AugmentConfig
from ds2cli.config.featurize import SpectrogramConfig
from ds2cli.config.model import ModelConfig
from ds2cli.config.optim import OptimConfig
from ds2cli.config.train import TrainConfig
from ds2cli.errors import BadUtterance, DataError, Ds2Error
from ds2cli.nn.checkpoint import BEST, load_model
from ds2cli.nn.distributed.process_group import ProcessGroup
from ds2cli.text.vocab import BLANK, Vocab
from ds2cli.train.augmenter import Augmenter
from ds2cli.train.batches import load
from ds2cli.train.checkpoint_files import LOG
from ds2cli.train.events import HALT, TrainStep
from ds2cli.train.examples import Utterance
from ds2cli.train.failures import MOST_SKIPPED
from ds2cli.train.job import TrainJob
from ds2cli.train.loader import BatchLoader
from ds2cli.train.state_file import LAST, load_state
from ds2cli.train.trainer import Trainer

VOCAB = Vocab((BLANK, "a", "b"))
FEATURES = {"hop_ms": 10.0}
MODEL = ModelConfig(channels=(12,), kernels=(5,), strides=(2,), rnn_layers=1, rnn_size=12)


def corpus(size=12):
    """Utterances of a and b: four frames of one spectrum or the other, four of silence."""
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
    see = Augmenter(config.augment, SpectrogramConfig(), config.seed, mean, arrays.__getitem__)
    return TrainJob(config, VOCAB, FEATURES, utterances, utterances[:4] if dev else [], mean, std, see, see.plain)


def untimed(rows):
    return [
        {k: v for k, v in row.items() if k not in ("seconds", "hours_per_hour", "waiting", "memory_mb")} for row in rows
    ]


def step_of(trainer, batch, want=0):
    """One step with one batch."""
    return trainer.take_step([batch], 0.5, 1.0, want)


def batch_of(trainer, positions):
    """A batch of the training set as the trainer takes it."""
    ((batch,),) = trainer._batches([[positions]], BatchLoader(trainer.job.see, 0))
    return batch


class CheckpointFiles(dict):
    """A folder in memory that a trainer stores into."""

    def __init__(self, path):
        super().__init__()
        self.path = path

    def __call__(self, name, data):
        self[name] = self.get(name, 0) + 1
        (self.path / name).write_bytes(data)


def losses(events):
    return [e.loss for e in events if isinstance(e, TrainStep)]


def test_it_learns_to_read_two_letters(tmp_path):
    arrays, utterances = corpus(24)
    trainer = Trainer(job(arrays, utterances, epochs=25), ProcessGroup())
    rows = [e for e in trainer.run(CheckpointFiles(tmp_path), lambda: False) if isinstance(e, dict)]
    assert [r["epoch"] for r in rows] == list(range(1, 26))
    assert rows[-1]["dev_cer"] <= 5.0 and rows[-1]["loss"] < 0.3 < rows[0]["loss"]
    assert list(rows[0]) == [
        "epoch", "step", "loss", "lr", "seconds", "hours_per_hour", "padding", "waiting", "memory_mb",
        "dev_wer", "dev_cer", "samples",
    ]  # fmt: skip
    assert [s["text"] for s in rows[-1]["samples"]] == [u.text for u in utterances[:3]]
    assert sum(s["text"] == s["pred_text"] for s in rows[-1]["samples"]) >= 2
    best = load_model(tmp_path)
    assert best.made["dev_cer"] == min(r["dev_cer"] for r in rows)


@pytest.mark.parametrize("memory", [0.0, 0.9])
def test_a_run_cut_anywhere_goes_on_along_the_same_losses(tmp_path, memory):
    arrays, utterances = corpus()
    settings = {"optim": OptimConfig(lr=0.02, ema=memory), "model": ModelConfig(**{**vars(MODEL), "dropout": 0.3})}
    whole = Trainer(job(arrays, utterances, **settings), ProcessGroup())
    expected = list(whole.run(lambda *_: None, lambda: False))
    total = len(losses(expected))
    for cut in (1, total // 2, total):
        files = CheckpointFiles(tmp_path)
        first = Trainer(job(arrays, utterances, **settings), ProcessGroup())
        asked = iter(range(1, total + 2))
        before = list(first.run(files, lambda asked=asked, cut=cut: HALT * (next(asked) >= cut)))
        second = Trainer(job(arrays, utterances, **settings), ProcessGroup(), load_state(tmp_path))
        after = list(second.run(files, lambda: False))
        assert losses(before) + losses(after) == losses(expected)
        made = untimed(e for e in [*before, *after] if isinstance(e, dict))
        assert made == untimed(e for e in expected if isinstance(e, dict))
        for kept in (lambda t: t.model.state_dict(), lambda t: t.average.state):
            for a, b in zip(kept(whole).values(), kept(second).values(), strict=True):
                assert torch.equal(a, b)


class Killed(Exception):
    """What ends a run at a point of the test's choice."""


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("name", [BEST, LOG, LAST])
def test_a_run_killed_at_any_write_loses_no_row(tmp_path, name, after):
    arrays, utterances = corpus()

    def ran(path, files):
        state = load_state(path)
        old = [json.loads(line) for line in (path / LOG).read_text().splitlines()] if (path / LOG).is_file() else []
        rows = [row for row in old if state and row["epoch"] <= state["at"]["epoch"]]
        trainer = Trainer(job(arrays, utterances, keep="last"), ProcessGroup(), state, rows)
        list(trainer.run(files, lambda: False))
        return untimed(json.loads(line) for line in (path / LOG).read_text().splitlines())

    def killing(at, data):
        if at == name and len(seen) == 1 and not after:
            raise Killed
        files(at, data)
        if at == name:
            seen.append(at)
            if len(seen) == 2:
                raise Killed

    for folder in ("whole", "cut"):
        (tmp_path / folder).mkdir()
    expected = ran(tmp_path / "whole", CheckpointFiles(tmp_path / "whole"))
    seen, files = [], CheckpointFiles(tmp_path / "cut")
    with pytest.raises(Killed):
        ran(tmp_path / "cut", killing)
    assert ran(tmp_path / "cut", CheckpointFiles(tmp_path / "cut")) == expected and len(expected) == 3
    assert load_model(tmp_path / "cut").made["epoch"] == 3


def test_a_run_cut_at_the_step_where_the_time_is_out_is_still_judged(tmp_path):
    arrays, utterances = corpus()
    settings = {"epochs": 1, "minutes": 1.0, "batch_s": 0.3}
    first = Trainer(job(arrays, utterances, **settings), ProcessGroup())
    assert len(losses(first.run(CheckpointFiles(tmp_path), lambda: HALT))) == 1 and not (tmp_path / BEST).exists()
    state = load_state(tmp_path)
    state["at"]["elapsed_s"] = 61.0
    events = list(
        Trainer(job(arrays, utterances, **settings), ProcessGroup(), state).run(
            CheckpointFiles(tmp_path), lambda: False
        )
    )
    assert [e["step"] for e in events if isinstance(e, dict)] == [1] and not losses(events)
    assert load_model(tmp_path).made["epoch"] == 1


def test_the_first_and_the_last_step_have_a_rate(tmp_path):
    arrays, utterances = corpus()
    trainer = Trainer(job(arrays, utterances, batch_s=0.3), ProcessGroup())
    rates = [
        trainer.optimizer.param_groups[0]["lr"]
        for e in trainer.run(CheckpointFiles(tmp_path), lambda: False)
        if isinstance(e, TrainStep)
    ]
    assert rates[0] > 0 and rates[-1] > 0 and max(rates) <= 0.02


def test_a_state_of_another_network_is_one_sentence(tmp_path):
    arrays, utterances = corpus()
    first = Trainer(job(arrays, utterances), ProcessGroup())
    list(first.run(CheckpointFiles(tmp_path), lambda: HALT))
    wider = ModelConfig(**{**vars(MODEL), "rnn_size": 13})
    with pytest.raises(DataError, match=r"^last.pt: does not fit this network: .*size mismatch.* \(another folder"):
        Trainer(job(arrays, utterances, model=wider), ProcessGroup(), load_state(tmp_path))
    with pytest.raises(DataError, match="'at' is missing"):
        Trainer(job(arrays, utterances), ProcessGroup(), {k: v for k, v in load_state(tmp_path).items() if k != "at"})


class Half(ProcessGroup):
    """One of two processes, the other of which adds nothing."""

    def all_reduce_async(self, flat):
        self.sent.append(flat.clone())

    def wait(self, work):
        pass

    def all_gather(self, found):
        return found


def test_a_share_of_a_single_step_adds_no_labels_and_is_named():
    arrays, utterances = corpus()
    arrays["short"] = np.ones((1, 6), np.float32)
    short = Utterance("short", "short", 1, np.array([1], np.int32), "a")
    group = Half(0, 2)
    group.sent = []
    trainer = Trainer(job(arrays, [short, *utterances], augment=AugmentConfig()), group)
    batch = batch_of(trainer, [0, 1])
    assert batch.ids == [] and batch.unusable == {"short": "single-step"}
    assert math.isnan(step_of(trainer, batch)[0])
    *gradients, numbers = group.sent
    assert numbers.tolist() == [0, 0, 0, 1, 0, -0, 0, 0, 0, 1] and not any(map(torch.any, gradients))
    assert trainer.at.skipped == {"short": "single-step"} and trainer.at.labels == 0
    loss = step_of(trainer, load(utterances[:2], trainer.job.see))[0]
    assert math.isfinite(loss) and trainer.failures.steps == 0


def test_bfloat16_factors_change_a_loss_little(tmp_path):
    arrays, utterances = corpus()
    runs = [
        losses(
            Trainer(job(arrays, utterances, epochs=1, precision=p), ProcessGroup()).run(
                CheckpointFiles(tmp_path), lambda: False
            )
        )
        for p in ("float32", "bfloat16")
    ]
    assert runs[0] != runs[1] and runs[1] == pytest.approx(runs[0], rel=0.05)


def test_a_finished_run_has_nothing_left_to_do(tmp_path):
    arrays, utterances = corpus()
    files = CheckpointFiles(tmp_path)
    list(Trainer(job(arrays, utterances), ProcessGroup()).run(files, lambda: False))
    assert files == {BEST: files[BEST], LAST: 3, LOG: 3}
    assert list(Trainer(job(arrays, utterances), ProcessGroup(), load_state(tmp_path)).run(files, lambda: False)) == []


def test_features_that_are_not_finite_are_named_and_left_out(tmp_path):
    arrays, utterances = corpus()
    arrays["u03"] = np.full_like(arrays["u03"], np.nan)
    events = list(
        Trainer(job(arrays, utterances, dev=False), ProcessGroup()).run(CheckpointFiles(tmp_path), lambda: False)
    )
    rows = [e for e in events if isinstance(e, dict)]
    assert [r["skipped"] for r in rows] == [{"u03": "features-not-finite"}] * 3
    assert all(map(math.isfinite, losses(events)))


@pytest.mark.parametrize("implementation", ["native", "torch"])
def test_a_label_that_does_not_fit_costs_its_utterance_only(tmp_path, implementation):
    arrays, utterances = corpus()
    long = Utterance("u99", "u00", utterances[0].num_frames, np.ones(200, np.int32), "a" * 200)
    given = job(arrays, [*utterances, long], dev=False, epochs=1, ctc=implementation, augment=AugmentConfig())
    events = list(Trainer(given, ProcessGroup()).run(CheckpointFiles(tmp_path), lambda: False))
    assert [e.skipped for e in events if isinstance(e, TrainStep) and e.skipped] == [{"u99": "label-too-long"}]
    assert all(map(math.isfinite, losses(events))), "the others of its batch are learned from"
    assert events[-1]["skipped"] == {"u99": "label-too-long"} and events[-1]["step"] == len(losses(events))
    trainer = Trainer(given, ProcessGroup())
    costs = trainer.backward([batch_of(trainer, [0, 1, len(utterances)])], seed=0)
    assert costs.labels == len(utterances[0].labels) + len(utterances[1].labels) and costs.counted == 2
    assert list(costs.out) == ["u99"] and costs.cost > 0 and not costs.spoiled
    alone = load([long], given.see)
    assert math.isnan(step_of(trainer, alone)[0]) and trainer.failures.steps == 1


def test_logits_that_are_not_finite_name_their_utterances_and_skip_the_step():
    arrays, utterances = corpus()
    trainer = Trainer(job(arrays, utterances, dev=False), ProcessGroup())
    before = [p.clone() for p in trainer.parameters]

    def spoil(_module, _given, made):
        logits, steps = made
        logits[0, 1] = math.nan
        return logits, steps

    hook = trainer.model.register_forward_hook(spoil)
    batch = load(utterances[:4], trainer.job.see)
    loss, skipped, _ = step_of(trainer, batch)
    assert math.isnan(loss) and skipped == {batch.ids[1]: "not-finite"} == trainer.at.skipped
    assert all(map(torch.equal, before, trainer.parameters)) and trainer.failures.steps == 1
    hook.remove()
    assert math.isfinite(step_of(trainer, batch)[0]) and trainer.failures.steps == 0


def test_the_two_losses_learn_the_same(tmp_path):
    arrays, utterances = corpus()
    runs = [
        losses(
            Trainer(job(arrays, utterances, ctc=which), ProcessGroup()).run(CheckpointFiles(tmp_path), lambda: False)
        )
        for which in ("native", "torch")
    ]
    assert runs[0] == pytest.approx(runs[1], rel=1e-3)


def test_a_checkpoint_of_before_reasons_were_kept_goes_on(tmp_path):
    arrays, utterances = corpus()
    list(Trainer(job(arrays, utterances), ProcessGroup()).run(CheckpointFiles(tmp_path), lambda: HALT))
    state = load_state(tmp_path)
    state["at"]["skipped"] = ["u03"]
    events = list(Trainer(job(arrays, utterances), ProcessGroup(), state).run(CheckpointFiles(tmp_path), lambda: False))
    assert [e["skipped"] for e in events if isinstance(e, dict) and "skipped" in e] == [{"u03": "unknown"}]


def test_a_network_beyond_help_ends_the_run(tmp_path):
    arrays, utterances = corpus(MOST_SKIPPED)
    trainer = Trainer(job(arrays, utterances, batch_utts=1), ProcessGroup())
    with torch.no_grad():
        trainer.model.output.weight.fill_(math.nan)
    with pytest.raises(Ds2Error, match=f"no loss was finite in {MOST_SKIPPED} steps in a row.*lower optim.lr"):
        list(trainer.run(CheckpointFiles(tmp_path), lambda: False))


def test_twenty_steps_of_which_nothing_can_be_read_end_the_run_with_the_reason(tmp_path):
    arrays, utterances = corpus(MOST_SKIPPED)
    given = job(arrays, utterances, batch_utts=1, dev=False)

    def gone(utterance, epoch):
        raise BadUtterance("missing-audio", "no such file")

    gone.frames = given.see.frames
    with pytest.raises(Ds2Error, match=rf"none of the utterances of {MOST_SKIPPED} steps .*\(missing-audio\)$"):
        list(Trainer(replace(given, see=gone), ProcessGroup()).run(CheckpointFiles(tmp_path), lambda: False))


def test_keeping_the_last_weights_still_stops_early(tmp_path):
    arrays, utterances = corpus()
    settings = {"epochs": 9, "early_stop": 2, "keep": "last", "optim": OptimConfig(lr=1e-12)}
    rows = [
        e
        for e in Trainer(job(arrays, utterances, **settings), ProcessGroup()).run(CheckpointFiles(tmp_path), int)
        if isinstance(e, dict)
    ]
    assert len(rows) == 3 and load_model(tmp_path).made["epoch"] == 3


def test_the_clock_ends_a_run_that_the_epochs_do_not(tmp_path):
    arrays, utterances = corpus()
    events = list(
        Trainer(job(arrays, utterances, epochs=10**6, minutes=1 / 60), ProcessGroup()).run(
            CheckpointFiles(tmp_path), lambda: False
        )
    )
    rows = [e for e in events if isinstance(e, dict)]
    assert events[-1] == rows[-1] and len(rows) < 10**6
    shares = [e.progress for e in events if isinstance(e, TrainStep)]
    assert shares == sorted(shares) and shares[-1] >= 1 > shares[-2]


def test_a_batch_of_a_single_step_is_passed_over(tmp_path):
    arrays, utterances = corpus(3)
    arrays["short"] = np.ones((1, 6), np.float32)
    short = Utterance("short", "short", 1, np.array([1], np.int32), "a")
    settings = {"batch_s": 0.01, "augment": AugmentConfig(), "dev": False}
    events = list(
        Trainer(job(arrays, [*utterances, short], **settings), ProcessGroup()).run(
            CheckpointFiles(tmp_path), lambda: False
        )
    )
    assert [e["skipped"] for e in events if isinstance(e, dict)] == [{"short": "single-step"}] * 3
    assert sum(map(math.isnan, losses(events))) == 3


def test_an_utterance_with_an_empty_text_is_learned_from(tmp_path):
    arrays, utterances = corpus(2)
    silent = Utterance("u99", "u00", utterances[0].num_frames, np.zeros(0, np.int32), "")
    events = list(
        Trainer(job(arrays, [silent], dev=False), ProcessGroup()).run(CheckpointFiles(tmp_path), lambda: False)
    )
    assert all(map(math.isfinite, losses(events)))


def test_without_a_dev_set_the_last_weights_are_kept(tmp_path):
    arrays, utterances = corpus()
    trainer = Trainer(job(arrays, utterances, dev=False), ProcessGroup())
    rows = [e for e in trainer.run(CheckpointFiles(tmp_path), lambda: False) if isinstance(e, dict)]
    assert "dev_wer" not in rows[-1] and load_model(tmp_path).made["epoch"] == 3
