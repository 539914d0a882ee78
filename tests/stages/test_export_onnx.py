"""Export of an experiment to an ONNX model, compared before it appears; a trained network on recordings of features."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch

from ds2cli import manifest
from ds2cli.archive import read_matrix
from ds2cli.config.model import ModelConfig
from ds2cli.drops import Ledger
from ds2cli.errors import DataError, Ds2Error, UsageError
from ds2cli.nn.checkpoint import dump_model
from ds2cli.nn.models.ds2 import DeepSpeech2
from ds2cli.recognizer.experiment import Experiment
from ds2cli.runtime.file import BEST
from ds2cli.stages import emit, export_onnx
from ds2cli.text.vocab import BLANK, Vocab

FORWARD = ModelConfig(
    channels=(8,), kernels=(5,), strides=(3,), rnn_layers=1, rnn_size=8, bidirectional=False, row_conv=2
)
BOTH = ModelConfig(channels=(8,), kernels=(5,), strides=(3,), rnn_layers=1, rnn_size=8, cell="rnn", activation="relu")


def write_experiment(folder, config):
    torch.manual_seed(0)
    state = DeepSpeech2(config, 5, 20).state_dict()
    folder.mkdir(exist_ok=True)
    (folder / BEST).write_bytes(dump_model(state, config, Vocab((BLANK, *" abc")), {"hop_ms": 10.0}, {}))
    return str(folder)


@pytest.mark.parametrize(("config", "streaming"), [(FORWARD, False), (FORWARD, True), (BOTH, False)])
def test_the_exported_model_is_compared_with_the_network(tmp_path, config, streaming):
    out = tmp_path / "out.onnx"
    done = export_onnx.run(write_experiment(tmp_path / "exp", config), str(out), streaming=streaming)
    assert done.difference is not None and done.difference < 1e-5
    assert (done.path, done.bytes, done.streaming) == (str(out), out.stat().st_size, streaming)


def test_the_emissions_of_the_exported_model_are_those_of_the_experiment(toy, tmp_path):
    exp, out = write_experiment(tmp_path / "exp", BOTH), str(tmp_path / "out.onnx")
    export_onnx.run(exp, out)
    session = onnxruntime.InferenceSession(out)
    rows = list(manifest.read(str(toy / "dev.jsonl")))
    emissions = list(emit.run(rows, Ledger(), Experiment(exp), str(tmp_path / "e.ark")))
    for row, emitted in zip(rows, emissions, strict=True):
        feats = read_matrix(row["feats"])
        found = session.run(["log_probs"], {"x": feats[None], "x_lens": np.array([len(feats)])})[0][0]
        np.testing.assert_allclose(found, read_matrix(emitted["emission"]), rtol=1e-4, atol=2e-5)


def test_a_model_that_differs_does_not_appear(tmp_path, monkeypatch):
    exp, out = write_experiment(tmp_path / "exp", FORWARD), tmp_path / "out.onnx"
    out.write_text("earlier")
    monkeypatch.setattr(export_onnx, "compare", lambda *_: 0.5)
    with pytest.raises(Ds2Error, match=r"exp: not exported: in onnxruntime its log-probabilities differ by 0\.5, exp"):
        export_onnx.run(exp, str(out))
    assert out.read_text() == "earlier"


def test_without_onnxruntime_it_is_not_compared(tmp_path, monkeypatch):
    monkeypatch.setattr(export_onnx, "has_onnxruntime", lambda: False)
    done = export_onnx.run(write_experiment(tmp_path / "exp", FORWARD), str(tmp_path / "out.onnx"))
    assert done.difference is None and (tmp_path / "out.onnx").exists()


def test_what_cannot_be_exported(tmp_path):
    with pytest.raises(UsageError, match="a bidirectional network needs the whole utterance"):
        export_onnx.run(write_experiment(tmp_path / "exp", BOTH), str(tmp_path / "out.onnx"), streaming=True)
    with pytest.raises(DataError, match="no trained network"):
        export_onnx.run(str(tmp_path / "none"), str(tmp_path / "out.onnx"))
    assert not (tmp_path / "out.onnx").exists()
