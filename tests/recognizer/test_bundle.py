"""The clip of a bundle: computed again when the network is loaded, drift is an error that says what differs."""

from __future__ import annotations

import io
import json
import wave
from pathlib import Path

import numpy as np
import pytest
import tomli_w
from safetensors.numpy import load, save

from ds2cli.config.base import parse_toml
from ds2cli.errors import DataError
from ds2cli.experiment_files import CARD, CLIP, EXPECTED, NETWORK, open_files
from ds2cli.recognizer.bundle import (
    COARSE_TOLERANCE,
    TOLERANCE,
    Expected,
    check_bundle,
    decode_clip,
    decode_expected,
    encode_clip,
    encode_expected,
)
from ds2cli.recognizer.experiment import Experiment
from ds2cli.stored_zip import write_stored
from ds2cli.text.vocab import BLANK, Vocab


@pytest.fixture
def bundle(shipped):
    return str(shipped / "é x.ds2")


@pytest.fixture
def changed(bundle, tmp_path):
    """The path of the bundle with other contents of some members, whose hashes are right again."""
    import hashlib

    def change(**contents):
        files = open_files(bundle)
        parts = {name: files.read(name) for name in files.members}
        parts |= {name.replace("_", "."): data for name, data in contents.items()}
        card = parse_toml(parts[CARD], CARD)
        for name in card["members"]:
            card["members"][name] = {"size": len(parts[name]), "sha256": hashlib.sha256(parts[name]).hexdigest()}
        parts[CARD] = tomli_w.dumps(card).encode()
        path = tmp_path / "changed.ds2"
        with path.open("wb") as f:
            write_stored(f, [(name, [memoryview(data)]) for name, data in parts.items()])
        return str(path)

    return change


def drifted(path, avoid_torch=True):
    """The message with which the network of a bundle is refused."""
    experiment = Experiment(path, avoid_torch=avoid_torch)
    with pytest.raises(DataError) as e:
        experiment.compute_emissions([np.zeros((20, 81), np.float32)], lambda: None)
    assert str(e.value).startswith(f"{path}: ") and len(str(e.value)) < 400
    return str(e.value)


def expected_of(bundle):
    return decode_expected(open_files(bundle).read(EXPECTED))


def test_a_clip_is_what_was_encoded():
    samples = np.array([0, 0.5, -1, 1, 2], np.float32)
    decoded = decode_clip(encode_clip(samples, 8000), 8000)
    assert np.abs(decoded - [0, 0.5, -1, 1, 1]).max() < 1e-4
    with pytest.raises(DataError, match=r"are \(1, 2, 8000\), expected \(1, 2, 16000\)"):
        decode_clip(encode_clip(samples, 8000), 16000)


@pytest.mark.parametrize("data", [b"", b"RIFF", b"\0" * 100, b"RIFF\xff\xff\xff\xffWAVEdata\xff\xff\xff\xff"])
def test_a_clip_that_is_no_wav_file_is_refused(data):
    with pytest.raises(DataError, match="not a WAV file"):
        decode_clip(data, 8000)


def test_a_clip_of_other_samples_or_too_long_is_refused():
    out = io.BytesIO()
    with wave.open(out, "wb") as f:
        f.setnchannels(2)
        f.setsampwidth(1)
        f.setframerate(8000)
        f.writeframes(bytes(100))
    with pytest.raises(DataError, match=r"are \(2, 1, 8000\)"):
        decode_clip(out.getvalue(), 8000)
    with pytest.raises(DataError, match="expected at most 30 s"):
        decode_clip(encode_clip(np.zeros(31 * 8000, np.float32), 8000), 8000)


def test_expectations_are_what_was_encoded():
    expected = Expected(np.ones((3, 2), np.float32), -np.ones((2, 5), np.float32))
    found = decode_expected(encode_expected(expected))
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize(
    "tensors",
    [
        {},
        {"features": np.ones((3, 2), np.float32)},
        {"features": np.ones((3, 2), np.float32), "log_probs": np.ones((3, 2))},
        {"features": np.ones((3, 2), np.float32), "log_probs": np.ones(3, np.float32)},
        {"features": np.ones((0, 2), np.float32), "log_probs": np.ones((3, 2), np.float32)},
        {"features": np.full((3, 2), np.nan, np.float32), "log_probs": np.ones((3, 2), np.float32)},
    ],
)
def test_other_expectations_are_refused(tensors):
    with pytest.raises(DataError, match="expected"):
        decode_expected(save(tensors))


def test_bytes_that_are_no_safetensors_file_are_refused():
    for data in (
        b"",
        b"x" * 100,
        (1 << 60).to_bytes(8, "little") + b"{}",
        encode_expected(Expected(*2 * [np.ones((9, 9))]))[:-1],
    ):
        with pytest.raises(DataError, match="not a safetensors file"):
            decode_expected(data)


@pytest.mark.parametrize("avoid_torch", [True, False])
def test_a_bundle_computes_what_its_experiment_does(shipped, bundle, avoid_torch):
    x = np.random.default_rng(0).normal(-9, 2, (100, 81)).astype(np.float32)
    expected, found = (
        Experiment(path, avoid_torch=avoid_torch).compute_emissions([x], lambda: None)[0]
        for path in (str(shipped / "exp"), bundle)
    )
    assert np.array_equal(expected, found)


@pytest.mark.parametrize("avoid_torch", [True, False])
def test_other_weights_are_an_error_that_names_symbol_and_step(bundle, changed, avoid_torch):
    weights = open_files(bundle).read(NETWORK)
    head = 8 + int.from_bytes(weights[:8], "little")
    about = json.loads(weights[8:head])
    start, _ = about["output.bias"]["data_offsets"]
    bias = np.frombuffer(weights[head + start : head + start + 4], np.float32)[0]
    other = bytearray(weights)
    other[head + start : head + start + 4] = np.float32(bias + 0.1).tobytes()
    message = drifted(changed(best_safetensors=bytes(other)), avoid_torch)
    assert "the network does not give what it gave when it was exported by ds2cli " in message
    assert "the log-probability of " in message and "tolerated is a difference of 0.001" in message
    other[head + start : head + start + 4] = np.float32(np.nan).tobytes()
    assert "is nan, expected " in drifted(changed(best_safetensors=bytes(other)), avoid_torch)
    # rounding is none
    other[head + start : head + start + 4] = np.float32(bias + 1e-5).tobytes()
    path = changed(best_safetensors=bytes(other))
    Experiment(path, avoid_torch=avoid_torch).compute_emissions([np.zeros((20, 81), np.float32)], lambda: None)


def test_other_features_are_named_as_such(bundle, changed):
    expected = expected_of(bundle)
    moved = encode_expected(expected._replace(features=expected.features + np.float32(0.1)))
    message = drifted(changed(clip_safetensors=moved))
    assert "its features differ by 0.1 in the mean, tolerated is 0.01" in message
    shorter = encode_expected(expected._replace(features=expected.features[:-1]))
    assert f"features of {expected.features.shape} frames and bins, expected " in drifted(
        changed(clip_safetensors=shorter)
    )
    fewer = encode_expected(expected._replace(log_probs=expected.log_probs[:-1]))
    assert "log-probabilities of " in drifted(changed(clip_safetensors=fewer))


def test_another_clip_is_found(bundle, changed):
    samples = decode_clip(open_files(bundle).read(CLIP), 8000)
    assert "its features differ" in drifted(changed(clip_wav=encode_clip(samples[::-1], 8000)))
    assert "frames and bins" in drifted(changed(clip_wav=encode_clip(samples[:-400], 8000)))
    assert "expected (1, 2, 8000)" in drifted(changed(clip_wav=encode_clip(samples, 16000)))
    assert "frames and bins" in drifted(changed(clip_wav=encode_clip(samples[:0], 8000)))


def test_symbols_that_are_not_the_networks_are_found(changed):
    tokens = "".join(f"{s}\n" for s in (BLANK, "<space>", "b", "a", "é")).encode()
    assert "these are not the symbols of best.safetensors" in drifted(changed(tokens_txt=tokens))
    assert "is empty, expected one symbol per line" in drifted(changed(tokens_txt=b"<blank>\n\n\na\n"))


def test_hostile_settings_of_the_features_cost_nothing(bundle, changed):
    """The frames are counted before they are computed."""
    weights = open_files(bundle).read(NETWORK)
    head = 8 + int.from_bytes(weights[:8], "little")
    about = json.loads(weights[8:head])
    described = json.loads(about["__metadata__"]["ds2cli"])
    for features in (
        {"hop_ms": 1.0},
        {"hop_ms": 1e-9},
        {"window_ms": 200.0},
        {"sample_rate": 16000},
        {"kind": "fbank"},
    ):
        changed_about = {**described, "features": {**described["features"], **features}}
        about["__metadata__"]["ds2cli"] = json.dumps(changed_about)
        raw = json.dumps(about).encode()
        drifted_path = changed(best_safetensors=len(raw).to_bytes(8, "little") + raw + weights[head:])
        with pytest.raises(Exception) as e:
            Experiment(drifted_path, avoid_torch=True).compute_emissions([np.zeros((20, 81), np.float32)], lambda: None)
        assert type(e.value).__name__ in ("DataError", "UsageError")


def test_the_tolerances(bundle):
    files, experiment = open_files(bundle), Experiment(bundle, avoid_torch=True)
    expected, network = expected_of(bundle), experiment.network

    def engine(difference):
        def compute(features):
            off = expected.log_probs.copy()
            off[3, 2] += difference
            return off

        return compute

    for tolerance, is_rounded in ((TOLERANCE, False), (COARSE_TOLERANCE, True)):
        check_bundle(files, network.vocab, network.features, engine(0.9 * tolerance), is_rounded=is_rounded)
        with pytest.raises(DataError, match="of 'a' at step 3 is "):
            check_bundle(files, network.vocab, network.features, engine(1.1 * tolerance), is_rounded=is_rounded)
    with pytest.raises(DataError, match="not the symbols"):
        check_bundle(files, Vocab((BLANK, "a")), network.features, engine(0))


def test_an_emission_that_is_stored_needs_no_network(changed):
    """Rows that have emissions are decoded with the symbols alone."""
    path = changed(best_safetensors=b"x")
    assert Experiment(path).vocab.symbols == (BLANK, " ", "a", "b", "é")
    assert "not a network written by ds2 train" in drifted(path)


def test_the_tensors_of_the_clip_are_readable_by_others(bundle):
    tensors = load(open_files(bundle).read(EXPECTED))
    assert set(tensors) == {"features", "log_probs"} and Path(bundle).stat().st_size < 1e6
