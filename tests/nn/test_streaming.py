"""Forward-only networks in pieces of any length: the logits of the whole."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
import torch

from ds2cli.nn.models.ds2 import DeepSpeech2
from ds2cli.nn.rnn import cudnn
from tests.runtime.networks import FORWARD, ONE_D, make_network

CONFIGS = {**FORWARD, "relu-row": replace(ONE_D, cell="rnn", activation="relu", row_conv=1)}
BINS, SYMBOLS = 20, 6


@torch.inference_mode()
def compute_in_pieces(model, feats, sizes):
    """The logits (T', N, V) of features (T, N, F) in pieces of these sizes, used in turn."""
    stream, parts, begin, turn = model.stream(feats.shape[1]), [], 0, 0
    while begin < len(feats):
        size = sizes[turn % len(sizes)]
        parts.append(stream.advance(feats[begin : begin + size]))
        begin, turn = begin + size, turn + 1
    return torch.cat([*parts, stream.finish()])


@torch.inference_mode()
def compute_whole(model, feats):
    T, N, _ = feats.shape
    return model(feats.transpose(0, 1), torch.full((N,), T))[0] if T else torch.zeros(0, N, SYMBOLS)


# The recurrences are the same to the bit (test_recurrence.py); a product or a convolution over fewer frames may add up
# in another order, which changes sums of some hundred float32 terms of size 1 by about 1e-6, and logits not much more.
TOLERANCES = {"rtol": 1e-4, "atol": 2e-5}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_pieces_give_the_logits_of_the_whole(config):
    model = make_network(config)
    feats = torch.randn(120, 1, BINS) * model.std + model.mean
    whole = compute_whole(model, feats)
    # one frame, fewer than a filter, a prime, the stride, about half, all; empty pieces and unequal ones
    for sizes in ([1], [2], [7], [model.stride], [60], [120], [0, 1, 13, 0, 40]):
        found = compute_in_pieces(model, feats, sizes)
        torch.testing.assert_close(found, whole, **TOLERANCES, msg=lambda m, s=sizes: f"pieces of {s}: {m}")


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_recordings_that_are_shorter_than_the_context_or_end_near_a_stride(config):
    model = make_network(config)
    lengths = {0, 1, 2, 3} | {k * model.stride + d for k, d in product((1, 2, 5), (-1, 0, 1))}
    for frames, size in product(sorted(lengths), (1, 4, 100)):
        feats = torch.randn(frames, 1, BINS)
        found = compute_in_pieces(model, feats, [size])
        assert len(found) == int(model.num_steps(torch.tensor(frames)))
        torch.testing.assert_close(found, compute_whole(model, feats), **TOLERANCES)


@pytest.mark.parametrize("config", [CONFIGS[name] for name in ("row", "2d-row", "lstm")])
def test_several_streams_at_once_are_those_of_each_alone(config):
    model = make_network(config)
    feats = torch.randn(50, 3, BINS)
    together = compute_in_pieces(model, feats, [9])
    for n in range(3):
        alone = compute_in_pieces(model, feats[:, n : n + 1], [9])
        torch.testing.assert_close(together[:, n : n + 1], alone, **TOLERANCES)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_outputs_come_as_soon_as_their_look_ahead_has_been_read(config):
    model = make_network(config)
    feats, ahead = torch.randn(90, 1, BINS), config.look_ahead
    with torch.inference_mode():
        stream, steps = model.stream(), 0
        for read, frame in enumerate(feats, 1):
            steps += len(stream.advance(frame[None]))
            # step i needs the frames up to i * stride + look_ahead
            assert steps == max((read - 1 - ahead) // model.stride + 1, 0)


@pytest.mark.parametrize("config", [CONFIGS["row"], CONFIGS["lstm"]])
def test_fused_layers_continue_too(config, monkeypatch):
    model = make_network(config)
    feats = torch.randn(70, 1, BINS)
    whole = compute_whole(model, feats)
    monkeypatch.setattr(cudnn, "DEVICES", ("cpu",))
    torch.testing.assert_close(compute_in_pieces(model, feats, [11]), whole, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("config", [CONFIGS["row"], CONFIGS["lstm-2d"], CONFIGS["relu"]])
def test_bfloat16_differs_by_its_rounding(config):
    model = make_network(config)
    feats = torch.randn(70, 1, BINS)
    exact = compute_whole(model, feats)
    with torch.autocast("cpu", torch.bfloat16):
        whole, pieces = compute_whole(model, feats), compute_in_pieces(model, feats, [11])
    assert whole.dtype == pieces.dtype
    rounding = float((whole.float() - exact).abs().max())
    assert rounding > 0 and float((pieces.float() - whole.float()).abs().max()) <= 2 * rounding


def test_a_network_that_cannot_continue_says_so():
    bidirectional = DeepSpeech2(replace(ONE_D, bidirectional=True), SYMBOLS, BINS)
    assert not bidirectional.can_stream
    for model in (bidirectional.eval(), DeepSpeech2(ONE_D, SYMBOLS, BINS).train()):
        with pytest.raises(ValueError, match="expected a forward-only network in evaluation mode"):
            model.stream()


@pytest.mark.parametrize("config", [CONFIGS[name] for name in ("row", "2d-row", "lstm")])
def test_a_stream_stays_on_the_device_of_its_network(config):
    """On the device `meta`, which computes shapes only, and refuses tensors of another device as a GPU does."""
    model = make_network(config).to("meta")
    with torch.inference_mode():
        stream = model.stream(2)
        parts = [stream.advance(torch.zeros(size, 2, BINS, device="meta")) for size in (1, 50)] + [stream.finish()]
    assert {part.device.type for part in parts} == {"meta"}
    assert sum(map(len, parts)) == -(-51 // model.stride)


@pytest.mark.cuda
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_pieces_on_a_gpu_give_the_logits_of_the_whole(config):
    model = make_network(config)
    feats = torch.randn(120, 1, BINS)
    whole = compute_whole(model, feats)
    found = compute_in_pieces(model.to("cuda"), feats.to("cuda"), [31])
    torch.testing.assert_close(found.cpu(), whole, rtol=1e-3, atol=1e-3)
