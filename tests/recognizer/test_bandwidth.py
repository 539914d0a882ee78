"""Recordings with another band than the network's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ds2cli.archive import ArkWriter
from ds2cli.audio.resample import resample
from ds2cli.config.features import FeatureConfig
from ds2cli.config.model import ModelConfig
from ds2cli.feats import cmvn, spectrogram
from ds2cli.nn.checkpoint import dump_model
from ds2cli.nn.models.ds2 import DeepSpeech2
from ds2cli.recognizer.bandwidth import BandCheck, describe_mismatch, find_band_mismatch
from ds2cli.recognizer.experiment import Experiment
from ds2cli.runtime.file import BEST
from ds2cli.text.vocab import BLANK, Vocab

VOCAB = Vocab((BLANK, " ", "a"))
MODEL = ModelConfig(channels=(4,), kernels=(5,), strides=(2,), rnn_layers=1, rnn_size=4)
FULL = (0.1 * np.random.default_rng(0).normal(size=16000)).astype(np.float32)
NARROW = resample(resample(FULL, 16000, 8000), 8000, 16000)


@pytest.fixture
def experiment(tmp_path):
    def write(*recordings, **features):
        stats = cmvn.empty(161)
        for samples in recordings:
            cmvn.accumulate(stats, spectrogram.compute(samples))
        model = DeepSpeech2(MODEL, len(VOCAB), 161)
        mean, std = cmvn.mean_std(stats)
        model.mean.copy_(torch.from_numpy(mean))
        model.std.copy_(torch.from_numpy(std))
        data = dump_model(model.state_dict(), MODEL, VOCAB, {**FeatureConfig().features(), **features}, {})
        (tmp_path / BEST).write_bytes(data)
        return Experiment(str(tmp_path))

    return write


def test_rows_with_another_band_are_counted(experiment, tmp_path):
    with ArkWriter(tmp_path / "f.ark") as ark:
        rows = [
            {"id": name, "feats": ark.write(name, spectrogram.compute(samples))}
            for name, samples in (("a", FULL), ("b", NARROW), ("c", NARROW[8000:]), ("d", FULL[8000:]))
        ]
    for recording, example, found in (
        (FULL, "b", "nothing above 4 kHz, as after a telephone or strong compression; the training"),
        (NARROW, "a", "sound up to 8 kHz; the training recordings had nothing above 4 kHz: expect"),
    ):
        trained, check = experiment(recording), BandCheck()
        for row in rows:
            assert check.read(row, trained).shape[1] == 161
        (sentence,) = check.describe()
        assert sentence.startswith(f"2 of 4 utterances, such as {example}: {found}")


def test_the_named_fix_helps_a_network_of_8_khz(experiment):
    trained = experiment(NARROW)
    bands = find_band_mismatch(spectrogram.compute(FULL), trained)
    assert bands is not None and describe_mismatch(*bands).endswith("(ffmpeg -i IN -ar 8000 OUT)")
    assert find_band_mismatch(spectrogram.compute(NARROW), trained) is None


def test_features_of_unknown_settings_are_not_judged(experiment):
    for changed in ({"kind": "of a plugin that is gone"}, {"window_ms": 40.0}):
        assert find_band_mismatch(spectrogram.compute(NARROW), experiment(FULL, **changed)) is None
