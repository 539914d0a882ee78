"""Rows as utterances with labels; tests/stages/test_train.py prepares whole jobs."""

from __future__ import annotations

import numpy as np
import pytest

from ds2cli.config.features import FeatureConfig
from ds2cli.config.model import ModelConfig
from ds2cli.config.optim import OptimConfig
from ds2cli.config.train import TrainConfig
from ds2cli.errors import BadUtterance, UsageError
from ds2cli.feats import cmvn
from ds2cli.text.vocab import BLANK, Vocab
from ds2cli.train import data
from ds2cli.train.data import _check_settings, _feature_shape, _train_utterance
from ds2cli.train.examples import Utterance

VOCAB = Vocab((BLANK, " ", "a", "b"))


@pytest.mark.parametrize("strides", [(1,), (2,), (3,), (2, 2)])
@pytest.mark.parametrize("text, steps", [("a", 1), ("ab", 2), ("aa", 3), ("abba b", 7)])
def test_an_utterance_may_be_exactly_as_short_as_its_labels_allow(strides, text, steps):
    model = ModelConfig(channels=(4,) * len(strides), kernels=(5,) * len(strides), strides=strides)
    config = TrainConfig(model=model)
    row = {"id": "u", "text": text, "feats": "a.ark:2"}
    shortest = (steps - 1) * model.stride + 1
    for frames in (shortest, shortest + 1, 100):
        utterance = _train_utterance(row, frames, VOCAB, config)
        assert (utterance.num_frames, utterance.min_frames) == (frames, shortest)
    with pytest.raises(BadUtterance, match=f"label-too-long: {len(text)} labels need {steps} steps"):
        _train_utterance(row, shortest - 1, VOCAB, config)


@pytest.mark.parametrize("size, read", [(1, [0]), (2, [0, 1]), (3, [0, 2]), (4, [0, 2]), (5, [0, 3])])
def test_statistics_are_those_of_evenly_spaced_utterances(monkeypatch, size, read):
    monkeypatch.setattr(data, "STATS_UTTERANCES", 2)
    utterances = [Utterance(str(i), "", 1, np.zeros(0, np.int32), "") for i in range(size)]
    seen = []

    def features(utterance):
        seen.append(int(utterance.id))
        return np.full((1, 3), float(utterance.id), np.float32)

    stats = data._compute_statistics(utterances, features)
    assert seen == read and cmvn.mean_std(stats)[0] == pytest.approx(np.mean(read))


def test_statistics_leave_out_what_memory_does_not_hold():
    utterances = [Utterance(str(i), "", 1, np.zeros(0, np.int32), "") for i in range(3)]

    def features(utterance):
        if utterance.id == "1":
            np.empty(1 << 56)
        return np.full((1, 3), float(utterance.id), np.float32)

    assert cmvn.mean_std(data._compute_statistics(utterances, features))[0] == pytest.approx(1)
    assert data._compute_statistics(utterances, features)[0, -1] == 2


def test_a_row_without_features_needs_a_recording_with_at_least_one_window():
    row, settings = {"id": "u", "text": "a", "audio_filepath": "a.wav"}, FeatureConfig()
    assert _feature_shape({**row, "duration": 0.02}, settings) == (1, 161)
    assert _feature_shape({**row, "duration": 0.03}, settings) == (2, 161)
    with pytest.raises(BadUtterance, match=r"^too-short: .* a window of 20 ms"):
        _feature_shape({**row, "duration": 0.0199375}, settings)
    for without in (row, {"id": "u", "text": "a", "duration": 1.0}):
        with pytest.raises(BadUtterance, match=r"^no-features: "):
            _feature_shape(without, settings)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"early_stop": 2}, "--early-stop"),
        ({"optim": OptimConfig(schedule="plateau")}, "optim.schedule=plateau"),
    ],
)
def test_settings_that_depend_on_a_dev_set_are_refused_without_one(settings, named):
    config = TrainConfig(**settings)
    _check_settings(config, True)
    _check_settings(TrainConfig(), False)
    with pytest.raises(UsageError, match=rf"^train: {named} needs the error rate .*--dev DEV"):
        _check_settings(config, False)
