"""Which epoch's weights are stored, early stopping, and the plateaus of the dev error rate."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ds2cli.config.optim import OptimConfig
from ds2cli.config.train import TrainConfig
from ds2cli.metrics.wer import Counts
from ds2cli.nn.distributed.process_group import ProcessGroup
from ds2cli.runtime.file import BEST
from ds2cli.train import selection
from ds2cli.train.state import TrainState


@pytest.fixture
def epochs(monkeypatch):
    """The state after epochs with these dev rates, and for each epoch what was stored and what became unwanted."""

    def run(*rates, dev=True, rank=0, keep="best", keep_best=1, **optim):
        config = SimpleNamespace(keep=keep, keep_best=keep_best, optim=OptimConfig(**optim), model=None)
        job = SimpleNamespace(config=config, dev=["u"] if dev else [], vocab=None, features=None)
        state, log = TrainState(), []
        monkeypatch.setattr(selection, "dump_model", lambda *_: b"network")
        for rate in rates:
            monkeypatch.setattr(selection, "_evaluate", lambda *args, rate=rate: (args[-1], rate))
            stored = []
            epoch = state.summarize_epoch(TrainConfig(), {"hop_ms": 10.0}, 0.1)
            group = ProcessGroup(rank, 2)
            _, unwanted = selection.select_checkpoint(
                job, state, {}, group, epoch, lambda name, _data, stored=stored: stored.append(name)
            )
            log.append((state.divisions, state.stale, stored, unwanted))
            state.next_epoch()
        return state, log

    return run


@pytest.mark.parametrize("patience, divisions", [(1, [0, 1, 2, 3, 4, 5]), (2, [0, 0, 1, 1, 2, 2])])
def test_a_flat_dev_rate_divides_the_learning_rate_every_patience_epochs(epochs, patience, divisions):
    _, log = epochs(*[50.0] * 6, schedule="plateau", patience=patience)
    assert [divided for divided, *_ in log] == divisions
    assert [stale for _, stale, *_ in log] == [0, 1, 2, 3, 4, 5]
    assert epochs(*[50.0] * 6, schedule="line", patience=patience)[0].divisions == 0


def test_a_lower_rate_starts_the_patience_again(epochs):
    _, log = epochs(50.0, 51.0, 49.0, 49.0, 49.0, schedule="plateau", patience=2)
    assert [(divided, stale) for divided, stale, *_ in log] == [(0, 0), (0, 1), (0, 0), (0, 1), (1, 2)]


def test_the_best_weights_are_stored_the_later_of_two_equal_ones(epochs):
    state, log = epochs(50.0, 60.0, 50.0, 40.0)
    assert [stored for *_, stored, _ in log] == [[BEST], [], [BEST], [BEST]]
    assert state.best == 40.0 and state.kept == []
    assert [stored for *_, stored, _ in epochs(50.0, 60.0, keep="last")[1]] == [[BEST], [BEST]]
    assert [stored for *_, stored, _ in epochs(1.0, 1.0, dev=False)[1]] == [[BEST], [BEST]]


def test_the_best_networks_are_kept_and_the_others_named(epochs):
    state, log = epochs(50.0, 60.0, 40.0, 70.0, keep_best=2)
    first, second, third = (f"epoch-00{n}.safetensors" for n in (1, 2, 3))
    assert [(stored, unwanted) for *_, stored, unwanted in log] == [
        ([BEST, first], []), ([second], []), ([BEST, third], [second]), ([], []),
    ]  # fmt: skip
    assert state.kept == [[40.0, third], [50.0, first]]


def test_other_ranks_store_nothing_and_know_the_same(epochs):
    here, there = epochs(50.0, 60.0, 40.0, keep_best=2), epochs(50.0, 60.0, 40.0, keep_best=2, rank=1)
    assert here[0] == there[0] and not any(stored for *_, stored, _ in there[1])


def test_networks_are_compared_by_the_rate_before_it_is_rounded(monkeypatch):
    """3, 4 and 2 wrong characters of 100,000: all of them are 0.0 % in train.jsonl."""
    config = SimpleNamespace(keep="best", keep_best=1, optim=OptimConfig(), model=None)
    job = SimpleNamespace(config=config, dev=[], vocab=(), features={}, dev_features=None)
    job.dev = [SimpleNamespace(id="u", text="a")]
    for name, replaced in (("dump_model", b"network"), ("build_network", None), ("step_seconds", 0.02)):
        monkeypatch.setattr(selection, name, lambda *_, replaced=replaced: replaced)
    state, stored = TrainState(), []
    for errors in (3, 4, 2):
        by_character = Counts(hits=100_000 - errors, subs=errors)
        monkeypatch.setattr(selection, "count_greedy_errors", lambda *_, c=by_character: (Counts(), c, {"u": "b"}, {}))
        stored.append([])
        epoch = state.summarize_epoch(TrainConfig(), {"hop_ms": 10.0}, 0.1)
        group = ProcessGroup()
        epoch, _ = selection.select_checkpoint(job, state, {}, group, epoch, lambda name, _: stored[-1].append(name))
        assert epoch.dev_cer == 0.0
        state.next_epoch()
    assert stored == [[BEST], [], [BEST]] and state.best == pytest.approx(0.002)


def test_without_a_dev_set_the_latest_networks_are_kept(epochs):
    state, log = epochs(1.0, 1.0, 1.0, dev=False, keep_best=2)
    assert [name for _, name in state.kept] == ["epoch-003.safetensors", "epoch-002.safetensors"]
    assert log[-1][-1] == ["epoch-001.safetensors"] and [stale for _, stale, *_ in log] == [0, 0, 0]
