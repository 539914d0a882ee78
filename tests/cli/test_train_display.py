"""What `ds2 train` prints while it runs, and the signals that it handles."""

from __future__ import annotations

import math
import signal
import sys
from types import SimpleNamespace

import pytest
import typer

from ds2cli import atomic, ui
from ds2cli.cli.lib.train_display import (
    MEASURING,
    SignalRequests,
    format_event,
    handling_signals,
    ignoring_signals,
    show,
)
from ds2cli.config.train import TrainConfig
from ds2cli.nn.distributed.process_group import PeerLostError
from ds2cli.train.events import (
    Epoch,
    Measuring,
    MemoryProbe,
    NotDrawn,
    Precision,
    Request,
    Restart,
    Resumed,
    Saved,
    TrainStep,
)

CONFIG = TrainConfig(epochs=40)
STEP = TrainStep(epoch=1, batch=7, batches=9, step=16, loss=1.5, progress=0.25, elapsed_s=180.0, skipped={})
EPOCH = Epoch(3, 30, 0.9124, 0.00191, 12.4, 95.2, 7.5, 0.1, 400)


def lines(event):
    return list(format_event(event, CONFIG))


def test_the_lines_of_an_epoch():
    assert lines(EPOCH) == ["epoch 3/40  loss 0.912  lr 0.0019  12 s (95 h of audio per hour)"]
    samples = [{"id": "u1", "text": "a b", "pred_text": "a"}, {"id": "u2", "text": "c", "pred_text": ""}]
    skipped = {"skipped": {"a": "no-frames", "b": "no-frames"}, "dev_skipped": {"c": "missing-audio"}}
    complete = Epoch(**{**vars(EPOCH), "loss": None, "dev_wer": 61.2, "dev_cer": 24.1, "samples": samples, **skipped})
    assert lines(complete) == [
        "epoch 3/40  loss none  dev WER 61.20 CER 24.10  lr 0.0019  12 s (95 h of audio per hour)  3 skipped",
        "    u1  ref: a b  hyp: a",
        "    u2  ref: c  hyp: ",
    ]


def test_the_line_of_a_step_names_the_first_utterances_that_were_left_out():
    assert lines(STEP) == []
    names = {f"u{i}": "no-frames" for i in range(9)}
    first = ", ".join(f"u{i} (no-frames)" for i in range(8))
    for skipped, rest in ((dict(list(names.items())[:8]), ""), (names, ", 1 more")):
        assert lines(TrainStep(**{**vars(STEP), "skipped": skipped})) == [
            f"warning: train: step 16: left out: {first}{rest}"
        ]
    assert lines(TrainStep(**{**vars(STEP), "loss": math.nan, "skipped": {"a": "not-finite"}})) == [
        "warning: train: step 16: skipped the step: a (not-finite)"
    ]


def test_the_lines_of_other_events():
    size = "train: the longest batch (8 utterances, 296 frames)"
    rest = "takes 0.02 s; 512 steps per epoch"
    assert lines(MemoryProbe(8, 296, 0.0234, 1, 512, 9999)) == [f"{size} fits in memory and {rest}"]
    assert lines(MemoryProbe(8, 296, 0.0234, 2, 512, 9999)) == [
        f"{size} does not fit in memory, is computed in 2 pieces and {rest}"
    ]
    long = MemoryProbe(1, 296, 0.0001, 0, 512, 9999, ("u-long",), 0)
    size_of_one = size.replace("8", "1")
    assert lines(long) == [f"{size_of_one} does not fit in memory: u-long will be left out; 512 steps per epoch"]
    assert lines(MemoryProbe(8, 296, 0.0234, 1, 512, 9999, ("a", "b"), 6)) == [
        f"{size} fits in memory without a, b and {rest}"
    ]
    assert lines(MemoryProbe(8, 296, 0.0234, 3, 512, 9999, ("a",), 7)) == [
        f"{size} does not fit in memory, is computed in 3 pieces without a and {rest}"
    ]
    assert lines(NotDrawn("train.png", "8 MB more are needed")) == [
        "warning: train: train.png does not fit in memory: 8 MB more are needed; training continues without it"
    ]
    assert lines(Measuring()) == [f"train: {MEASURING}"]
    assert lines(Precision("bfloat16", "a short batch takes …")) == [
        "train: precision bfloat16 (a short batch takes …)"
    ]
    assert lines(Resumed("exp/last.pt", 2, 0, 1024, 126.0)) == [
        "train: resuming from exp/last.pt: epoch 3 of 40, after step 1024 and 2.1 min of training"
    ]
    assert lines(Resumed("last.pt", 2, 7, 1031, 126.0)) == [
        "train: resuming from last.pt: epoch 3 of 40, after step 1031 (step 7 of this epoch) and 2.1 min of training"
    ]
    for epoch, further in ((40, "a larger --epochs continues it, "), (12, "")):
        assert lines(Resumed("exp/last.pt", epoch, 0, 512, 90.0, complete=True)) == [
            f"train: exp/last.pt: complete after {epoch} of 40 epochs (step 512, 1.5 min): nothing to do "
            f"({further}--fresh starts over)"
        ]
    assert lines(Saved()) == []
    assert lines(Saved("last.pt: no space left")) == [
        "train: last.pt: no space left; training continues, the previous checkpoint is intact"
    ]
    assert lines(Restart("train: one of the 2 processes exited early (the same command resumes from last.pt)")) == [
        "train: one of the 2 processes exited early; restarting all processes from the last checkpoint"
    ]


def test_progress_is_printed_now_and_then_with_the_time_left(capsys, monkeypatch):
    steps = [STEP, TrainStep(**{**vars(STEP), "step": 17, "progress": 0.0})]
    show(steps, CONFIG)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(ui, "LOG_INTERVAL_S", -1.0)
    show(steps, CONFIG)
    assert capsys.readouterr().err.splitlines() == [
        "train: epoch 2, step 16, loss 1.500, 9 min left",
        "train: epoch 2, step 17, loss 1.500, 0 min left",
    ]


def test_a_terminal_gets_a_bar_over_all_steps(monkeypatch):
    updates, printed = [], []

    class Bar:
        console = SimpleNamespace(print=lambda line, **_: printed.append(line))

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def add_task(self, *_, **__):
            return 0

        def update(self, _task, **values):
            updates.append(values)

    monkeypatch.setattr(ui, "bar", lambda _unit: Bar())
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(isatty=lambda: True))
    show([STEP, EPOCH], CONFIG)
    assert updates == [{"completed": 16, "total": 64, "note": "loss 1.500"}] and printed == lines(EPOCH)


def test_a_training_is_finished_unless_it_ends_within_an_epoch():
    probe = MemoryProbe(8, 296, 0.02, 1, 512, 9999)
    for events, finished in (
        ([], True),
        ([probe, STEP, STEP, Saved()], False),
        ([STEP, Saved(), EPOCH], True),
        ([STEP, EPOCH, STEP], False),
    ):
        assert show(events, CONFIG) is finished


def test_signals_are_requests_for_the_trainer(capfd):
    requests = SignalRequests()
    assert requests() == Request.NONE
    requests.handle(signal.SIGUSR1, None)
    assert [requests(), requests()] == [Request.SAVE, Request.NONE] and not requests.stop
    requests.handle(signal.SIGUSR1, None)
    requests.handle(signal.SIGTERM, None)
    assert [requests(), requests()] == [Request.STOP, Request.STOP] and requests.stop == signal.SIGTERM
    with pytest.raises(KeyboardInterrupt):
        requests.handle(signal.SIGINT, None)
    with pytest.raises(SystemExit) as e:
        requests.handle(signal.SIGTERM, None)
    assert e.value.code == 143
    saving, stopping = "train: writing last.pt after this step", "train: stopping after this step"
    assert capfd.readouterr().err.splitlines() == [saving, saving, stopping]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_signals_are_handled_during_the_training_only(number):
    before = signal.getsignal(number)
    with handling_signals() as requests:
        assert signal.getsignal(number) == requests.handle
    assert signal.getsignal(number) == before
    with pytest.raises(typer.Exit) as e, ignoring_signals():
        assert signal.getsignal(number) == signal.SIG_IGN
        raise PeerLostError("train: one of the 2 processes exited early")
    assert e.value.exit_code == 1 and signal.getsignal(number) == before


def test_the_first_output_leaves_the_signals_to_the_training(monkeypatch):
    monkeypatch.setattr(atomic, "on_first", lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN))
    before = signal.getsignal(signal.SIGTERM)
    try:
        with handling_signals() as requests:
            atomic.begin_output()
            signal.raise_signal(signal.SIGTERM)
            assert requests.stop == signal.SIGTERM
    finally:
        signal.signal(signal.SIGTERM, before)
