from __future__ import annotations

import json
import math

import pytest

from ds2cli.errors import DataError, UsageError
from ds2cli.metrics import curves
from ds2cli.train import monitor
from ds2cli.train.events import Saved, TrainStep


def row(epoch, step, **more):
    return {"epoch": epoch, "step": step, "loss": 2.0 / epoch, "lr": 1e-3, **more}


def events(folder, first=1, last=4):
    """Two steps an epoch, the second epoch's first one skipped; train.jsonl as a training writes it."""
    rows = []
    for step in range(1, last + 1):
        if step >= first:
            loss = math.nan if step == 3 else 1.0 / step
            yield TrainStep((step - 1) // 2, step, 2, step, loss, 0.5, 1.0, {})
        if step % 2 == 0:
            sample = {"id": "u1", "text": "ä b", "pred_text": "a b"}
            rows.append(row(step // 2, step, dev_wer=50.0, dev_cer=10.0, samples=[sample]))
            (folder / "train.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
            if step >= first:
                yield Saved()
                yield rows[-1]


def scalars(folder, tag):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(folder / monitor.FOLDER))
    read.Reload()
    return {e.step: pytest.approx(e.value) for e in read.Scalars(tag)}


def test_events_pass_through_and_a_picture_is_drawn(tmp_path):
    expected = list(events(tmp_path))
    found = list(monitor.monitored(events(tmp_path), str(tmp_path), tensorboard=False))
    assert repr(found) == repr(expected)
    png = (tmp_path / monitor.PICTURE).read_bytes()
    assert png.startswith(b"\x89PNG") and int.from_bytes(png[16:20], "big") > 1000
    assert {p.name for p in tmp_path.iterdir()} == {"train.jsonl", monitor.PICTURE}


def test_tensorboard_has_steps_and_epochs_and_an_interrupted_run_replaces_what_comes_again(tmp_path):
    list(monitor.monitored(events(tmp_path, last=3), str(tmp_path), tensorboard=True))
    list(monitor.monitored(events(tmp_path, first=3), str(tmp_path), tensorboard=True))
    assert scalars(tmp_path, "train/loss") == {1: 1.0, 2: 0.5, 4: 0.25}, "what is not a number is left out"
    assert scalars(tmp_path, "epoch/loss") == {2: 2.0, 4: 1.0} and scalars(tmp_path, "dev/cer") == {2: 10.0, 4: 10.0}


def test_without_tensorboard_the_option_is_refused_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(monitor.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'ds2cli\[tensorboard\]'"):
        monitor.monitored(iter(()), str(tmp_path), tensorboard=True)
    assert len(list(monitor.monitored(events(tmp_path), str(tmp_path), tensorboard=False))) == 8
    assert not (tmp_path / monitor.PICTURE).exists(), "nor is there anything that draws"


def test_a_picture_that_cannot_be_written_does_not_end_the_training(tmp_path, monkeypatch):
    def full(*_):
        raise DataError("train.png: cannot be written: no space left on device")

    monkeypatch.setattr(curves, "draw", full)
    assert len(list(monitor.monitored(events(tmp_path), str(tmp_path), tensorboard=False))) == 8
    without_its_rows = list(monitor.monitored(events(tmp_path), str(tmp_path / "full"), tensorboard=False))
    assert len(without_its_rows) == 8


def test_curves_of_one_epoch_without_a_dev_set_and_of_a_loss_of_zero(tmp_path):
    curves.draw(str(tmp_path / "one.png"), "one", [row(1, 10)])
    curves.draw(str(tmp_path / "zero.png"), "zero", [{**row(1, 10), "loss": 0.0}, row(2, 20, dev_wer=1.0)])
    assert all((tmp_path / name).stat().st_size > 1000 for name in ("one.png", "zero.png"))
