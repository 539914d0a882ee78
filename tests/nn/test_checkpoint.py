from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open

from ds2cli.config.train import ModelConfig
from ds2cli.errors import DataError
from ds2cli.nn.checkpoint import BEST, LAST, dump_model, dump_state, load_model, load_state
from ds2cli.nn.emit import BATCH_FRAMES, emissions
from ds2cli.nn.models.ds2 import DeepSpeech2
from ds2cli.text.vocab import BLANK, Vocab

VOCAB = Vocab((BLANK, " ", "a", "é"))
CONFIG = ModelConfig(channels=(8,), kernels=(5,), strides=(2,), rnn_layers=1, rnn_size=8)
FEATURES = {"sample_rate": 16000, "window_ms": 20.0, "hop_ms": 10.0}


@pytest.fixture
def exp(tmp_path):
    torch.manual_seed(0)
    model = DeepSpeech2(CONFIG, 4, 20)
    model.mean.fill_(-3.0)
    (tmp_path / BEST).write_bytes(dump_model(model.state_dict(), CONFIG, VOCAB, FEATURES, {"epoch": 7}))
    return tmp_path


def feats(*lengths):
    rng = np.random.default_rng(0)
    return [rng.normal(size=(n, 20)).astype(np.float32) for n in lengths]


def test_a_model_comes_back_with_all_it_takes_to_use_it(exp):
    bundle = load_model(exp)
    assert bundle.vocab == VOCAB and bundle.features == FEATURES and bundle.made == {"epoch": 7}
    assert bundle.step_s == pytest.approx(0.02) and bundle.bins == 20 and not bundle.model.training
    assert bundle.model.mean.tolist() == [-3.0] * 20
    assert load_model(exp / BEST).vocab == VOCAB


def test_the_file_is_plain_safetensors_with_json(exp):
    with safe_open(exp / BEST, "pt") as f:
        assert json.loads(f.metadata()["ds2cli"])["symbols"] == [BLANK, " ", "a", "é"]


def test_what_is_no_network_is_said(exp, tmp_path):
    with pytest.raises(DataError, match="no trained network there"):
        load_model(tmp_path / "nowhere")
    (exp / BEST).write_bytes((exp / BEST).read_bytes()[:-9])
    with pytest.raises(DataError, match="not a network"):
        load_model(exp)
    (exp / BEST).write_bytes(b"")
    with pytest.raises(DataError, match="not a network"):
        load_model(exp)


def test_a_state_comes_back_and_never_runs_code(tmp_path):
    assert load_state(tmp_path) is None
    (tmp_path / LAST).write_bytes(dump_state({"w": torch.ones(2), "at": {"epoch": 3, "skipped": ["a"]}}))
    assert load_state(tmp_path)["at"] == {"epoch": 3, "skipped": ["a"]}
    torch.save({"x": pytest.raises}, tmp_path / LAST)
    with pytest.raises(DataError, match="not a checkpoint"):
        load_state(tmp_path)


def test_a_torn_state_is_said(tmp_path):
    whole = dump_state({"w": torch.ones(100)})
    (tmp_path / LAST).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="--fresh"):
        load_state(tmp_path)


def test_emissions_are_log_probabilities_in_the_order_given(exp):
    bundle = load_model(exp)
    given = feats(5, 40, 1, 0, 12)
    out = emissions(bundle, given)
    assert [len(x) for x in out] == [3, 20, 1, 0, 6]
    for x, scores in zip(given, out, strict=True):
        assert scores.dtype == np.float32 and scores.shape[1] == 4
        np.testing.assert_allclose(np.exp(scores).sum(1), 1, rtol=1e-5)
        np.testing.assert_allclose(emissions(bundle, [x])[0], scores, rtol=1e-4, atol=1e-5)


def test_emissions_of_many_batches(exp):
    bundle = load_model(exp)
    given = feats(*[BATCH_FRAMES // 3] * 7, BATCH_FRAMES + 5)
    assert [len(x) for x in emissions(bundle, given)] == [BATCH_FRAMES // 6] * 7 + [BATCH_FRAMES // 2 + 3]
    assert emissions(bundle, []) == []
