"""Features of a stream: those of the whole, whatever the pieces."""

from __future__ import annotations

import tomllib

import numpy as np
import pytest
import soundfile

from ds2cli import feats
from ds2cli.archive import read_matrix
from ds2cli.config.base import build
from ds2cli.config.features import FeatureConfig
from ds2cli.errors import BadUtterance, UsageError
from ds2cli.feats import kinds
from ds2cli.feats.blocks import LIVE, compute_blocks
from ds2cli.feats.stream import FeatureStream
from tests.house.test_plugins import PLUGINS

CONFIGS = [
    {},
    {"kind": "fbank"},
    {"kind": "fbank", "num_mels": 40, "window_ms": 25.0, "sample_rate": 8000},
    {"sample_rate": 8000, "level_db": -30.0, "initial_db": -50.0, "memory_s": 0.5},
    {"window_ms": 32.0, "hop_ms": 7.3},
    {"window_ms": 10.0, "hop_ms": 25.0},
    {"kind": "fbank", "window_ms": 10.0, "hop_ms": 25.0},
]


def settings(values, level_from="past"):
    return build(FeatureConfig, ("test", {**values, "level_from": level_from}))


def recording(count, seed=0):
    """Noise whose level goes up and down, with a silence in it."""
    rng = np.random.default_rng(seed)
    samples = rng.normal(size=count) * 10 ** (np.sin(np.arange(count) / 5000) - 2)
    samples[count // 3 : count // 2] = 0
    return samples.astype(np.float32)


def stream(pieces, config):
    features = FeatureStream(config)
    return np.concatenate([*(features.advance(piece) for piece in pieces), features.finish()])


def cut(samples, sizes):
    return np.split(samples, np.cumsum(sizes)) if len(sizes) else [samples]


def cut_at_random(samples, rng):
    largest = rng.choice([9, 50, 161, 1600, 50000])
    sizes = rng.integers(0, largest, size=max(2 * len(samples) // largest, 1))
    return cut(samples, sizes[np.cumsum(sizes) < len(samples)])


@pytest.mark.parametrize("values", CONFIGS)
def test_with_the_level_of_the_past_they_are_those_of_the_whole(values):
    config, rng = settings(values), np.random.default_rng(0)
    for count in (24000, 8000 + 159, 600):
        samples = recording(count)
        whole = kinds.compute(samples, config)
        divisions = [[samples], *(cut_at_random(samples, rng) for _ in range(6))]
        for pieces in [*divisions, np.split(samples, count)] if count == 600 else divisions:
            np.testing.assert_array_equal(stream(pieces, config), whole)


@pytest.mark.parametrize("values", CONFIGS)
def test_with_the_level_of_utterances_the_pieces_change_nothing_either(values):
    config, rng = settings(values, "utterance"), np.random.default_rng(0)
    samples = recording(40000)
    whole = stream([samples], config)
    assert len(whole) == kinds.num_frames(len(samples), config)
    for _ in range(8):
        np.testing.assert_array_equal(stream(cut_at_random(samples, rng), config), whole)


@pytest.mark.parametrize("values", CONFIGS)
def test_a_long_recording_in_blocks_is_computed_as_the_whole(values):
    config, samples = settings(values), recording(16000 * 40)
    whole = kinds.compute(samples, config)
    for size in (333, 16000, 10**6):
        blocks = [samples[i : i + size] for i in range(0, len(samples), size)]
        for window in ({}, {"window": LIVE}):
            np.testing.assert_array_equal(np.concatenate([*compute_blocks(blocks, config, **window)]), whole)
    for count in (0, 1, config.window_samples - 1):
        with pytest.raises(BadUtterance, match="too-short"):
            list(compute_blocks([samples[:count]], config))


def test_each_frame_comes_with_the_last_sample_of_its_window():
    samples, config = recording(8000), settings({})
    features, count = FeatureStream(config), 0
    for i, sample in enumerate(np.split(samples, len(samples)), start=1):
        count += len(features.advance(sample))
        assert count == kinds.num_frames(i, config)


def test_the_first_frames_of_a_network_trained_on_utterances_wait_for_a_second():
    config, samples = settings({}, "utterance"), recording(32000)
    features = FeatureStream(config)
    assert len(features.advance(samples[:15999])) == 0
    assert len(features.advance(samples[15999:16000])) == 99
    assert len(features.advance(samples[16000:16160])) == 1
    # at the end they wait no more
    features = FeatureStream(config)
    assert len(features.advance(samples[:8000])) == 0
    assert len(features.finish()) == 49


def test_a_steady_level_gives_nearly_the_features_of_the_utterance():
    samples = np.random.default_rng(0).normal(0, 0.003, 16000 * 5).astype(np.float32)
    for values in ({}, {"kind": "fbank"}):
        config = settings(values, "utterance")
        np.testing.assert_allclose(stream([samples], config), kinds.compute(samples, config), atol=0.03)


@pytest.mark.parametrize("level_from", ["past", "utterance"])
def test_a_stream_shorter_than_a_window_has_no_frames(level_from):
    config = settings({}, level_from)
    for count in (0, 1, 319):
        assert stream([np.ones(count, np.float32)], config).shape == (0, 161)
    assert len(stream([np.ones(320, np.float32)], config)) == 1
    assert stream([], config).shape == (0, 161)


@pytest.mark.parametrize("level_from", ["past", "utterance"])
@pytest.mark.parametrize("kind", ["spectrogram", "fbank"])
def test_digital_silence_has_the_features_of_the_floor(level_from, kind):
    config = settings({"kind": kind}, level_from)
    features = stream([np.zeros(16000 * 3, np.float32)], config)
    np.testing.assert_allclose(features, np.log(1e-14), rtol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("level_from", ["past", "utterance"])
def test_samples_that_are_no_numbers(bad, level_from):
    features = FeatureStream(settings({}, level_from))
    features.advance(np.ones(777, np.float32))
    samples = np.ones(100, np.float32)
    samples[50] = bad
    with pytest.raises(BadUtterance, match="not-a-number: 1 samples are NaN or infinite"):
        features.advance(samples)


def test_the_pieces_given_are_copied():
    """A caller may use its buffer again."""
    samples, config = recording(16000), settings({})
    features, buffer, out = FeatureStream(config), np.empty(100, np.float32), []
    for piece in np.split(samples, 160):
        buffer[:] = piece
        out.append(features.advance(buffer))
        buffer[:] = np.nan
    np.testing.assert_array_equal(np.concatenate(out), kinds.compute(samples, config))


def test_an_hour_needs_no_more_memory_than_a_second():
    features, piece = FeatureStream(settings({})), recording(16000)
    features.advance(piece)
    before = features._stream.kept.nbytes
    for _ in range(3600 // 60):
        features.advance(np.tile(piece, 60))
    assert features._stream.kept.nbytes == before < 100_000 and len(features._stream.gains) < 5


def test_two_streams_do_not_affect_each_other():
    config = settings({})
    one, other = recording(16000, 1), recording(16000, 2)
    first, second = FeatureStream(config), FeatureStream(config)
    parts = [(first.advance(a), second.advance(b)) for a, b in zip(np.split(one, 10), np.split(other, 10), strict=True)]
    for samples, features in zip((one, other), zip(*parts, strict=True), strict=True):
        np.testing.assert_array_equal(np.concatenate(features), kinds.compute(samples, config))


@pytest.fixture
def dummy(monkeypatch):
    """A plugin's kind, of which half a hop of silence surrounds the recording."""
    monkeypatch.setattr(feats, "__path__", [*feats.__path__, str(PLUGINS / "feats")])


def test_a_kind_without_single_frames_streams_in_blocks(dummy):
    config, samples, rng = settings({"kind": "dummy"}, "utterance"), recording(16000 * 6), np.random.default_rng(0)
    expected = np.concatenate([*compute_blocks([samples], config, LIVE)])
    assert len(expected) == kinds.num_frames(len(samples), config)
    for _ in range(5):
        np.testing.assert_array_equal(stream(cut_at_random(samples, rng), config), expected)
    assert stream([], config).shape == (0, 4)


def test_a_kind_without_single_frames_has_the_level_of_utterances(dummy):
    with pytest.raises(UsageError, match="level_from past: dummy features have the level of the utterance"):
        settings({"kind": "dummy"})


@pytest.mark.parametrize("kind", ["spectrogram", "fbank"])
def test_stored_features_are_those_of_the_stream(ds2, jsonl, tmp_path, kind):
    """Training sees what a stream gives the network."""
    samples = recording(16000 * 2)
    soundfile.write(tmp_path / "ä.wav", samples, 16000, "FLOAT")
    rows = jsonl(tmp_path / "in.jsonl", [{"id": "ä", "audio_filepath": "ä.wav"}])
    out = tmp_path / "out.jsonl"
    done = ds2("featurize", rows, out, "--kind", kind, "--level-from", "past", "--initial-db", -35, "--memory-s", 3)
    assert done.returncode == 0, done.stderr
    config = FeatureConfig.from_saved(tomllib.loads((tmp_path / "out.jsonl.config.toml").read_text()), "x")
    assert (config.level_from, config.initial_db, config.memory_s) == ("past", -35, 3)
    stored = read_matrix(str(tmp_path / jsonl(out)[0]["feats"]), "ä")
    pieces = [samples[i : i + 1600] for i in range(0, len(samples), 1600)]
    np.testing.assert_array_equal(stream(pieces, config), stored)
