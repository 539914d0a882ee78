"""`ds2 export --onnx`, and what takes the model."""

from __future__ import annotations

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import typer

from ds2cli import manifest
from ds2cli.archive import read_matrix
from ds2cli.cli.main import app
from ds2cli.config.model import ModelConfig
from ds2cli.errors import DataError, UsageError
from ds2cli.nn.checkpoint import dump_model
from ds2cli.nn.models.ds2 import DeepSpeech2
from ds2cli.runtime.file import BEST
from ds2cli.text.vocab import BLANK, Vocab

FORWARD = ModelConfig(
    channels=(8,), kernels=(5,), strides=(3,), rnn_layers=1, rnn_size=8, bidirectional=False, row_conv=2
)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a command in a folder with the experiment `exp`."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    state = DeepSpeech2(FORWARD, 5, 20).state_dict()
    (tmp_path / "exp").mkdir()
    data = dump_model(state, FORWARD, Vocab((BLANK, *" abc")), {"hop_ms": 10.0}, {})
    (tmp_path / "exp" / BEST).write_bytes(data)
    command = typer.main.get_command(app)
    return lambda *arguments: command.main([*map(str, arguments)], standalone_mode=False)


def test_a_model_of_whole_utterances_makes_the_emissions_of_the_experiment(run, toy, capsys):
    run("export", "exp", "m.onnx", "--onnx")
    assert "log-probabilities in onnxruntime: differs by" in capsys.readouterr().err
    run("emit", "--onnx", "m.onnx", toy / "dev.jsonl", "onnx.jsonl")
    run("emit", "exp", toy / "dev.jsonl", "torch.jsonl")
    for a, b in zip(manifest.read("onnx.jsonl"), manifest.read("torch.jsonl"), strict=True):
        np.testing.assert_allclose(read_matrix(a["emission"]), read_matrix(b["emission"]), rtol=1e-4, atol=2e-5)
        assert a["step_s"] == b["step_s"]


def test_a_model_of_streams_needs_nothing_but_its_metadata(run, toy):
    """As another program would use it: features from the archive in chunks of 10 frames, the text from its tokens."""
    run("export", "exp", "m.onnx", "--onnx", "--streaming")
    session = onnxruntime.InferenceSession("m.onnx")
    about = session.get_modelmeta().custom_metadata_map
    states = {name: np.zeros((1, *shape), np.float32) for name, shape in json.loads(about["states"]).items()}
    names = [output.name for output in session.get_outputs()]
    row = next(iter(manifest.read(str(toy / "dev.jsonl"))))
    feats, best = read_matrix(row["feats"]), []
    for begin in range(0, len(feats), 10):
        inputs = {"x": feats[None, begin : begin + 10], "end": np.array(begin + 10 >= len(feats)), **states}
        found = dict(zip(names, session.run(names, inputs), strict=True))
        states = {name: found[f"new_{name}"] for name in states}
        best += found["log_probs"][0].argmax(1).tolist()
    tokens = about["tokens"].split("\n")
    kept = [i for k, i in enumerate(best) if i and (k == 0 or best[k - 1] != i)]
    text = "".join(" " if tokens[i] == "<space>" else tokens[i] for i in kept)
    manifest.write("in.jsonl", [row])
    run("decode", "exp", "in.jsonl", "out.jsonl", "--greedy")
    assert next(iter(manifest.read("out.jsonl")))["pred_text"] == " ".join(text.split())
    with pytest.raises(DataError, match="a model for streams"):
        run("emit", "--onnx", "m.onnx", toy / "dev.jsonl", "onnx.jsonl")


def test_streaming_is_of_onnx_models(run):
    with pytest.raises(UsageError, match="--streaming only applies with --onnx"):
        run("export", "exp", "m.ds2", "--streaming")


def test_features_with_other_settings_are_reported(run, toy, capsys, tmp_path):
    run("export", "exp", "m.onnx", "--onnx")
    rows = list(manifest.read(str(toy / "dev.jsonl")))
    manifest.write("in.jsonl", rows)
    (tmp_path / "in.jsonl.config.toml").write_text('kind = "spectrogram"\nhop_ms = 5.0\n')
    run("emit", "--onnx", "m.onnx", "in.jsonl", "out.jsonl")
    said = capsys.readouterr().err
    assert "in.jsonl: its features have other settings than the network was trained on: hop_ms" in said


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("step_ms", "x", "its metadata state steps of 'x' ms"),
        ("step_ms", "nan", "its metadata state steps of 'nan' ms"),
        ("tokens", "a\nb", "m.onnx: .*expected <blank> first"),
        ("tokens", "<blank>\na", "has 5 outputs, its list of symbols 2"),
    ],
)
def test_damaged_metadata_are_reported(run, toy, name, value, message):
    run("export", "exp", "m.onnx", "--onnx")
    model = onnx.load_model("m.onnx")
    values = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, {**values, name: value, "features": "[" * 100000})
    onnx.save_model(model, "m.onnx")
    with pytest.raises(DataError, match=message):
        run("emit", "--onnx", "m.onnx", toy / "dev.jsonl", "out.jsonl")


def test_a_model_is_not_named_like_a_bundle(run):
    with pytest.raises(
        UsageError, match=r"names of bundles end in \.ds2, expected that of an ONNX model, got out\.ds2"
    ):
        run("export", "exp", "out.ds2", "--onnx")
