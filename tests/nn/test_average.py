from __future__ import annotations

import pytest
import torch

from ds2cli.config.model import ModelConfig
from ds2cli.errors import DataError, UsageError
from ds2cli.nn.average import average_models
from ds2cli.nn.checkpoint import dump_model, load_model
from ds2cli.nn.models.ds2 import DeepSpeech2
from ds2cli.text.vocab import BLANK, Vocab

CONFIG = ModelConfig(channels=(4,), kernels=(3,), strides=(1,), rnn_layers=1, rnn_size=4)
VOCAB = Vocab((BLANK, "a"))


def write_network(path, value, config=CONFIG, vocab=VOCAB, hop_ms=10.0):
    """Write a network with every weight and statistic equal to `value`."""
    state = {name: torch.full_like(t, value) for name, t in DeepSpeech2(config, len(vocab), 5).state_dict().items()}
    path.write_bytes(dump_model(state, config, vocab, {"hop_ms": hop_ms}, {}))
    return str(path)


def test_three_networks_are_averaged(tmp_path):
    paths = [write_network(tmp_path / f"{v}.safetensors", v) for v in (1.0, 2.0, 6.0)]
    (tmp_path / "mean.safetensors").write_bytes(average_models(paths))
    mean = load_model(tmp_path / "mean.safetensors")
    assert all(float(value.double().mean()) == 3.0 for value in mean.model.state_dict().values())
    assert mean.metadata == {"average_of": paths} and mean.vocab == VOCAB


def test_networks_that_differ_are_refused(tmp_path):
    first = write_network(tmp_path / "1.safetensors", 1.0)
    with pytest.raises(UsageError, match="--keep-best"):
        average_models([first])
    wide = write_network(tmp_path / "2.safetensors", 1.0, ModelConfig(**{**vars(CONFIG), "rnn_size": 5}))
    with pytest.raises(DataError, match=r"2.safetensors: its settings differ from those of .*1.safetensors"):
        average_models([first, wide])
    different_vocab = write_network(tmp_path / "3.safetensors", 1.0, vocab=Vocab((BLANK, "b")))
    with pytest.raises(DataError, match="its symbols"):
        average_models([first, different_vocab])
    finer = write_network(tmp_path / "4.safetensors", 1.0, hop_ms=5.0)
    with pytest.raises(DataError, match="its features differ"):
        average_models([first, finer])


def test_kept_epochs_are_averaged_and_decode(ds2, toy, tmp_path):
    """`train --keep-best` keeps networks, `model average` averages them, and `decode` takes the result."""
    exp = tmp_path / "exp"
    small = ["--set", "model.channels=[16]", "--set", "model.kernels=[5]", "--set", "model.strides=[2]"]
    small += ["--set", "model.rnn_layers=1", "--set", "model.rnn_size=16", "--epochs", "4", "--batch-s", "5"]
    done = ds2("train", toy / "train.jsonl", exp, "--dev", toy / "dev.jsonl", *small, "--keep-best", "2")
    assert done.returncode == 0, done.stderr
    kept = sorted(exp.glob("epoch-*.safetensors"))
    assert len(kept) == 2
    out = exp / "average.safetensors"
    done = ds2("model", "average", *kept, out)
    assert (done.returncode, done.stderr) == (0, f"model: wrote {out}, the average of 2 networks\n")
    done = ds2("decode", out, toy / "dev.jsonl", tmp_path / "d.jsonl", "--greedy")
    assert done.returncode == 0, done.stderr
