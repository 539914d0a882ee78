from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from ds2cli.config.train import TrainConfig
from ds2cli.train.state import TrainState, peak_memory_mb

LEARNED = {
    "epoch": 1, "batch": 5, "step": 9, "elapsed_s": 60.0, "best": 12.5, "stale": 2, "divisions": 1,
    "kept": [[12.5, "epoch-001.safetensors"]], "scale": 64.0, "steady": 3,
}  # fmt: skip
CONFIG = TrainConfig()
SUMS = {
    "loss": 12.3456, "labels": 8, "counted": 3, "frames": 36_000, "padding": 4_000, "seconds": 12.0, "waited": 3.0,
    "cut": 2, "skipped": {"a": "no-frames"}, "unnamed": 4,
}  # fmt: skip


def test_the_results_of_an_epoch_are_those_of_its_sums():
    epoch = TrainState(**LEARNED, **SUMS).summarize_epoch(CONFIG, {"hop_ms": 10.0}, lr=0.00123456)
    assert (epoch.epoch, epoch.step, epoch.loss, epoch.lr) == (2, 9, 1.5432, 0.001235)
    # 360 s of audio in 12 s, of which 3 s were spent waiting; 10 % of all frames are padding
    assert (epoch.seconds, epoch.hours_per_hour, epoch.padding, epoch.waiting) == (12.0, 30.0, 10.0, 25.0)
    assert (epoch.cut, epoch.skipped) == (2, {"a": "no-frames"})
    assert TrainState(**LEARNED, **SUMS).summarize_epoch(CONFIG, {"hop_ms": 20.0}, lr=0.1).hours_per_hour == 60.0


def test_an_epoch_without_labels_or_utterances_has_no_division_by_zero():
    assert TrainState(loss=3.0, counted=1).summarize_epoch(CONFIG, {"hop_ms": 10.0}, 0.1).loss == 3.0
    epoch = TrainState().summarize_epoch(CONFIG, {"hop_ms": 10.0}, 0.1)
    assert (epoch.loss, epoch.padding) == (None, 0.0)


def test_the_next_epoch_begins_with_empty_sums_and_keeps_what_was_learned():
    state = TrainState(**LEARNED, **SUMS)
    state.next_epoch()
    fresh = asdict(TrainState())
    expected = {**LEARNED, "epoch": 2, "batch": 0, "left_out": 0.0, **{name: fresh[name] for name in SUMS}}
    assert asdict(state) == expected


@pytest.mark.parametrize(
    ("minutes", "left_out", "epochs", "untrained", "at_end_of_epoch"),
    [
        (None, 0.0, 16, 0.0, 0.0),
        (None, 0.6, 16, 0.6, 0.6),
        (100.0, 0.6, 16, 0.6, 0.6),
        (12.0, 0.6, 16, 6.6, 5.6),
        (12.0, 0.0, 10, 0.0, 0.0),
        (12.0, 0.6, 9, 0.6, 0.6),
    ],
)
def test_what_was_left_out_is_counted_whether_or_not_the_time_is_used(
    minutes, left_out, epochs, untrained, at_end_of_epoch
):
    config = TrainConfig(minutes=minutes, epochs=epochs)
    state = TrainState(epoch=10, elapsed_s=720.0, left_out=left_out)
    assert state.count_untrained(config) == pytest.approx(untrained)
    assert state.summarize_epoch(config, {"hop_ms": 10.0}, lr=0.1).untrained == pytest.approx(at_end_of_epoch)


@pytest.mark.skipif(torch.cuda.is_available(), reason="the memory of the GPU is reported")
def test_the_peak_memory_is_in_megabytes():
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("no /proc")
    kilobytes = int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1])
    assert peak_memory_mb() == pytest.approx(kilobytes / 1024, rel=0.1)


def test_of_many_skipped_utterances_only_the_last_are_named_and_the_others_counted(monkeypatch):
    monkeypatch.setattr("ds2cli.train.state.MAX_NAMED", 3)
    state = TrainState()
    for n in range(5):
        state.skip({f"{n}a": "no-frames", f"{n}b": "reader-died"})
    state.skip({"4b": "reader-died"})
    assert list(state.skipped) == ["3b", "4a", "4b"] and state.unnamed == 7
    epoch = state.summarize_epoch(CONFIG, {"hop_ms": 10.0}, lr=0.1)
    assert epoch.to_row()["unnamed"] == 7
    state.next_epoch()
    assert (state.skipped, state.unnamed) == ({}, 0)
    assert "unnamed" not in state.summarize_epoch(CONFIG, {"hop_ms": 10.0}, lr=0.1).to_row()
