from __future__ import annotations

import pytest
import torch
from torch import nn

from ds2cli.nn.layers import Conv1d, Conv2d, Dense, Frames, Recurrent, RowConv, strided_length
from ds2cli.nn.rnn import cudnn
from ds2cli.nn.rnn.cells import CELLS, CLIP, clipped_relu

LENGTHS = torch.tensor([9, 7, 7, 1])


def padded(lengths, width, fill=0.0):
    x = torch.full((len(lengths), int(lengths.max()), width), fill)
    for row, n in zip(x, lengths.tolist(), strict=True):
        row[:n] = torch.randn(n, width)
    return x


def pack_by_hand(rows):
    """Utterances (T, C) packed as `Frames` does it: for each frame in turn, the utterances that reach it."""
    return torch.stack([row[t] for t in range(max(map(len, rows))) for row in rows if t < len(row)])


def split_utterances(packed):
    """The utterances (T, C) of packed rows (M, C); the inverse of `pack_by_hand`."""
    padded = Frames(LENGTHS).unpack(packed)
    return [row[:n] for row, n in zip(padded, LENGTHS.tolist(), strict=True)]


def test_clipped_relu_is_limited_to_0_and_20():
    assert clipped_relu(torch.tensor([-1.0, 3.0, 25.0])).tolist() == [0.0, 3.0, CLIP]


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
def test_strided_length_counts_the_frames_of_a_same_convolution(stride):
    conv = nn.Conv1d(1, 1, 5, stride, 2)
    lengths = torch.arange(1, 14)
    expected = [conv(torch.zeros(1, 1, n)).shape[-1] for n in lengths.tolist()]
    assert strided_length(lengths, stride).tolist() == expected


def test_pack_orders_by_frame_and_unpack_pads_with_zeros():
    frames, x = Frames(LENGTHS), padded(LENGTHS, 3, fill=7.0)
    packed = frames.pack(x)
    assert torch.equal(packed, pack_by_hand([row[:n] for row, n in zip(x, LENGTHS.tolist(), strict=True)]))
    back = frames.unpack(packed)
    assert torch.equal(back, torch.where(x == 7.0, 0.0, x))
    assert torch.equal(frames.unpack(packed, steps_first=True), back.transpose(0, 1))
    assert frames.active.tolist() == [4, 3, 3, 3, 3, 3, 3, 1, 1]
    assert torch.equal(nn.utils.rnn.pack_padded_sequence(back, LENGTHS, batch_first=True).data, packed)


def test_pack_has_the_gradient_of_selecting_rows():
    frames = Frames(LENGTHS)
    x = torch.randn(4, 9, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(frames.pack, (x,))


@pytest.mark.parametrize("layer", [Conv1d(6, 5, 3, 2), Conv2d(2, 3, 4, (3, 5), (2, 2))], ids=["1d", "2d"])
@pytest.mark.parametrize("training", [True, False])
def test_convolutions_ignore_padding(layer, training):
    torch.manual_seed(0)
    layer.train(training)
    layer.norm.reset_running_stats()
    frames = Frames(LENGTHS)
    x = frames.pack(padded(LENGTHS, 6))
    y, out = layer(x, frames)
    assert out.lengths.tolist() == [5, 4, 4, 1] and len(y) == 14
    # by hand: each utterance alone through the convolution, then one batch norm over all frames
    outputs = []
    for piece in split_utterances(x):
        if isinstance(layer, Conv1d):
            outputs.append(layer.conv(piece.T.unsqueeze(0))[0].T)
        else:
            z = layer.conv(piece.view(len(piece), 3, 2).permute(2, 1, 0).unsqueeze(0))[0]
            outputs.append(z.permute(2, 1, 0).reshape(z.shape[2], -1))
    joined = pack_by_hand(outputs).view(-1, layer.norm.num_features)
    if training:
        joined = (joined - joined.mean(0)) / (joined.var(0, correction=0) + layer.norm.eps).sqrt()
    else:
        joined = joined / (1 + layer.norm.eps) ** 0.5
    torch.testing.assert_close(y, joined.clamp(0, 20).view(y.shape), rtol=1e-4, atol=1e-5)


@pytest.fixture(params=CELLS.values(), ids=["-".join(key) for key in CELLS])
def cell(request):
    return request.param


def recurrent_layer(cell, inputs, size, *, bidirectional, norm=True):
    torch.manual_seed(0)
    layer = Recurrent(inputs, size, bidirectional=bidirectional, cell=cell, norm=norm)
    with torch.no_grad():
        if norm:
            layer.norm.weight.uniform_(0.5, 2)
            layer.norm.bias.normal_()
    return layer


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_recurrent_is_equation_8_computed_frame_by_frame(cell, bidirectional, norm):
    inputs, size = 7, 6
    layer = recurrent_layer(cell, inputs, size, bidirectional=bidirectional, norm=norm)
    frames = Frames(LENGTHS)
    x = frames.pack(padded(LENGTHS, inputs))
    y = x @ layer.project.weight.T
    if norm:  # over all valid frames of the batch
        y = (y - y.mean(0)) / (y.var(0, correction=0) + layer.norm.eps).sqrt() * layer.norm.weight + layer.norm.bias
    else:
        y = y + layer.project.bias
    expected = []
    for piece in split_utterances(y):
        out = torch.zeros(len(piece), size)
        for d, matrix in enumerate(layer.recurrent):
            state = (torch.zeros(size),) * cell.states
            for t in range(len(piece))[:: -1 if d else 1]:
                state = cell.step(piece[t], matrix @ state[0], state)
                out[t] += state[0]
        expected.append(out)
    torch.testing.assert_close(layer(x, frames), pack_by_hand(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("key", [key for key, cell in CELLS.items() if cell.fused], ids="-".join)
def test_the_fused_layer_gives_the_same_results(key, bidirectional, norm, training, monkeypatch):
    """torch's fused kernels (here on the CPU), with the norm folded into the weights."""
    layer = recurrent_layer(CELLS[key], 7, 6, bidirectional=bidirectional, norm=norm).double().train(training)
    frames = Frames(LENGTHS)
    x = frames.pack(padded(LENGTHS, 7)).double().requires_grad_()
    seed = torch.randn(len(x), 6, dtype=torch.float64)
    results = []
    for fused in (False, True):
        if norm:
            layer.norm.reset_running_stats()
            layer.norm.running_mean.fill_(0.3)
        monkeypatch.setattr(cudnn, "can_run_fused", lambda *_, fused=fused: fused)
        y = layer(x, frames)
        state = [b.clone() for b in layer.buffers()]
        results.append([y, *torch.autograd.grad(y, [x, *layer.parameters()], seed), *state])
    for actual, desired in zip(*results, strict=True):
        torch.testing.assert_close(actual, desired, rtol=1e-9, atol=1e-10)


def test_row_convolution_is_equation_11_as_loops():
    torch.manual_seed(0)
    size, ahead = 5, 3
    layer, frames = RowConv(size, ahead), Frames(LENGTHS)
    x = frames.pack(padded(LENGTHS, size))
    expected = []
    for h in split_utterances(x):
        r = torch.zeros_like(h)
        for t in range(len(h)):
            for i in range(size):
                for j in range(1, ahead + 2):
                    if t + j - 1 < len(h):  # the end of the utterance, not of the batch
                        r[t, i] += layer.weight[i, j - 1] * h[t + j - 1, i]
        expected.append(r)
    torch.testing.assert_close(layer(x, frames), pack_by_hand(expected), rtol=1e-5, atol=1e-6)
    assert sum(p.numel() for p in layer.parameters()) == size * (ahead + 1)


def test_a_new_row_convolution_hardly_looks_ahead():
    """Its training starts as that of a network without one."""
    layer, frames = RowConv(8, 40), Frames(torch.tensor([9, 5]))
    x = torch.randn(14, 8)
    assert (layer(x, frames) - x).abs().max() < 0.1 * x.abs().max()


def test_row_convolution_has_the_right_gradient():
    layer, frames = RowConv(3, 2).double(), Frames(torch.tensor([4, 1]))
    x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, _: layer(x, frames), (x, layer.weight))


def test_dense_output_is_clipped():
    y = Dense(4, 8)(100 * torch.randn(50, 4))
    assert y.shape == (50, 8) and y.min() >= 0 and y.max() <= CLIP


def test_each_gate_of_each_direction_starts_with_an_orthogonal_matrix(cell):
    layer = recurrent_layer(cell, 7, 6, bidirectional=True)
    for direction in layer.recurrent:
        for gate in direction.detach().split(6):
            torch.testing.assert_close(gate @ gate.T, torch.eye(6), rtol=0, atol=1e-5)
