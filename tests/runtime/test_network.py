"""The network without torch: the logits of torch's, in pieces of any length, beside other streams."""

from __future__ import annotations

import numpy as np
import pytest

from ds2cli import native
from ds2cli.runtime.network import RuntimeNetwork
from tests.runtime.networks import CONFIGS, FORWARD, compute_in_torch, make_network, weights_of

BINS = 20
TOLERANCES = {"rtol": 1e-4, "atol": 2e-5}
"""Sums in another order: see tests/nn/test_streaming.py."""


@pytest.fixture(params=["native", "numpy"])
def engine(request, monkeypatch):
    """With the native library, and where it is missing."""
    if request.param == "numpy":
        monkeypatch.setattr(native, "available", lambda *_: False)
    elif not native.available():
        pytest.skip(native.unavailable_reason())
    return request.param


def make_feats(frames, seed=0):
    return np.random.default_rng(seed).normal(size=(frames, BINS)).astype(np.float32)


def in_pieces(network, feats, sizes):
    """The logits of features in pieces of these sizes, used in turn."""
    state, parts, begin, turn = network.begin(), [], 0, 0
    while begin < len(feats):
        size = sizes[turn % len(sizes)]
        parts += network.advance([state], [feats[begin : begin + size]])
        begin, turn = begin + size, turn + 1
    return np.concatenate([*parts, *network.advance([state], [feats[:0]], [True])])


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("frames", [1, 2, 7, 60])
def test_same_logits_as_torch(config, frames, engine):
    model = make_network(config)
    feats = make_feats(frames)
    (found,) = RuntimeNetwork(config, weights_of(model)).compute([feats])
    np.testing.assert_allclose(found, compute_in_torch(model, feats), **TOLERANCES)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_no_frames_give_no_steps(config, engine):
    network = RuntimeNetwork(config, weights_of(make_network(config)))
    (found,) = network.compute([make_feats(0)])
    # a 2d or 1d convolution pads both ends, and with no frame between them there is no output
    assert found.shape == (0, 6)


@pytest.mark.parametrize("weights", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_pieces_are_the_whole_to_the_bit(config, weights):
    if not native.available():
        pytest.skip(native.unavailable_reason())
    network = RuntimeNetwork(config, weights_of(make_network(config)), weights)
    feats = make_feats(120)
    (whole,) = network.compute([feats])
    assert len(whole) == -(-120 // network.stride)
    # one frame, fewer than a filter, a prime, the stride, about half, all; empty pieces and unequal ones
    for sizes in ([1], [2], [7], [network.stride], [60], [120], [0, 1, 13, 0, 40]):
        np.testing.assert_array_equal(in_pieces(network, feats, sizes), whole, err_msg=f"pieces of {sizes}")


def test_pieces_in_numpy(monkeypatch):
    monkeypatch.setattr(native, "available", lambda *_: False)
    config = CONFIGS["2d-row"]
    network = RuntimeNetwork(config, weights_of(make_network(config)))
    feats = make_feats(50)
    np.testing.assert_allclose(in_pieces(network, feats, [3, 0, 11]), network.compute([feats])[0], **TOLERANCES)


@pytest.mark.parametrize("config", [FORWARD["2d-row"], FORWARD["lstm"], CONFIGS["both"]], ids=["2d", "lstm", "both"])
def test_streams_do_not_change_each_other(config):
    if not native.available():
        pytest.skip(native.unavailable_reason())
    network = RuntimeNetwork(config, weights_of(make_network(config)))
    rng = np.random.default_rng(1)
    recordings = [make_feats(frames, seed) for seed, frames in enumerate((31, 1, 90, 64, 17))]
    states = [network.begin() for _ in recordings]
    heard, ended = [0] * 5, [False] * 5
    parts = [[] for _ in recordings]
    while not all(ended):
        # any of them may be in a batch, in any order, with any number of frames, also none
        batch = [int(i) for i in rng.permutation(5) if not ended[i] and rng.random() < 0.7]
        pieces = [recordings[i][heard[i] : heard[i] + int(rng.integers(0, 9))] for i in batch]
        for i, piece in zip(batch, pieces, strict=True):
            heard[i] += len(piece)
            ended[i] = heard[i] == len(recordings[i])
        outputs = network.advance([states[i] for i in batch], pieces, [ended[i] for i in batch])
        for i, output in zip(batch, outputs, strict=True):
            parts[i].append(output)
    for recording, found in zip(recordings, parts, strict=True):
        np.testing.assert_array_equal(np.concatenate(found), network.compute([recording])[0])


def test_outputs_come_as_soon_as_they_are_complete():
    config = FORWARD["row"]
    network = RuntimeNetwork(config, weights_of(make_network(config)))
    state, feats = network.begin(), make_feats(200)
    for t in range(200):
        (found,) = network.advance([state], [feats[t : t + 1]])
        # step i needs the frame i * stride + look-ahead
        count = max(t - config.look_ahead, -1) // config.stride + 1
        before = max(t - 1 - config.look_ahead, -1) // config.stride + 1
        assert len(found) == count - before, t


def test_memory_of_a_stream_does_not_grow():
    config = FORWARD["2d-row"]
    network = RuntimeNetwork(config, weights_of(make_network(config)))
    state = network.begin()
    network.advance([state], [make_feats(50)])
    first = state.bytes
    # a long piece is not kept for the sake of its end
    for frames in (3000, 1, 7, 20):
        network.advance([state], [make_feats(frames)])
    assert state.bytes <= 2 * first


def test_a_stream_keeps_nothing_of_its_neighbours():
    config = CONFIGS["both"]
    network = RuntimeNetwork(config, weights_of(make_network(config)))
    states = [network.begin() for _ in range(8)]
    network.advance(states, [np.zeros((30, 20), np.float32)] * 8)
    heard = [part for state in states[0].states for part in getattr(state, "heard", ())]
    assert sum(map(len, heard)) > 0 and all(part.base is None for part in heard)


def test_rounded_weights_change_little_and_take_less_memory():
    config = FORWARD["row"]
    model, feats = make_network(config), make_feats(60)
    exact = RuntimeNetwork(config, weights_of(model)).compute([feats])[0]
    for weights, bound in (("bfloat16", 0.01), ("int8", 0.02)):
        found = RuntimeNetwork(config, weights_of(model), weights).compute([feats])[0]
        assert 0 < np.abs(found - exact).max() < bound * np.abs(exact).max(), weights


def test_nan_stays_in_its_stream():
    config = FORWARD["1d"]
    network = RuntimeNetwork(config, weights_of(make_network(config)))
    bad, good = make_feats(30), make_feats(30, seed=2)
    bad[3, 0] = np.nan
    found, other = network.compute([bad, good])
    # a recurrence keeps it
    assert np.isnan(found[-1]).all()
    np.testing.assert_array_equal(other, network.compute([good])[0])


@pytest.mark.parametrize("name", ["rnns.0.recurrent", "output.weight", "convs.0.norm.running_var"])
def test_missing_weights_are_an_error(name):
    config = FORWARD["1d"]
    weights = weights_of(make_network(config))
    del weights[name]
    with pytest.raises(KeyError):
        RuntimeNetwork(config, weights)


@pytest.mark.parametrize(
    "name", ["convs.1.conv.weight", "rnns.1.project.weight", "rnns.0.recurrent", "row_conv.weight"]
)
@pytest.mark.parametrize("conv", ["row", "2d-row"])
@pytest.mark.parametrize("axis", [0, -1])
def test_weights_of_other_shapes_are_refused(name, conv, axis):
    # the native library would read past their end
    weights = weights_of(make_network(FORWARD[conv]))
    weights[name] = np.repeat(weights[name], 2, axis)
    with pytest.raises(ValueError, match=r"expected|broadcast"):
        RuntimeNetwork(FORWARD[conv], weights)


@pytest.mark.parametrize("name", ["mean", "std", "output.bias", "rnns.0.project.bias"])
def test_vectors_of_other_shapes_or_types_are_refused(name):
    weights = weights_of(make_network(FORWARD["relu"]))
    for changed in (weights[name][:-1], weights[name].astype(np.float64)):
        with pytest.raises(ValueError, match="expected"):
            RuntimeNetwork(FORWARD["relu"], {**weights, name: changed})


def test_features_of_other_bins_are_an_error():
    network = RuntimeNetwork(FORWARD["1d"], weights_of(make_network(FORWARD["1d"])))
    with pytest.raises(ValueError, match=r"features: expected \(T, 20\), got \(5, 1\)"):
        network.compute([np.zeros((5, 1), np.float32)])
