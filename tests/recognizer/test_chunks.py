"""Emissions of recordings in chunks: the steps of the whole, exactly or with enough context."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from ds2cli.config.model import ModelConfig
from ds2cli.errors import BadUtterance
from ds2cli.nn.checkpoint import TrainedModel
from ds2cli.nn.infer import compute_emissions
from ds2cli.nn.models.ds2 import DeepSpeech2
from ds2cli.recognizer.chunks import emit_in_chunks
from ds2cli.recognizer.experiment import Experiment
from ds2cli.recognizer.windows import split_windows
from ds2cli.runtime.file import NetworkFile
from ds2cli.text.vocab import BLANK, Vocab

BINS = 5
BOTH = ModelConfig(channels=(8, 8), kernels=(5, 3), strides=(3, 2), rnn_layers=1, rnn_size=8)
FORWARD = replace(BOTH, bidirectional=False, row_conv=2)
TWO_D = replace(BOTH, conv="2d", channels=(2, 2), freq_kernels=(3, 3), freq_strides=(1, 1))
CONFIGS = {
    "both": BOTH,
    "both-2d": TWO_D,
    "forward": FORWARD,
    "forward-lstm": replace(FORWARD, cell="lstm", row_conv=0),
}
TOLERANCES = {"rtol": 1e-4, "atol": 2e-5}
"""Products over fewer frames may add up in another order: see tests/nn/test_streaming.py."""


def make_experiment(config):
    """An experiment with random weights; a frame lasts 10 ms."""
    torch.manual_seed(0)
    vocab, experiment = Vocab((BLANK, " ", "a", "b")), Experiment("exp")
    model = DeepSpeech2(config, len(vocab), BINS).eval()
    experiment.trained = TrainedModel(model, vocab, {"hop_ms": 10.0}, model.stride / 100, {})
    tensors = {name: value.numpy() for name, value in model.state_dict().items()}
    experiment.network = NetworkFile("exp", config, vocab, {"hop_ms": 10.0}, {}, tensors)
    return experiment


def make_feats(frames):
    return np.random.default_rng(frames).normal(size=(frames, BINS)).astype(np.float32)


def into_blocks(feats, size):
    return (feats[begin : begin + size] for begin in range(0, len(feats), size))


def join(parts):
    parts = list(parts)
    assert all(len(part) and part.dtype == np.float32 for part in parts)
    return np.concatenate(parts) if parts else np.zeros((0, 4), np.float32)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_chunks_are_the_whole_if_the_context_covers_it(config):
    experiment = make_experiment(config)
    stride = experiment.trained.model.stride
    lengths = {0, 1, 2, 300} | {k * stride + d for k, d in product((1, 5, 20), (-1, 0, 1))}
    for frames in sorted(lengths):
        feats = make_feats(frames)
        (whole,) = compute_emissions(experiment.trained, [feats])
        for chunk_s, size, windows in ((0.01, 1, None), (0.3, 7, 1), (0.31, 1000, 2), (60.0, 50, None)):
            found = join(emit_in_chunks(experiment, into_blocks(feats, size), chunk_s, 3.0, windows=windows))
            assert len(found) == len(whole) == -(-frames // stride)
            np.testing.assert_allclose(found, whole, **TOLERANCES, err_msg=f"{frames} frames, {chunk_s} s, {size}")


@pytest.mark.parametrize("context_s", [0.0, 0.05, 0.2])
@pytest.mark.parametrize("frames", [1, 59, 60, 61, 299, 300, 301, 306])
def test_the_steps_are_counted_right_without_enough_context(frames, context_s):
    experiment = make_experiment(BOTH)
    found = join(emit_in_chunks(experiment, into_blocks(make_feats(frames), 11), 0.6, context_s))
    assert len(found) == -(-frames // 6)
    np.testing.assert_allclose(np.exp(found).sum(1), 1, rtol=1e-5)


def test_a_step_sees_its_window_and_nothing_else():
    """Of a bidirectional network, against windows cut by hand: chunks of 30 frames with 12 on each side."""
    experiment, feats = make_experiment(BOTH), make_feats(100)
    expected = []
    for begin in range(0, 100, 30):
        first = max(begin - 12, 0)
        (emission,) = compute_emissions(experiment.trained, [feats[first : begin + 42]])
        expected.append(emission[(begin - first) // 6 :][:5])
    # 0.29 s are 4.8 steps, rounded to 5; 0.07 s of context are rounded up to 2
    found = join(emit_in_chunks(experiment, [feats], 0.29, 0.07))
    np.testing.assert_allclose(found, np.concatenate(expected)[: len(found)], **TOLERANCES)
    assert len(found) == 17


def test_windows_cover_the_recording_once_with_their_context():
    feats = np.arange(25, dtype=np.float32)[:, None].repeat(2, 1)
    for size, chunk, context in product((1, 4, 25, 30), (3, 8, 25, 40), (0, 2, 30)):
        chunks = []
        for window in split_windows(into_blocks(feats, size), chunk, context):
            core = window.feats[window.begin : window.end]
            chunks.append(core)
            first, last = int(core[0, 0]), int(core[-1, 0])
            assert window.feats[:, 0].tolist() == list(range(max(first - context, 0), min(last + context + 1, 25)))
        assert [len(c) for c in chunks[:-1]] == [chunk] * (len(chunks) - 1)
        np.testing.assert_array_equal(np.concatenate(chunks), feats)


@pytest.mark.parametrize(("config", "needed"), [(BOTH, 42), (FORWARD, 30)], ids=["both", "forward"])
def test_blocks_are_read_when_they_are_needed(config, needed):
    """A chunk of 30 frames needs 12 frames of context, or none if the network continues from chunk to chunk."""
    experiment, read = make_experiment(config), []

    def blocks():
        for block in into_blocks(make_feats(500), 1):
            read.append(1)
            yield block

    emissions = emit_in_chunks(experiment, blocks(), 0.3, 0.12, windows=1)
    assert not read
    for chunk in range(4):
        # the forward-only network looks 17 frames ahead
        assert len(next(emissions)) == (5 if config is BOTH or chunk else 3)
        assert len(read) == needed + 30 * chunk


@pytest.mark.parametrize("config", [BOTH, FORWARD], ids=["both", "forward"])
def test_check_can_stop_it(config):
    def check():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        next(emit_in_chunks(make_experiment(config), [make_feats(100)], 0.3, check=check))


def test_a_window_that_does_not_fit_is_a_bad_utterance():
    experiment = make_experiment(BOTH)

    def fail(*_):
        raise MemoryError

    experiment.trained.model.register_forward_pre_hook(fail)
    with pytest.raises(BadUtterance, match="the network over 54 frames does not fit in memory"):
        list(emit_in_chunks(experiment, [make_feats(500)], 0.3, 0.24, windows=1))


@pytest.mark.parametrize("config", [BOTH, FORWARD], ids=["both", "forward"])
def test_bfloat16_gives_float32_log_probabilities(config):
    experiment, feats = make_experiment(config), make_feats(200)
    exact = join(emit_in_chunks(experiment, [feats], 0.6, 1.0))
    experiment.trained.precision = torch.bfloat16
    found = join(emit_in_chunks(experiment, [feats], 0.6, 1.0))
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.exp(found).sum(1), 1, rtol=1e-5)
    assert 0 < np.abs(found - exact).max() < 0.1


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_long_recordings_are_computed_in_chunks(config, monkeypatch):
    experiment = make_experiment(config)
    feats = [make_feats(frames) for frames in (130, 9, 0, 131)]
    whole = compute_emissions(experiment.trained, feats)
    monkeypatch.setattr("ds2cli.recognizer.experiment.LONG_S", 1.3)
    found = experiment.compute_emissions(feats, lambda: None)
    for i, expected in enumerate(whole):
        np.testing.assert_allclose(found[i], expected, **TOLERANCES)
    np.testing.assert_array_equal(found[0], whole[0])
    np.testing.assert_array_equal(found[3], join(emit_in_chunks(experiment, [feats[3]])))


def test_a_long_recording_that_does_not_fit_in_memory_is_an_error_of_its_own(monkeypatch):
    experiment = make_experiment(FORWARD)

    def fail(*_):
        raise MemoryError

    monkeypatch.setattr("ds2cli.recognizer.experiment.LONG_S", 0.1)
    monkeypatch.setattr(experiment.trained.model, "stream", fail)
    short, long = experiment.compute_emissions([make_feats(9), make_feats(90)], lambda: None)
    assert isinstance(long, BadUtterance) and long.reason == "out-of-memory" and len(short) == 2
