"""Opening the vocabulary of an experiment, a network or a list of symbols."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from ds2cli.config.model import ModelConfig
from ds2cli.errors import DataError
from ds2cli.nn.checkpoint import dump_model
from ds2cli.nn.models.ds2 import DeepSpeech2
from ds2cli.recognizer.experiment import Experiment
from ds2cli.recognizer.vocabulary import open_vocab
from ds2cli.runtime.file import BEST
from ds2cli.text.vocab import BLANK, Vocab

VOCAB = Vocab((BLANK, " ", "a", "é"))
OTHER = Vocab((BLANK, " ", "x", "y"))
CONFIG = ModelConfig(channels=(8,), kernels=(5,), strides=(2,), rnn_layers=1, rnn_size=8)


@pytest.fixture
def exp(tmp_path):
    """An experiment whose weights and tokens.txt disagree, as after the start of another training."""
    torch.manual_seed(0)
    data = dump_model(DeepSpeech2(CONFIG, 4, 5).state_dict(), CONFIG, VOCAB, {"hop_ms": 10.0}, {})
    (tmp_path / BEST).write_bytes(data)
    OTHER.save(tmp_path / "tokens.txt")
    return tmp_path


def test_the_weights_take_precedence_over_tokens_txt(exp):
    assert Experiment(str(exp)).vocab == VOCAB and Experiment(str(exp / BEST)).vocab == VOCAB
    assert open_vocab(str(exp)) == open_vocab(str(exp / BEST)) == VOCAB


def test_a_list_of_symbols_is_read_under_any_name(exp):
    assert open_vocab(str(exp / "tokens.txt")) == OTHER
    (exp / "tokens.txt").rename(exp / "symbols")
    assert open_vocab(str(exp / "symbols")) == OTHER
    with pytest.raises(DataError, match=r"none\.txt: "):
        open_vocab(str(exp / "none.txt"))


def test_a_folder_may_have_any_name(exp):
    assert open_vocab(str(exp.rename(exp.with_name("run.txt")))) == VOCAB


def test_the_vocabulary_is_read_without_torch(exp):
    code = f"""
import sys
from ds2cli.recognizer.experiment import Experiment
assert len(Experiment({str(exp)!r}).vocab) == 4
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_weights_tokens_txt_is_read(exp):
    (exp / BEST).unlink()
    assert Experiment(str(exp)).vocab == OTHER
    (exp / "tokens.txt").unlink()
    with pytest.raises(DataError, match="no trained network"):
        _ = Experiment(str(exp)).vocab


@pytest.mark.parametrize("data", [b"", b"x" * 100])
def test_broken_weights_are_reported(exp, data):
    (exp / BEST).write_bytes(data)
    with pytest.raises(DataError, match="not a network"):
        _ = Experiment(str(exp)).vocab


def test_a_list_of_symbols_is_read_from_a_pipe_but_not_a_network(exp, piped):
    assert open_vocab(piped((exp / "tokens.txt").read_bytes())) == OTHER
    with pytest.raises(DataError, match="this is a pipe, expected the folder of an experiment"):
        open_vocab(piped((exp / BEST).read_bytes(), "x.safetensors"))
    with pytest.raises(DataError, match="/dev/zero: this is a device, expected"):
        open_vocab("/dev/zero")
