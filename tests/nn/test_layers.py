from __future__ import annotations

import pytest
import torch
from torch import nn

from ds2cli.nn.layers import CLIP, Conv1d, Conv2d, Dense, Frames, Recurrent, clipped_relu, strided_length

LENGTHS = torch.tensor([9, 7, 7, 1])


def padded(lengths, width, fill=0.0):
    x = torch.full((len(lengths), int(lengths.max()), width), fill)
    for row, n in zip(x, lengths.tolist(), strict=True):
        row[:n] = torch.randn(n, width)
    return x


def test_clipped_relu_is_flat_below_0_and_above_20():
    assert clipped_relu(torch.tensor([-1.0, 3.0, 25.0])).tolist() == [0.0, 3.0, CLIP]


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
def test_strided_length_counts_the_frames_of_a_same_convolution(stride):
    conv = nn.Conv1d(1, 1, 5, stride, 2)
    lengths = torch.arange(1, 14)
    made = [conv(torch.zeros(1, 1, n)).shape[-1] for n in lengths.tolist()]
    assert strided_length(lengths, stride).tolist() == made


@pytest.mark.parametrize("steps_first", [False, True])
def test_pack_and_unpack_are_inverse_and_leave_padding_zero(steps_first):
    frames, x = Frames(LENGTHS), padded(LENGTHS, 3, fill=7.0)
    packed = frames.pack(x)
    assert packed.tolist() == [v for row, n in zip(x, LENGTHS.tolist(), strict=True) for v in row[:n].tolist()]
    back = frames.unpack(packed, steps_first=steps_first)
    assert torch.equal(frames.pack(back, steps_first=steps_first), packed)
    back = back.transpose(0, 1) if steps_first else back
    assert torch.equal(back, torch.where(x == 7.0, 0.0, x))


def test_pack_has_the_gradient_of_taking_rows():
    frames = Frames(LENGTHS)
    x = torch.randn(4, 9, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(frames.pack, (x,))


@pytest.mark.parametrize("layer", [Conv1d(6, 5, 3, 2), Conv2d(2, 3, 4, (3, 5), (2, 2))], ids=["1d", "2d"])
@pytest.mark.parametrize("training", [True, False])
def test_convolutions_never_see_padding(layer, training):
    torch.manual_seed(0)
    layer.train(training)
    layer.norm.reset_running_stats()
    frames = Frames(LENGTHS)
    x = frames.pack(padded(LENGTHS, 6))
    y, out = layer(x, frames)
    assert out.lengths.tolist() == [5, 4, 4, 1] and len(y) == 14
    # the rule by hand: each utterance alone through the convolution, one batch norm over all that comes out
    alone = []
    for piece in x.split(LENGTHS.tolist()):
        if isinstance(layer, Conv1d):
            alone.append(layer.conv(piece.T.unsqueeze(0))[0].T)
        else:
            made = layer.conv(piece.view(len(piece), 3, 2).permute(2, 1, 0).unsqueeze(0))[0]
            alone.append(made.permute(2, 1, 0).reshape(made.shape[2], -1))
    joined = torch.cat(alone).view(-1, layer.norm.num_features)
    if training:
        joined = (joined - joined.mean(0)) / (joined.var(0, correction=0) + layer.norm.eps).sqrt()
    else:
        joined = joined / (1 + layer.norm.eps) ** 0.5
    torch.testing.assert_close(y, joined.clamp(0, 20).view(y.shape), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bidirectional", [True, False])
def test_recurrent_is_a_stock_gru_with_the_norm_folded_into_its_weights(bidirectional):
    torch.manual_seed(0)
    inputs, size = 7, 6
    layer = Recurrent(inputs, size, bidirectional=bidirectional)
    with torch.no_grad():
        layer.norm.weight.uniform_(0.5, 2)
        layer.norm.bias.normal_()
    frames = Frames(LENGTHS)
    x = frames.pack(padded(LENGTHS, inputs))
    # W' = diag(γ/σ) W and b' = β − (γ/σ) W μ, with μ and σ over the valid frames of the whole batch
    projected = x @ layer.project.weight.T
    scale = layer.norm.weight / (projected.var(0, correction=0) + layer.norm.eps).sqrt()
    peer = nn.GRU(inputs, size, bidirectional=bidirectional)
    with torch.no_grad():
        for d, suffix in enumerate(["", "_reverse"][: 1 + bidirectional]):
            getattr(peer, f"weight_ih_l0{suffix}").copy_(scale[:, None] * layer.project.weight)
            getattr(peer, f"bias_ih_l0{suffix}").copy_(layer.norm.bias - scale * projected.mean(0))
            getattr(peer, f"weight_hh_l0{suffix}").copy_(layer.recurrent[d])
            getattr(peer, f"bias_hh_l0{suffix}").zero_()
    expected = [peer(piece.unsqueeze(1))[0].squeeze(1) for piece in x.split(LENGTHS.tolist())]
    summed = torch.cat(expected).view(len(x), -1, size).sum(1)
    torch.testing.assert_close(layer(x, frames), summed, rtol=1e-4, atol=1e-5)


def test_dense_keeps_to_the_clip():
    y = Dense(4, 8)(100 * torch.randn(50, 4))
    assert y.shape == (50, 8) and y.min() >= 0 and y.max() <= CLIP
