from __future__ import annotations

from dataclasses import replace

from ds2cli.train.events import Epoch

FIELDS = ["epoch", "step", "loss", "lr", "seconds", "hours_per_hour", "padding", "waiting", "memory_mb"]
EPOCH = Epoch(2, 14, 1.5, 1e-3, 3.2, 90.0, 7.5, 0.1, 400)


def test_a_row_has_the_fields_that_apply_in_order():
    assert list(EPOCH.to_row()) == FIELDS and EPOCH.to_row()["step"] == 14
    assert replace(EPOCH, loss=None).to_row()["loss"] is None
    dev = {"dev_wer": 0.0, "dev_cer": 0.0}
    assert list(replace(EPOCH, **dev).to_row()) == [*FIELDS, "dev_wer", "dev_cer", "samples"]
    complete = replace(EPOCH, cut=1, skipped={"a": "no-frames"}, dev_skipped={"b": "missing-audio"}, **dev)
    assert list(complete.to_row()) == [*FIELDS, "cut", "skipped", "dev_wer", "dev_cer", "samples", "dev_skipped"]
