from __future__ import annotations

import json
import math

import pytest

from ds2cli.errors import DataError, UsageError
from ds2cli.metrics import curves
from ds2cli.train import monitor
from ds2cli.train.events import Epoch, NotDrawn, Saved, TrainStep


def epoch(number, step, **fields):
    times = {"seconds": 1.0, "hours_per_hour": 1.0, "padding": 0.0, "waiting": 0.0, "memory_mb": 1}
    return Epoch(epoch=number, step=step, lr=1e-3, **{"loss": 2.0 / number, **times, **fields})


def events(folder, first=1, last=4):
    """Two steps per epoch; step 3 is skipped; writes train.jsonl as training does."""
    epochs = []
    for step in range(1, last + 1):
        if step >= first:
            loss = math.nan if step == 3 else 1.0 / step
            yield TrainStep((step - 1) // 2, step, 2, step, loss, 0.5, 1.0, {})
        if step % 2 == 0:
            sample = {"id": "u1", "text": "ä b", "pred_text": "a b"}
            epochs.append(epoch(step // 2, step, dev_wer=50.0, dev_cer=10.0, samples=[sample]))
            (folder / "train.jsonl").write_text("".join(json.dumps(e.to_row()) + "\n" for e in epochs))
            if step >= first:
                yield Saved()
                yield epochs[-1]


def scalars(folder, tag):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(folder / monitor.FOLDER))
    read.Reload()
    return {e.step: pytest.approx(e.value) for e in read.Scalars(tag)}


@pytest.mark.long
def test_events_pass_through_and_a_picture_is_drawn(tmp_path):
    expected = list(events(tmp_path))
    passed_on = list(monitor.monitored(events(tmp_path), str(tmp_path), tensorboard=False))
    assert repr(passed_on) == repr(expected)
    png = (tmp_path / monitor.PICTURE).read_bytes()
    assert png.startswith(b"\x89PNG") and int.from_bytes(png[16:20], "big") > 1000
    assert {p.name for p in tmp_path.iterdir()} == {"train.jsonl", monitor.PICTURE}


@pytest.mark.long
def test_tensorboard_has_steps_and_epochs_and_a_resumed_run_replaces_repeated_steps(tmp_path):
    list(monitor.monitored(events(tmp_path, last=3), str(tmp_path), tensorboard=True))
    list(monitor.monitored(events(tmp_path, first=3), str(tmp_path), tensorboard=True))
    assert scalars(tmp_path, "train/loss") == {1: 1.0, 2: 0.5, 4: 0.25}, "NaN is left out"
    assert scalars(tmp_path, "epoch/loss") == {2: 2.0, 4: 1.0} and scalars(tmp_path, "dev/cer") == {2: 10.0, 4: 10.0}


def test_the_option_is_refused_at_once_if_tensorboard_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(monitor.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'ds2cli\[tensorboard\]'"):
        monitor.monitored(iter(()), str(tmp_path), tensorboard=True)
    assert len(list(monitor.monitored(events(tmp_path), str(tmp_path), tensorboard=False))) == 8
    assert not (tmp_path / monitor.PICTURE).exists(), "matplotlib is missing, too"


def test_a_picture_that_cannot_be_written_does_not_end_the_training(tmp_path, monkeypatch):
    def full(*_):
        raise DataError("train.png: cannot be written: no space left on device")

    monkeypatch.setattr(curves, "draw", full)
    assert len(list(monitor.monitored(events(tmp_path), str(tmp_path), tensorboard=False))) == 8
    without_log = list(monitor.monitored(events(tmp_path), str(tmp_path / "full"), tensorboard=False))
    assert len(without_log) == 8


def test_a_picture_that_memory_does_not_hold_is_named_once_and_drawn_when_there_is_room(tmp_path, monkeypatch):
    drawn = []

    def draw(*_):
        drawn.append(len(drawn))
        if len(drawn) < 3:
            raise ImportError("libfreetype.so: failed to map segment from shared object")

    monkeypatch.setattr(monitor, "SECONDS_PER_PICTURE", 0.0)
    monkeypatch.setattr(curves, "draw", draw)
    passed_on = list(monitor.monitored(events(tmp_path, last=6), str(tmp_path), tensorboard=False))
    assert len(drawn) == 3
    assert [event for event in passed_on if isinstance(event, NotDrawn)] == [NotDrawn("train.png", "more is needed")]
    assert isinstance(passed_on[passed_on.index(NotDrawn("train.png", "more is needed")) - 1], Epoch)
    assert len(passed_on) == 12 + 1


@pytest.mark.parametrize(("seconds_per_epoch", "expected"), [(10.0, [3, 6, 8]), (29.0, [2, 4, 6, 8]), (0.1, [8])])
def test_a_picture_is_drawn_every_half_minute_and_at_the_end(tmp_path, monkeypatch, seconds_per_epoch, expected):
    now, drawn = [0.0], []
    monkeypatch.setattr(monitor.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(curves, "draw", lambda _path, _title, rows: drawn.append(len(rows)))

    def epochs():
        for event in events(tmp_path, last=16):
            now[0] += seconds_per_epoch if isinstance(event, Epoch) else 0
            yield event

    list(monitor.monitored(epochs(), str(tmp_path), tensorboard=False))
    assert drawn == expected


def test_a_last_picture_that_memory_does_not_hold_is_named(tmp_path, monkeypatch):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(curves, "draw", fail)
    *_, last = monitor.monitored(events(tmp_path), str(tmp_path), tensorboard=False)
    assert last == NotDrawn("train.png", "more is needed")


def test_tensorboard_files_that_memory_does_not_hold_are_named_once(tmp_path, monkeypatch):
    opened = []

    def fail(*_):
        opened.append(1)
        raise MemoryError

    monkeypatch.setattr(monitor, "_open_writer", fail)
    monkeypatch.setattr(curves, "draw", lambda *_: None)
    monkeypatch.setattr(monitor.importlib.util, "find_spec", lambda name: "found")
    passed_on = list(monitor.monitored(events(tmp_path), str(tmp_path), tensorboard=True))
    assert passed_on[1] == NotDrawn("tensorboard", "more is needed") and len(passed_on) == 8 + 1 and opened == [1]


def test_other_errors_of_a_picture_are_bugs(tmp_path, monkeypatch):
    monkeypatch.setattr(curves, "draw", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        list(monitor.monitored(events(tmp_path), str(tmp_path), tensorboard=False))


@pytest.mark.long
def test_curves_of_one_epoch_without_a_dev_set_and_of_a_loss_of_zero(tmp_path):
    curves.draw(str(tmp_path / "one.png"), "one", [epoch(1, 10).to_row()])
    curves.draw(
        str(tmp_path / "zero.png"), "zero", [epoch(1, 10, loss=0.0).to_row(), {**epoch(2, 20).to_row(), "dev_wer": 1.0}]
    )
    assert all((tmp_path / name).stat().st_size > 1000 for name in ("one.png", "zero.png"))


def test_each_curve_of_the_dev_set_is_named(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    rows = [epoch(n, n, dev_wer=50.0 + n, dev_cer=10.0 + n).to_row() for n in (1, 2)]
    curves.draw(str(tmp_path / "a.png"), "a", rows)
    axes = next(axes for axes in drawn[0].axes if axes.get_ylabel().startswith("dev"))
    shown = {line.get_label(): list(line.get_ydata()) for line in axes.get_lines()}
    assert shown == {"WER": [51.0, 52.0], "CER": [11.0, 12.0]}
    (loss,), (rate,) = (drawn[0].axes[i].get_lines() for i in (0, 2))
    assert (list(loss.get_xdata()), list(loss.get_ydata()), list(rate.get_ydata())) == ([1, 2], [2.0, 1.0], [1e-3] * 2)
    assert [axes.get_yscale() for axes in drawn[0].axes] == ["log", "linear", "linear"]


def test_tensorboard_has_the_texts_of_the_samples():
    written = []

    class Writer:
        def add_scalar(self, name, value, step):
            written.append((name, step))

        def add_text(self, name, text, step):
            written.append((name, text, step))

        def flush(self):
            pass

    sample = {"id": "u1", "text": "ä b", "pred_text": "a b"}
    monitor._write(Writer(), epoch(2, 14, dev_wer=50.0, dev_cer=10.0, samples=[sample]))
    assert written.pop() == ("sample/u1", "reference: ä b\n\nhypothesis: a b", 14)
    assert {("epoch/lr", 14), ("epoch/padding", 14), ("dev/wer", 14)} <= set(written)
    assert not {name for name, _ in written} & {"epoch/epoch", "epoch/step"}
