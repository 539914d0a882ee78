"""Lengths drawn many at a time are those that the augmenter draws for each utterance."""

from __future__ import annotations

import numpy as np
import pytest

from ds2cli.audio.recording import Recording
from ds2cli.config.augment import AugmentConfig
from ds2cli.config.features import FeatureConfig
from ds2cli.train import frame_draws
from ds2cli.train.augmenter import Augmenter
from ds2cli.train.examples import Utterance
from ds2cli.train.frame_draws import draw_all_frames


def utterances(count):
    rng, found = np.random.default_rng(0), []
    for n in range(count):
        frames, recording = int(rng.integers(1, 900)), None
        if n % 3:
            duration = None if n % 11 == 0 else round(frames / 100 + 0.0123, n % 7)
            recording = Recording("a.wav", None, duration, (1.0, 0.9, 1.1)[n % 3], (None, 8000, 22050, 16000)[n % 4])
        name = f"{'ü' if n % 5 == 0 else 'u'}{n}{'x' * (n % 300)}"
        found.append(
            Utterance(name, "f", frames, np.zeros(0, np.int32), "", int(rng.integers(1, frames + 1)), recording)
        )
    return found


@pytest.mark.parametrize("at_once", [1 << 16, 7])
@pytest.mark.parametrize(
    "settings",
    [{}, {"speed": 0.1}, {"speed": 0.5}, {"speeds": (0.9, 1.0, 1.1)}, {"speeds": (1.0, 1.0)}, {"speeds": (1.2,)},
     {"speeds": (2.0, 0.5, 1.3)},
     {"speed": 0.2, "speeds": (0.9, 1.0)}],
)  # fmt: skip
def test_all_lengths_are_those_of_each_utterance(monkeypatch, settings, at_once):
    monkeypatch.setattr(frame_draws, "_AT_ONCE", at_once)
    augmenter = Augmenter(AugmentConfig(**settings), FeatureConfig(), 3, np.zeros(161, np.float32), None)
    examples = utterances(700)
    for epoch in range(2):
        expected = [augmenter.frames(u, epoch) for u in examples]
        assert draw_all_frames(augmenter, examples, epoch).tolist() == expected
    assert draw_all_frames(augmenter, [], 0).tolist() == []
