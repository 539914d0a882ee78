"""`ds2 emit --onnx` and `--scores`, and the commands that use their emissions: our back half for other networks."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import typer

from ds2cli import manifest
from ds2cli.archive import ArkWriter, read_matrix
from ds2cli.cli.main import app
from ds2cli.config.model import ModelConfig
from ds2cli.errors import DataError, Ds2Error, UsageError
from ds2cli.stages import export_onnx

spec = importlib.util.spec_from_file_location(
    "foreign_networks", Path(__file__).parents[1] / "onnx" / "foreign_networks.py"
)
foreign = importlib.util.module_from_spec(spec)
spec.loader.exec_module(foreign)

LETTERS = "|\na\nb\nc\n<blank>\n"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a command in the folder of the test."""
    monkeypatch.chdir(tmp_path)
    command = typer.main.get_command(app)
    return lambda *arguments: command.main([*map(str, arguments)], standalone_mode=False)


def make_templates(folder):
    """An ONNX network that finds the letters of `toy` by comparing frames with the spectra that these have.

    Its outputs are logits of two frames each, blank last.
    """
    rows = list(manifest.read(str(folder / "train.jsonl")))
    sums, counts = np.zeros((4, 20)), np.zeros(4)
    for row in rows:
        feats = read_matrix(row["feats"])
        for i, c in enumerate(row["text"]):
            sums[" abc".index(c)] += feats[8 * i + 1 : 8 * i + 4].sum(0)
            counts[" abc".index(c)] += 3
    # a space is as silent as what is between letters: only its length shows that, and no frame does
    means = (sums / counts[:, None] + 9).astype(np.float32)
    means[0] = 0
    weight = np.concatenate([means, np.zeros((1, 20), np.float32)])
    bias = -0.5 * (weight**2).sum(1) + np.array([-5, 0, 0, 0, 5])
    return weight.T[:, :], bias.astype(np.float32)


@pytest.fixture(scope="module")
def network(toy, tmp_path_factory):
    """The path of the network, with its tokens.txt."""
    folder = tmp_path_factory.mktemp("network")
    weight, bias = make_templates(toy)
    weights = {
        "nine": np.float32(9),
        "w": weight,
        "b": bias,
        "kernel": np.eye(5, dtype=np.float32)[:, :, None].repeat(2, 2) / 2,
    }
    nodes = [
        ("Add", ["feats", "nine"], ["x"], {}),
        ("MatMul", ["x", "w"], ["m"], {}),
        ("Add", ["m", "b"], ["s"], {}),
        ("Transpose", ["s"], ["t"], {"perm": [0, 2, 1]}),
        ("Conv", ["t", "kernel"], ["c"], {"strides": [2]}),
        ("Transpose", ["c"], ["logits"], {"perm": [0, 2, 1]}),
    ]
    inputs, outputs = [("feats", foreign.FLOAT, ("N", "T", 20))], [("logits", foreign.FLOAT, ("N", "U", 5))]
    (folder / "tokens.txt").write_text(LETTERS)
    return foreign.save(folder / "m.onnx", nodes, inputs, outputs, weights)


def test_every_command_works_with_the_emissions(run, toy, network, tmp_path, capsys):
    rows = [row for row in manifest.read(str(toy / "train.jsonl")) if " " not in row["text"]]
    manifest.write(
        "in.jsonl", [{**row, "audio_filepath": "x.wav", "duration": row["num_frames"] / 100} for row in rows]
    )
    run("emit", "--onnx", network, "in.jsonl", "emit.jsonl", "--dir", "lab")
    assert "frames, 5 symbols, 20 ms per step" in capsys.readouterr().err
    assert (tmp_path / "lab" / "tokens.txt").read_text() == "<blank>\n<space>\na\nb\nc\n"
    emitted = list(manifest.read("emit.jsonl"))
    assert all(row["step_s"] == 0.02 and row["num_steps"] == row["num_frames"] // 2 for row in emitted)

    run("decode", "--greedy", "lab", "emit.jsonl", "greedy.jsonl")
    decoded = list(manifest.read("greedy.jsonl"))
    assert sum(row["pred_text"] == row["text"] for row in decoded) > 0.9 * len(rows)
    run("align", "lab", "emit.jsonl", "ali.jsonl", "--ctm", "ali.ctm")
    # a letter lasts 50 ms and is followed by 30 ms of silence
    (first,) = next(row["words"] for row in manifest.read("ali.jsonl") if len(row["text"]) == 2)
    assert abs(first["start"]) <= 0.03 and abs(first["end"] - 0.13) <= 0.03
    run("segment", "ali.jsonl", "seg.jsonl", "--min-duration", "0.05")
    assert [row["text"] for row in manifest.read("seg.jsonl")] == [row["text"] for row in rows]
    run("lm", "in.jsonl", "lm.arpa", "--order", "2")
    run("decode", "--tune", "lab", "emit.jsonl", "--lm", "lm.arpa", "--set", "alphas=[0.5]", "--set", "betas=[0.0]")
    assert (tmp_path / "lab" / "decode.toml").exists()
    run("decode", "lab", "emit.jsonl", "lm.jsonl", "--lm", "lm.arpa", "--timestamps")
    assert all("pred_words" in row for row in manifest.read("lm.jsonl"))
    run("score", "--why", "lab", "lm.jsonl")
    run("filter", "--fit", "lab", "emit.jsonl")
    run("filter", "lab", "emit.jsonl", "good.jsonl")
    assert len(list(manifest.read("good.jsonl"))) > 0.5 * len(rows)


def test_a_network_of_ours_needs_no_list(run, toy, tmp_path):
    import torch

    from ds2cli.nn.checkpoint import dump_model
    from ds2cli.nn.models.ds2 import DeepSpeech2
    from ds2cli.text.vocab import BLANK, Vocab

    torch.manual_seed(0)
    config = ModelConfig(channels=(8,), kernels=(5,), strides=(3,), rnn_layers=1, rnn_size=8)
    state = DeepSpeech2(config, 5, 20).state_dict()
    (tmp_path / "exp").mkdir()
    data = dump_model(state, config, Vocab((BLANK, *" abc")), {"hop_ms": 20.0}, {})
    (tmp_path / "exp" / "best.safetensors").write_bytes(data)
    export_onnx.run("exp", "m.onnx")
    dev = toy / "dev.jsonl"
    run("emit", "--onnx", "m.onnx", dev, "onnx.jsonl")
    run("emit", "exp", dev, "torch.jsonl")
    for found, row in zip(manifest.read("onnx.jsonl"), manifest.read("torch.jsonl"), strict=True):
        np.testing.assert_allclose(read_matrix(found["emission"]), read_matrix(row["emission"]), rtol=1e-4, atol=2e-5)
        assert found["step_s"] == row["step_s"] == 0.06


def test_scores_of_another_program(run, tmp_path, jsonl):
    rng = np.random.default_rng(0)
    scores = {name: rng.normal(size=(10, 5)).astype(np.float32) for name in "xy"}
    np.savez("s.npz", **scores)
    with ArkWriter("s.ark") as ark:
        for name, value in scores.items():
            ark.write(name, value)
    Path("tokens.txt").write_text(LETTERS)
    jsonl("in.jsonl", [{"id": name, "duration": 0.4, "text": "a"} for name in "xy"])
    run("emit", "tokens.txt", "in.jsonl", "npz.jsonl", "--scores", "s.npz")
    run("emit", "tokens.txt", "in.jsonl", "ark.jsonl", "--scores", "s.ark", "--step-ms", "30", "--dir", "other")
    npz, ark = jsonl("npz.jsonl"), jsonl("ark.jsonl")
    assert [row["step_s"] for row in npz] == [0.04, 0.04] and [row["step_s"] for row in ark] == [0.03, 0.03]
    assert (tmp_path / "emissions" / "tokens.txt").exists() and (tmp_path / "other" / "tokens.txt").exists()
    for a, b in zip(manifest.read("npz.jsonl"), manifest.read("ark.jsonl"), strict=True):
        np.testing.assert_array_equal(read_matrix(a["emission"]), read_matrix(b["emission"]))
        np.testing.assert_allclose(np.exp(read_matrix(a["emission"])).sum(1), 1, rtol=1e-5)
    jsonl("in.jsonl", [{"id": "x", "text": "a"}, {"id": "z", "duration": 1.0}])
    with pytest.raises(Ds2Error, match="2 of 2"):
        run("emit", "tokens.txt", "in.jsonl", "npz.jsonl", "--scores", "s.npz")
    reasons = [json.loads(line)["reason"] for line in Path("npz.jsonl.refused.jsonl").read_text().splitlines()]
    assert reasons == ["no-step", "no-scores"]


def test_emissions_of_rows_with_a_plain_list(run, tmp_path, jsonl):
    """A list with the blank first is enough: rows point to the log-probabilities of another program."""
    log_probs = np.log(np.array([[0.1, 0.1, 0.8], [0.8, 0.1, 0.1], [0.1, 0.8, 0.1]], np.float32))
    with ArkWriter("s.ark") as ark:
        jsonl("in.jsonl", [{"id": "x", "emission": ark.write("x", log_probs), "step_s": 0.1}])
    Path("tokens.txt").write_text("<blk> 0\nx 1\ny 2\n")
    run("decode", "tokens.txt", "in.jsonl", "out.jsonl", "--greedy", "--timestamps")
    (row,) = jsonl("out.jsonl")
    assert row["pred_text"] == "yx" and row["pred_words"][0]["end"] == pytest.approx(0.3, abs=0.11)
    Path("tokens.txt").write_text("x\ny\n<blk>\n")
    with pytest.raises(DataError, match="ds2 emit, with --onnx or --scores, reorders emissions"):
        run("decode", "tokens.txt", "in.jsonl", "out.jsonl", "--greedy")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["--onnx", "NETWORK", "--scores", "s.npz"], UsageError, "--onnx and --scores are two ways"),
        (["--onnx", "NETWORK", "--ensemble", "exp"], UsageError, "--ensemble has no effect with --onnx"),
        (["tokens.txt", "--scores", "s.npz", "--ensemble", "exp"], UsageError, "--ensemble has no effect with --sco"),
        (["--onnx", "NETWORK", "--precision", "bfloat16"], UsageError, "--precision has no effect with --onnx"),
        (["exp", "--tokens", "t.txt"], UsageError, "--tokens only applies with --onnx"),
        (["exp", "--standardize"], UsageError, "--standardize only applies with --onnx"),
        (["exp", "--step-ms", "10"], UsageError, "--step-ms only applies with --onnx or --scores"),
        (["--onnx", "NETWORK", "--tokens", "short.txt"], DataError, "has 5 outputs, its list of symbols 3"),
        (["--onnx", "NETWORK", "--tokens", "none.txt"], DataError, "none.txt: no such file"),
        (["--onnx", "none.onnx"], DataError, "none.onnx: no such file"),
        (["--onnx", "alone/m.onnx"], UsageError, "the list of its symbols is not known: expected --tokens FILE, or"),
        (["none", "--scores", "s.npz"], DataError, "none: no such file"),
        (["tokens.txt", "--scores", "none.npz"], DataError, "none.npz: no such file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_does_not_go_together(run, toy, network, tmp_path, arguments, error, message):
    Path("alone").mkdir()
    Path("alone/m.onnx").write_bytes(Path(network).read_bytes())
    Path("short.txt").write_text("<blk>\na\nb\n")
    Path("tokens.txt").write_text(LETTERS)
    arguments = [network if a == "NETWORK" else a for a in arguments]
    flags = [a for a in arguments if a == "--onnx"]
    rest = [a for a in arguments if a != "--onnx"]
    with pytest.raises(error, match=message):
        run("emit", *flags, rest[0], toy / "dev.jsonl", "out.jsonl", *rest[1:])
    assert not Path("out.jsonl").exists()


def test_features_of_another_size_cost_their_utterances(run, toy, network, jsonl):
    rows = list(manifest.read(str(toy / "dev.jsonl")))
    with ArkWriter("f.ark") as ark:
        rows[1]["feats"] = str(Path(ark.write(rows[1]["id"], np.zeros((9, 7), np.float32))).absolute())
    manifest.write("in.jsonl", rows)
    run("emit", "--onnx", network, "in.jsonl", "out.jsonl", "--max-bad", "50", "--device", "cpu")
    (dropped,) = jsonl("out.jsonl.dropped.jsonl")
    assert (dropped["id"], dropped["reason"]) == (rows[1]["id"], "wrong-features")
    assert dropped["detail"] == "7 bins, the network takes 20"


def test_a_model_for_streams_is_refused(run, toy, tmp_path):
    model = onnx.load_model(foreign.attention(tmp_path / "m.onnx"))
    onnx.helper.set_model_props(model, {"states": "{}"})
    onnx.save_model(model, "m.onnx")
    with pytest.raises(DataError, match="a model for streams: expected one for whole utterances"):
        run("emit", "--onnx", "m.onnx", toy / "dev.jsonl", "out.jsonl")


def test_a_refused_result_is_accepted_at_once_with_a_higher_limit(run, toy, network, jsonl, capsys, monkeypatch):
    rows = list(manifest.read(str(toy / "dev.jsonl")))
    jsonl("in.jsonl", [*rows[:-1], {**rows[-1], "feats": "none.ark:3"}])
    command = ("emit", "--onnx", network, "in.jsonl", "out.jsonl", "--step-ms", 20)
    with pytest.raises(Ds2Error, match="1 of 8 utterances are bad"):
        run(*command)
    monkeypatch.setattr("ds2cli.onnx.model.CtcModel.compute", lambda *_: pytest.fail("nothing is left to compute"))
    run(*command, "--max-bad", 50)
    assert "emit: continuing after 8 utterances that an interrupted run has finished\n" in capsys.readouterr().err
    assert len(jsonl("out.jsonl")) == 7 and not list(Path("emissions").glob(".*"))
