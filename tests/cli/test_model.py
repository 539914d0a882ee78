import json

import pytest
from typer.testing import CliRunner

from ds2cli.cli.main import app


def run(*args):
    return CliRunner().invoke(app, ["model", *args])


def test_show_prints_a_table_of_layers_and_the_totals():
    lines = run("show", "mandarin-deployed", "--symbols", "6000").stdout.splitlines()
    assert lines[0].split() == ["layer", "type", "output", "step", "(ms)", "parameters", "mult-adds", "(M/s)"]
    assert [line.split()[0] for line in lines[1:12]] == [
        "input", "conv1", "conv2", "rnn1", "rnn2", "rnn3", "rnn4", "rnn5", "row_conv", "fc1", "output",
    ]  # fmt: skip
    assert lines[4].split() == ["rnn1", "rnn,", "relu,", "forward", "2560", "40", "9,917,440", "247.8"]
    assert lines[12].split() == ["total", "84,598,864", "2,408.6"]
    assert lines[13:] == ["time stride 40 ms (4 frames)", "look-ahead 910 ms"]


def test_show_as_json_has_the_same_numbers():
    found = json.loads(run("show", "38m-gru-7x768", "--json", "--hop-ms", "20").stdout)
    assert found["parameters"] == sum(layer["parameters"] for layer in found["layers"]) == 39168029
    assert found["mult_adds_per_s"] == sum(layer["mult_adds"] for layer in found["layers"])
    assert found["look_ahead_ms"] is None and found["step_ms"] == 40
    assert [layer["name"] for layer in found["layers"]][-2:] == ["fc1", "output"]


def test_bins_symbols_and_hop_are_those_of_the_options():
    sizes = ("--bins", "40", "--symbols", "50", "--hop-ms", "20")
    assert run("show", "english-icml", *sizes).stdout.splitlines()[1].split() == ["input", "features", "40", "20"]
    found = json.loads(run("show", "english-icml", *sizes, "--json").stdout)
    assert (found["model"], found["bins"], found["symbols"], found["hop_ms"]) == ("english-icml", 40, 50, 20.0)
    assert found["layers"][-1]["shape"] == [50]


def test_an_average_is_a_safetensors_file(tmp_path):
    done = run("average", "a.safetensors", "b.safetensors", str(tmp_path / "mean.pt"))
    assert "OUT: expected a name that ends in .safetensors" in str(done.exception) and not list(tmp_path.iterdir())


def test_list_prints_the_presets():
    lines = run("list").stdout.splitlines()
    assert len(lines) > 15 and lines[0].split() == ["name", "description"]
    assert any(line.startswith("english-icml ") and "ICML" in line for line in lines)


def test_an_unknown_name_is_one_line(ds2):
    done = ds2("model", "show", "38m-gru-7x769")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == "ds2: 38m-gru-7x769: no such file, did you mean '38m-gru-7x768'?\n"


NETS = {
    "lookahead": 'cell = "rnn"\nactivation = "relu"\nbidirectional = false\nrow_conv = 2\nfc_layers = 1\nfc_size = 16',
    "lstm": 'cell = "lstm"\nnorm = "none"',
    "gru-relu": 'activation = "relu"',
}


@pytest.mark.parametrize("settings", NETS.values(), ids=NETS)
def test_a_trained_network_learns_and_is_shown(ds2, toy, tmp_path, jsonl, settings):
    conf, exp = tmp_path / "c.toml", tmp_path / "exp"
    conf.write_text(
        "epochs = 6\nbatch_s = 2.0\n[optim]\nlr = 0.02\n[model]\ndropout = 0.0\nchannels = [24]\nkernels = [5]\n"
        f"strides = [2]\nrnn_layers = 1\nrnn_size = 24\n{settings}\n"
    )
    done = ds2("train", toy / "train.jsonl", exp, "--dev", toy / "dev.jsonl", "--config", conf)
    assert done.returncode == 0, done.stderr
    rows = jsonl(exp / "train.jsonl")
    assert min(row["dev_cer"] for row in rows) < 20, rows[-1]
    found = json.loads(run("show", str(exp), "--json").stdout)
    assert (found["bins"], found["symbols"], found["stride"]) == (20, 5, 2)
    assert (found["look_ahead_ms"] is None) == ("row_conv" not in settings)
