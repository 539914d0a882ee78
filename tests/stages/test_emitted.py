from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from ds2cli.config.train import ModelConfig
from ds2cli.errors import DataError
from ds2cli.nn.checkpoint import BEST, dump_model
from ds2cli.nn.models.ds2 import DeepSpeech2
from ds2cli.stages.emitted import Network
from ds2cli.text.vocab import BLANK, Vocab

VOCAB = Vocab((BLANK, " ", "a", "é"))
OTHER = Vocab((BLANK, " ", "x", "y"))
CONFIG = ModelConfig(channels=(8,), kernels=(5,), strides=(2,), rnn_layers=1, rnn_size=8)


@pytest.fixture
def exp(tmp_path):
    torch.manual_seed(0)
    data = dump_model(DeepSpeech2(CONFIG, 4, 5).state_dict(), CONFIG, VOCAB, {"hop_ms": 10.0}, {})
    (tmp_path / BEST).write_bytes(data)
    OTHER.save(tmp_path / "tokens.txt")
    return tmp_path


def test_the_symbols_are_those_of_the_weights_not_of_a_training_begun_anew(exp):
    assert Network(str(exp)).vocab == VOCAB and Network(str(exp / BEST)).vocab == VOCAB


def test_the_symbols_come_without_torch(exp):
    code = f"""
import sys
from ds2cli.stages.emitted import Network
assert len(Network({str(exp)!r}).vocab) == 4
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_weights_the_list_of_symbols_will_do(exp):
    (exp / BEST).unlink()
    assert Network(str(exp)).vocab == OTHER
    (exp / "tokens.txt").unlink()
    with pytest.raises(DataError, match="no trained network there"):
        _ = Network(str(exp)).vocab


@pytest.mark.parametrize("data", [b"", b"x" * 100])
def test_weights_that_are_not_whole_are_said(exp, data):
    (exp / BEST).write_bytes(data)
    with pytest.raises(DataError, match="not a network"):
        _ = Network(str(exp)).vocab
