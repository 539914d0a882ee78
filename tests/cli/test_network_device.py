"""--device and --precision of the commands that run a network."""

from __future__ import annotations

import tomllib

import numpy as np
import pytest
import torch

from ds2cli.archive import read_matrix
from ds2cli.config.model import ModelConfig
from ds2cli.errors import UsageError
from ds2cli.nn.checkpoint import dump_model
from ds2cli.nn.device import select_device, select_precision
from ds2cli.nn.models.ds2 import DeepSpeech2
from ds2cli.recognizer.experiment import Experiment
from ds2cli.text.vocab import BLANK, Vocab

CONFIG = ModelConfig(channels=(16,), kernels=(5,), strides=(2,), rnn_layers=1, rnn_size=24)
NO_GPU = "ds2: --device cuda: torch finds no CUDA device (use --device cpu, or install a torch built for CUDA)\n"


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Two networks with random weights for the features of `toy`."""
    folder = tmp_path_factory.mktemp("networks")
    for seed in range(2):
        torch.manual_seed(seed)
        model = DeepSpeech2(CONFIG, 5, 20)
        path = folder / f"{seed}.safetensors"
        path.write_bytes(dump_model(model.state_dict(), CONFIG, Vocab((BLANK, *" abc")), {"hop_ms": 10.0}, {}))
    return [folder / "0.safetensors", folder / "1.safetensors"]


@pytest.fixture
def emit(ds2, networks, toy, tmp_path, jsonl):
    """The emissions that `ds2 emit` writes with these options."""

    def run(*options):
        out = tmp_path / "out.jsonl"
        done = ds2("emit", networks[0], toy / "dev.jsonl", out, *options)
        assert done.returncode == 0, done.stderr
        return [read_matrix(str(tmp_path / row["emission"]), row["id"]) for row in jsonl(out)]

    return run


def commands(exp, toy, tmp_path):
    """Every command that runs a network on features or recordings."""
    return {
        "emit": ["emit", exp[0], toy / "dev.jsonl", tmp_path / "e.jsonl"],
        "ensemble": ["emit", exp[0], toy / "dev.jsonl", tmp_path / "m.jsonl", "--ensemble", exp[1]],
        "align": ["align", exp[0], toy / "dev.jsonl", tmp_path / "a.jsonl"],
        "decode": ["decode", exp[0], toy / "dev.jsonl", tmp_path / "d.jsonl"],
        "tune": ["decode", "--tune", exp[0], toy / "dev.jsonl", "--lm", "lm.arpa"],
        "transcribe": ["transcribe", exp[0], tmp_path / "missing.wav"],
    }


@pytest.mark.parametrize("name", ["emit", "ensemble", "align", "decode", "tune", "transcribe"])
def test_a_device_or_precision_that_is_missing_is_an_error_at_once(ds2, networks, toy, tmp_path, name):
    command = commands(networks, toy, tmp_path)[name]
    if not torch.cuda.is_available():
        done = ds2(*command, "--device", "cuda")
        assert (done.returncode, done.stderr) == (2, NO_GPU)
    done = ds2(*command, "--device", "cpu", "--precision", "float16")
    assert done.returncode == 2
    assert done.stderr.endswith("--precision float16 needs a GPU (use --precision bfloat16, or --device cuda)\n"), (
        done.stderr
    )
    assert not list(tmp_path.glob("*.jsonl"))


@pytest.mark.parametrize("others", [0, 1])
def test_bfloat16_changes_emissions_by_its_rounding(emit, networks, tmp_path, others):
    ensemble = [word for path in networks[1 : 1 + others] for word in ("--ensemble", path)]
    plain = emit("--device", "cpu", *ensemble)
    auto = emit("--device", "cpu", "--precision", "auto", *ensemble)
    assert all(np.array_equal(x, y) for x, y in zip(auto, plain, strict=True))
    half = emit("--device", "cpu", "--precision", "bfloat16", *ensemble)
    saved = tomllib.loads((tmp_path / "out.jsonl.config.toml").read_text())
    assert (saved["device"], saved["precision"]) == ("cpu", "bfloat16")
    assert all(x.dtype == np.float32 and len(x) == len(y) for x, y in zip(half, plain, strict=True))
    for x in half:
        np.testing.assert_allclose(np.exp(x).sum(1), 1, rtol=1e-5)
    difference = max(float(np.abs(x - y).max()) for x, y in zip(half, plain, strict=True))
    assert 0 < difference < 0.1


@pytest.mark.parametrize("name", ["align", "decode"])
def test_align_and_decode_run_in_bfloat16(ds2, networks, toy, tmp_path, jsonl, name):
    command = commands(networks, toy, tmp_path)[name]
    done = ds2(*command, "--precision", "bfloat16", "--device", "cpu", "--max-bad", "100")
    assert done.returncode == 0, done.stderr
    assert jsonl(command[3])


@pytest.mark.cuda
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16", "auto"])
def test_a_gpu_gives_the_emissions_of_the_cpu(emit, precision):
    plain = emit("--device", "cpu")
    for x, y in zip(emit("--device", "cuda", "--precision", precision), plain, strict=True):
        np.testing.assert_allclose(x, y, atol=1e-3 if precision == "float32" else 0.1)


def test_the_choice_of_a_device_and_a_precision(monkeypatch):
    """Where there is no GPU, this is what torch would say if there were one."""
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [select_device(name) for name in ("auto", "cuda", "cpu")] == [gpu, gpu, cpu]
    for supported, name in ((True, torch.bfloat16), (False, torch.float16)):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda supported=supported: supported)
        assert select_precision("auto", gpu) == name
    assert select_precision("float16", gpu) == torch.float16
    assert select_precision("auto", cpu) == select_precision("float32", gpu) == torch.float32
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert select_device("auto") == cpu
    with pytest.raises(UsageError, match="needs a GPU"):
        Experiment("exp", precision="float16")
