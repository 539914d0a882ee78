"""Streams of samples: the emissions and texts of the whole recording, for any division into pieces."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import cycle

import numpy as np
import pytest
import torch

from ds2cli import native
from ds2cli.audio.find import find_audio
from ds2cli.audio.read import read
from ds2cli.audio.resample import resample
from ds2cli.config.decode import TranscribeConfig
from ds2cli.config.features import FeatureConfig
from ds2cli.config.model import ModelConfig
from ds2cli.errors import BadUtterance, UsageError
from ds2cli.feats import kinds
from ds2cli.nn.checkpoint import dump_model
from ds2cli.recognizer.decoder import build_search, resolve_settings
from ds2cli.recognizer.experiment import Experiment
from ds2cli.recognizer.stream import EmissionStream, RecognizerStream
from ds2cli.recognizer.utterances import UtteranceStream
from ds2cli.runtime.emit import log_softmax
from ds2cli.runtime.file import BEST
from ds2cli.search.endpoint import EndpointRules
from ds2cli.text.vocab import BLANK, Vocab
from tests.runtime.networks import make_network

VOCAB = Vocab((BLANK, " ", *"abcdef"))
FEATURES = FeatureConfig.from_saved({"level_from": "past", "initial_db": -25.0}, "test")
SMALL = ModelConfig(channels=(12, 12), kernels=(11, 5), strides=(3, 1), rnn_layers=2, rnn_size=16, bidirectional=False)
NETWORKS = {
    "rnn-row": replace(SMALL, cell="rnn", activation="relu", row_conv=5),
    "gru": SMALL,
    "lstm-fc": replace(SMALL, cell="lstm", fc_layers=1, fc_size=9),
    "gru-relu-2d": replace(
        SMALL, activation="relu", conv="2d", channels=(2, 3), freq_kernels=(41, 21), freq_strides=(4, 2), row_conv=2
    ),
    "both": replace(SMALL, bidirectional=True),
}
LM = """\\data\\
ngram 1=6
ngram 2=3

\\1-grams:
-1.0\t<s>\t-0.3
-1.0\t</s>
-0.8\t<unk>\t-0.2
-1.2\ta\t-0.3
-1.3\tbad\t-0.2
-1.5\tfed

\\2-grams:
-0.4\ta bad
-0.9\t<s> a
-0.5\tbad </s>

\\end\\
"""
NO_RULES = EndpointRules(0, 0, 0)


def write_experiment(folder, config):
    """An experiment whose network is certain of what it hears: its texts are nonsense, but not empty."""
    model = make_network(config, kinds.num_bins(FEATURES), len(VOCAB))
    with torch.no_grad():
        model.mean.fill_(-12)
        model.std.fill_(4)
        model.output.weight.mul_(30)
    folder.mkdir()
    features = FEATURES.features()
    (folder / BEST).write_bytes(dump_model(model.state_dict(), config, VOCAB, features, {}))
    return str(folder)


@pytest.fixture(scope="module")
def experiments(tmp_path_factory):
    root = tmp_path_factory.mktemp("networks")
    return {name: write_experiment(root / name, config) for name, config in NETWORKS.items()}


@pytest.fixture(scope="module")
def lm(tmp_path_factory):
    path = tmp_path_factory.mktemp("lm") / "lm.arpa"
    path.write_text(LM, "utf-8")
    return str(path)


@pytest.fixture(scope="module")
def recordings(shared_data):
    """110 short recordings of several speakers, rates and formats, as (samples, rate)."""
    found = []
    for folder, count in (("fsdd", 50), ("an4_nemo", 30), ("asterisk/en_US_f_Allison", 20), ("commonvoice", 10)):
        files = [audio.path for audio in find_audio(str(shared_data / folder))[0]]
        found += [read(str(path)) for path in files[:: max(len(files) // count, 1)][:count]]
    return [(samples[: 3 * rate], rate) for samples, rate in found]


def random_sizes(rng):
    """Numbers of samples: single ones first, then any, also none."""
    yield from [1] * 30
    while True:
        yield int(rng.choice([0, 1, 7, 160, 441, 1600, int(rng.integers(1, 9000))]))


def stream_in_pieces(stream, samples, sizes):
    begin = 0
    for size in sizes:
        if begin >= len(samples):
            break
        yield stream.advance(samples[begin : begin + size])
        begin += size
    yield stream.finish()


def compute_whole(experiment, samples):
    """The emission as of a file."""
    (logits,) = experiment.runtime.compute([kinds.compute(samples, FEATURES)])
    return log_softmax(logits)


@pytest.mark.long
@pytest.mark.parametrize("name", NETWORKS)
def test_streams_are_the_whole_to_the_bit(experiments, recordings, lm, name):
    """Each network hears all recordings in random pieces, with each kind of search in turn."""
    if not native.available():
        pytest.skip(native.unavailable_reason())
    assert len(recordings) >= 100
    path, texts = experiments[name], 0
    experiment = Experiment(path, avoid_torch=True)
    searches = []
    for settings in ({}, {"lm": lm}, {"greedy": True}):
        config = resolve_settings(TranscribeConfig(**settings), path)
        searches.append((config, build_search(config, experiment)))
    for number, ((samples, rate), (config, search)) in enumerate(zip(recordings, cycle(searches), strict=False)):
        rng = np.random.default_rng(number)
        whole = compute_whole(experiment, resample(samples, rate, FEATURES.sample_rate))
        emissions = EmissionStream(experiment, rate)
        found = np.concatenate([*stream_in_pieces(emissions, samples, random_sizes(rng))])
        np.testing.assert_array_equal(found, whole, err_msg=f"recording {number}")
        utterances = UtteranceStream(config, search, VOCAB, experiment.network.step_s, NO_RULES)
        stream = RecognizerStream(EmissionStream(experiment, rate), utterances)
        results = [r for part in stream_in_pieces(stream, samples, random_sizes(rng)) for r in part if r.final]
        expected = search(whole)[0].text
        assert " ".join(r.text for r in results) == expected, f"recording {number}"
        texts += bool(expected)
    assert texts > len(recordings) / 2


def test_int16_samples_are_those_of_float32(experiments):
    experiment = Experiment(experiments["gru"], avoid_torch=True)
    samples = (np.random.default_rng(0).normal(size=16000) * 3000).astype(np.int16)
    results = []
    for given in (samples, samples.astype(np.float32) / 32768):
        config = resolve_settings(TranscribeConfig(), experiments["gru"])
        utterances = UtteranceStream(config, build_search(config, experiment), VOCAB, 0.03, NO_RULES)
        stream = RecognizerStream(EmissionStream(experiment), utterances)
        results.append([*stream.advance(given), *stream.finish()])
    assert results[0] == results[1]
    assert results[0]


@pytest.mark.parametrize("name", NETWORKS)
def test_streams_at_the_same_time(experiments, name):
    """One network, many streams in turn: none changes another."""
    if not native.available():
        pytest.skip(native.unavailable_reason())
    experiment = Experiment(experiments[name], avoid_torch=True)
    rng = np.random.default_rng(0)
    sounds = [(rng.normal(size=n) * 0.1).astype(np.float32) for n in (4000, 12000, 7001)]
    streams = [EmissionStream(experiment) for _ in sounds]
    parts = [[] for _ in sounds]
    for begin in range(0, 12000, 1600):
        for stream, sound, part in zip(streams, sounds, parts, strict=True):
            part.append(stream.advance(sound[begin : begin + 1600]))
    for stream, sound, part in zip(streams, sounds, parts, strict=True):
        found = np.concatenate([*part, stream.finish()])
        np.testing.assert_array_equal(found, compute_whole(experiment, sound))


def test_a_stream_shorter_than_a_frame_has_no_text(experiments):
    for name, path in experiments.items():
        experiment = Experiment(path, avoid_torch=True)
        for count in (0, 1, FEATURES.window_samples - 1):
            stream = EmissionStream(experiment)
            parts = [stream.advance(np.zeros(count, np.float32)), stream.finish()]
            assert sum(map(len, parts)) == 0, (name, count)


def test_bad_samples_are_an_error(experiments):
    stream = EmissionStream(Experiment(experiments["gru"], avoid_torch=True))
    with pytest.raises(BadUtterance, match="1 samples are NaN or infinite"):
        stream.advance(np.array([0.0] * 400 + [np.nan] + [0.0] * 400, np.float32))


def test_networks_of_torch_are_refused(experiments):
    with pytest.raises(UsageError, match=r"streams need a network of the kind ds2, on a CPU \(--device cpu\)"):
        EmissionStream(Experiment(experiments["gru"]))


def test_states_are_small(experiments):
    experiment = Experiment(experiments["gru-relu-2d"], avoid_torch=True)
    stream = EmissionStream(experiment)
    stream.advance((np.random.default_rng(0).normal(size=160000) * 0.1).astype(np.float32))
    assert stream.state.bytes < 100_000


def test_rows_of_a_stream_are_json(experiments):
    experiment = Experiment(experiments["gru"], avoid_torch=True)
    config = resolve_settings(TranscribeConfig(timestamps=True), experiments["gru"])
    utterances = UtteranceStream(config, build_search(config, experiment), VOCAB, 0.03)
    stream = RecognizerStream(EmissionStream(experiment), utterances)
    sound = (np.random.default_rng(0).normal(size=48000) * 0.1).astype(np.float32)
    for result in [*stream.advance(sound), *stream.finish()]:
        json.dumps(vars(result))
