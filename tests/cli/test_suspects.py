"""`ds2 data suspects` of a training set with a bad row."""

from __future__ import annotations

import json

import numpy as np

from ds2cli.train.losses import LossRecorder


def test_a_row_that_cannot_be_read_costs_one_utterance(ds2, tmp_path):
    rows = [json.dumps({"id": f"u{i:02d}", "text": "some text", "duration": 1.0 + i / 20}) for i in range(12)]
    (tmp_path / "train.jsonl").write_text("\n".join([*rows[:5], '{"broken', *rows[5:]]) + "\n")
    recorder = LossRecorder(str(tmp_path / "exp"), 12)
    recorder.begin(f"u{i:02d}" for i in range(12))
    recorder.add(0, range(12), np.arange(12.0))
    recorder.finish(0)
    record = '[made_by]\nstage = "train"\n[made_by.inputs.TRAIN]\npath = "train.jsonl"\n'
    (tmp_path / "exp/config.toml").write_text(record)
    done = ds2("data", "suspects", "exp", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "rows that cannot be read: 1, the first: train.jsonl:6: not JSON" in done.stderr
    assert "of 12 utterances" in done.stderr
