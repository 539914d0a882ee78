from __future__ import annotations

from functools import partial

import pytest
import torch

from ds2cli import native
from ds2cli.nn.rnn import cudnn
from ds2cli.nn.rnn.cells import CELLS, CLIP, GRU
from ds2cli.nn.rnn.recurrence import rnn_advance, rnn_packed, rnn_padded, rnn_reference, rnn_torch

NAMES = ["-".join(key) for key in CELLS]
NATIVE = pytest.mark.skipif(not native.available(), reason="the native library is not built")

# D, T, N, H, lengths: one frame, one row, odd widths, unequal lengths, empty rows, more rows than a tile
SHAPES = [
    (1, 1, 1, 5, [1]),
    (2, 1, 3, 8, [1, 1, 1]),
    (2, 7, 4, 33, [7, 5, 5, 1]),
    (1, 20, 9, 70, [20, 20, 19, 12, 11, 11, 3, 1, 1]),
    (2, 9, 13, 16, [9, 9, 8, 8, 8, 7, 6, 5, 4, 3, 2, 1, 1]),
    (2, 20, 19, 64, [20 - n for n in range(19)]),
    (2, 5, 3, 8, [4, 0, 0]),
    (2, 12, 16, 48, [12] * 16),
]


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=CELLS.values(), ids=NAMES)
def cell(request):
    return request.param


def make_inputs(cell, D, T, N, H, lengths, dtype=torch.float64, scale=1.0):
    torch.manual_seed(T * N + H)
    G = cell.gates
    gates = (scale * torch.randn(T, N, G * H, dtype=torch.float64)).to(dtype).requires_grad_()
    recurrent = (torch.randn(D, G * H, H, dtype=torch.float64) / H**0.5).to(dtype).requires_grad_()
    return cell, gates, recurrent, torch.tensor(lengths), torch.randn(D, T, N, H, dtype=torch.float64).to(dtype)


def run(function, cell, gates, recurrent, lengths, seed):
    h = function(cell, gates, recurrent, lengths)
    return h.detach(), *torch.autograd.grad(h, (gates, recurrent), seed)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_torch_equals_the_reference(cell, shape):
    arguments = make_inputs(cell, *shape)
    for actual, desired in zip(run(rnn_torch, *arguments), run(rnn_reference, *arguments), strict=True):
        torch.testing.assert_close(actual, desired, rtol=1e-12, atol=1e-13)


@NATIVE
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_native_equals_the_reference_in_float64(cell, shape):
    _, gates, recurrent, lengths, seed = make_inputs(cell, *shape, dtype=torch.float32)
    found = run(rnn_padded, cell, gates, recurrent, lengths, seed)
    wide = [gates.detach().double().requires_grad_(), recurrent.detach().double().requires_grad_()]
    expected = run(rnn_reference, cell, *wide, lengths, seed.double())
    assert float((found[0].double() - expected[0]).abs().max()) < 1e-6 * max(1.0, float(expected[0].abs().max()))
    for actual, desired in zip(found[1:], expected[1:], strict=True):
        assert float((actual.double() - desired).abs().max()) <= 2e-6 * max(1.0, float(desired.abs().max()))


@NATIVE
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_results_are_bit_identical_for_any_number_of_threads(cell, shape):
    results = []
    for count in (1, 2, 3, 8, 1):
        torch.set_num_threads(count)
        results.append(run(rnn_padded, *make_inputs(cell, *shape, dtype=torch.float32)))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@NATIVE
@pytest.mark.parametrize("D", [1, 2])
def test_a_row_does_not_depend_on_the_rest_of_the_batch(cell, D):
    _, gates, recurrent, lengths, _ = make_inputs(
        cell, D, 12, 11, 40, [12] * 5 + [9, 8, 8, 5, 2, 1], dtype=torch.float32
    )
    together = rnn_padded(cell, gates, recurrent, lengths)
    for n in range(11):
        single = rnn_padded(cell, gates[: lengths[n], n : n + 1], recurrent, lengths[n : n + 1])
        assert torch.equal(together[:, : lengths[n], n], single[:, :, 0])
        assert not together[:, lengths[n] :, n].any()


PEERS = {
    ("gru", "tanh"): torch.nn.GRU,
    ("rnn", "tanh"): torch.nn.RNN,
    ("rnn", "relu"): partial(torch.nn.RNN, nonlinearity="relu"),
    ("lstm", "tanh"): torch.nn.LSTM,
}


@pytest.mark.parametrize("function", [rnn_padded, rnn_torch])
@pytest.mark.parametrize("D", [1, 2])
@pytest.mark.parametrize("key", PEERS, ids="-".join)
def test_equals_torchs_module_on_full_rows(key, function, D):
    """torch does not clip its ReLU, so the states are kept below our clip."""
    torch.manual_seed(1)
    H, x = 24, torch.randn(15, 5, 10)
    peer = PEERS[key](10, H, bidirectional=D == 2)
    with torch.no_grad():
        peer.bias_hh_l0.zero_()
        if D == 2:  # the directions share the input projection
            peer.bias_hh_l0_reverse.zero_()
            peer.weight_ih_l0_reverse.copy_(peer.weight_ih_l0)
            peer.bias_ih_l0_reverse.copy_(peer.bias_ih_l0)
    weights = [peer.weight_hh_l0, peer.weight_hh_l0_reverse][:D] if D == 2 else [peer.weight_hh_l0]
    gates = torch.nn.functional.linear(x, peer.weight_ih_l0, peer.bias_ih_l0)
    expected = peer(x)[0]
    assert float(expected.detach().abs().max()) < CLIP
    found = function(CELLS[key], gates, torch.stack(weights), torch.full((5,), 15))
    torch.testing.assert_close(torch.cat(list(found), dim=-1), expected, rtol=1e-4, atol=5e-6)


@pytest.mark.parametrize("key", [("rnn", "relu"), ("gru", "relu")], ids="-".join)
@pytest.mark.parametrize("function", [rnn_padded, rnn_torch, rnn_reference])
def test_the_gradient_is_zero_at_and_beyond_the_limits_of_the_clip(key, function):
    """One unit and one frame: the state is f(x), and the gradient that of f; a GRU halves both by z = 1/2."""
    values = torch.tensor([-1.0, 0.0, 1e-6, 7.0, 19.999, 20.0, 20.5])
    expected, slope = values.clamp(0, 20), torch.tensor([0.0, 0, 1, 1, 1, 0, 0])
    cell, zeros = CELLS[key], torch.zeros(7)
    share = 1.0 if cell.gates == 1 else 0.5
    x = torch.stack([*[zeros] * (cell.gates - 1), values], dim=-1).unsqueeze(0).requires_grad_()
    h = function(cell, x, torch.zeros(1, cell.gates, 1), torch.ones(7, dtype=torch.int64))
    torch.testing.assert_close(h[0, 0, :, 0], share * expected)
    (dx,) = torch.autograd.grad(h.sum(), x)
    torch.testing.assert_close(dx[0, :, -1], share * slope)


@pytest.mark.parametrize("function", [rnn_reference, rnn_torch])
def test_gradcheck(cell, function):
    _, gates, recurrent, lengths, _ = make_inputs(cell, 2, 3, 2, 2, [3, 1])
    assert torch.autograd.gradcheck(lambda x, u: function(cell, x, u, lengths), (gates, recurrent))


@pytest.mark.parametrize("function", [rnn_padded, rnn_torch])
def test_a_nan_stays_in_its_row(cell, function):
    _, gates, recurrent, lengths, seed = make_inputs(
        cell, 2, 9, 10, 20, [9] * 4 + [7] * 3 + [3] * 3, dtype=torch.float32
    )
    with torch.no_grad():
        gates[4, 5] = torch.nan
    h, dgates, drecurrent = run(function, cell, gates, recurrent, lengths, seed)
    bad = h.isnan().any(dim=3).any(dim=1).any(dim=0)
    assert bad.tolist() == [n == 5 for n in range(10)]
    assert h[0, 4:7, 5].isnan().all()
    assert h[0, :4, 5].isfinite().all()
    # beyond its limits a ReLU has gradient zero whatever the state, so the row of a simple cell may stay finite
    assert not dgates[:, torch.arange(10) != 5].isnan().any()
    assert drecurrent.isnan().any()


@pytest.mark.parametrize("function", [rnn_padded, rnn_torch])
def test_padding_is_not_read_and_has_no_gradient(cell, function):
    _, gates, recurrent, lengths, seed = make_inputs(cell, 2, 6, 3, 12, [6, 4, 1], dtype=torch.float32)
    expected = run(function, cell, gates, recurrent, lengths, seed)
    padding = torch.arange(6)[:, None] >= lengths
    with torch.no_grad():
        gates[padding] = 1e30
        seed[:, padding] = 1e30
    found = run(function, cell, gates, recurrent, lengths, seed)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert not found[0][:, padding].any()
    assert not found[1][padding].any()


@pytest.mark.parametrize("function", [rnn_padded, rnn_torch])
@pytest.mark.parametrize("value", [50.0, -50.0, 1e4, -1e4, 1e-30])
def test_extreme_inputs_give_finite_results(cell, function, value):
    _, gates, recurrent, lengths, seed = make_inputs(cell, 2, 8, 3, 17, [8, 8, 2], dtype=torch.float32)
    with torch.no_grad():
        gates.copy_(value * gates.sign())
    for result in run(function, cell, gates, recurrent, lengths, seed):
        assert result.isfinite().all()


@NATIVE
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_autocast_rounds_only_the_factors_of_products(cell, shape):
    arguments = make_inputs(cell, *shape, dtype=torch.float32)
    expected = run(rnn_padded, *arguments)
    with torch.autocast("cpu", torch.bfloat16):
        found = run(rnn_padded, *arguments)
        torch.set_num_threads(3)
        second_run = run(rnn_padded, *arguments)
    assert found[0].dtype == torch.float32
    relu = cell in (CELLS["rnn", "relu"], CELLS["gru", "relu"])  # their slope jumps where a rounded state crosses 0
    assert float((found[0] - expected[0]).abs().max()) < 0.03 * max(1.0, float(expected[0].abs().max()))
    for actual, desired, repeated in zip(found, expected, second_run, strict=True):
        assert torch.equal(actual, repeated)
        assert float((actual - desired).norm()) <= (0.1 if relu else 0.02) * float(desired.norm())


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_simple_cell_without_the_library_computes_in_the_autocast_dtype(shape):
    for key in (("rnn", "tanh"), ("rnn", "relu")):
        arguments = make_inputs(CELLS[key], *shape, dtype=torch.float32)
        expected = run(rnn_torch, *arguments)
        with torch.autocast("cpu", torch.bfloat16):
            found = run(rnn_torch, *arguments)
        assert [x.dtype for x in found] == [torch.float32] * 3
        assert torch.equal(found[0], found[0].bfloat16().float())
        for actual, desired in zip(found, expected, strict=True):
            assert float((actual - desired).norm()) <= 0.15 * float(desired.norm())


@NATIVE
@pytest.mark.parametrize("function", [rnn_padded, rnn_packed])
def test_bfloat16_gates_are_converted_to_float32(cell, function):
    _, gates, recurrent, lengths, seed = make_inputs(cell, *SHAPES[4], dtype=torch.float32)
    if function is rnn_packed:
        valid = torch.arange(len(gates))[:, None] < lengths
        gates, seed = gates[valid], seed[0][valid]
    rounded = gates.detach().bfloat16().requires_grad_()
    found = run(function, cell, rounded, recurrent, lengths, seed)
    expected = run(function, cell, rounded.detach().float().requires_grad_(), recurrent, lengths, seed)
    assert found[1].dtype == torch.bfloat16
    assert torch.equal(found[0], expected[0])
    torch.testing.assert_close(found[1].float(), expected[1], rtol=1e-2, atol=1e-6)


@pytest.mark.parametrize("library", [True, False])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_packed_equals_the_valid_frames_summed_over_directions(cell, shape, library, monkeypatch):
    if library and not native.available():
        pytest.skip("the native library is not built")
    _, gates, recurrent, lengths, seed = make_inputs(cell, *shape, dtype=torch.float32)
    valid = torch.arange(shape[1])[:, None] < lengths
    seed[1:] = seed[0]
    h, dgates, drecurrent = run(rnn_padded, cell, gates, recurrent, lengths, seed)
    expected = h.sum(0)[valid], dgates[valid], drecurrent
    monkeypatch.setattr(native, "available", lambda: library)
    found = run(rnn_packed, cell, gates.detach()[valid].requires_grad_(), recurrent, lengths, seed[0][valid])
    for actual, desired in zip(found, expected, strict=True):
        assert torch.equal(actual, desired) if library else torch.allclose(actual, desired, rtol=1e-4, atol=1e-5)


def test_packed_gates_must_match_the_lengths():
    with pytest.raises(ValueError, match="each of 5 frames, got 6"):
        rnn_packed(GRU, torch.zeros(6, 9), torch.zeros(1, 9, 3), torch.tensor([3, 2]))


@NATIVE
def test_states_are_the_same_without_a_gradient(cell):
    _, gates, recurrent, lengths, _ = make_inputs(cell, 2, 8, 3, 17, [8, 8, 2], dtype=torch.float32)
    expected = rnn_padded(cell, gates, recurrent, lengths)
    with torch.no_grad():
        assert torch.equal(rnn_padded(cell, gates, recurrent, lengths), expected)


@NATIVE
def test_strided_arguments_give_the_same_results(cell):
    _, gates, recurrent, lengths, seed = make_inputs(cell, 2, 8, 3, 17, [8, 8, 2], dtype=torch.float32)
    expected = run(rnn_padded, cell, gates, recurrent, lengths, seed)
    swapped = gates.detach().transpose(0, 1).contiguous().transpose(0, 1).requires_grad_()
    transposed = recurrent.detach().mT.contiguous().mT.requires_grad_()
    assert not swapped.is_contiguous()
    found = run(
        rnn_padded,
        cell,
        swapped,
        transposed,
        lengths.to(torch.int64),
        seed.transpose(0, 1).contiguous().transpose(0, 1),
    )
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@NATIVE
def test_float32_without_the_library_gives_the_same_results(cell, monkeypatch):
    arguments = make_inputs(cell, *SHAPES[4], dtype=torch.float32)
    expected = run(rnn_padded, *arguments)
    monkeypatch.setattr(native, "available", lambda: False)
    for actual, desired in zip(run(rnn_padded, *arguments), expected, strict=True):
        torch.testing.assert_close(actual, desired, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("gates", "recurrent", "lengths", "message"),
    [
        ((4, 2, 9), (1, 9, 3), [3, 4], "longest first"),
        ((4, 2, 9), (1, 9, 3), [5, 4], r"in 0\.\.4"),
        ((4, 2, 9), (1, 9, 3), [4], "expected 2 lengths"),
        ((4, 2, 9), (1, 9, 3), [4, -1], "not negative"),
        ((4, 2, 9), (3, 9, 3), [4, 4], "do not fit"),
        ((4, 2, 9), (1, 6, 2), [4, 4], "do not fit"),
    ],
)
def test_mismatched_arguments_are_refused(gates, recurrent, lengths, message):
    with pytest.raises(ValueError, match=message):
        rnn_padded(GRU, torch.zeros(gates), torch.zeros(recurrent), torch.tensor(lengths))


@pytest.mark.parametrize("shape", [(0, 3, 6), (4, 0, 6)])
def test_empty_input_gives_empty_output(shape):
    gates, recurrent = torch.zeros(shape, requires_grad=True), torch.zeros(2, 6, 2, requires_grad=True)
    h = rnn_padded(GRU, gates, recurrent, torch.zeros(shape[1], dtype=torch.int64))
    assert h.shape == (2, *shape[:2], 2)


def advance_in_pieces(advance, inputs, state, size):
    """The hidden states of all frames, computed `size` frames at a time, and the last state."""
    parts = []
    for piece in inputs.split(size):
        h, state = advance(piece, state)
        parts.append(h)
    return torch.cat(parts), state


@pytest.mark.parametrize("size", [1, 3, 20])
@pytest.mark.parametrize("streams", [1, 4])
@pytest.mark.parametrize("kind", [torch.float64, pytest.param(torch.float32, marks=NATIVE), "bfloat16"], ids=str)
def test_pieces_continue_the_recurrence(cell, kind, streams, size):
    """In torch to rounding, as a product may add up in another order; natively to the bit, in both precisions."""
    is_native, dtype = kind != torch.float64, torch.float32 if kind == "bfloat16" else kind
    if is_native and not native.available():
        pytest.skip("the native library is not built")
    _, gates, recurrent, lengths, _ = make_inputs(cell, 1, 20, streams, 33, [20] * streams, dtype)
    with torch.inference_mode(), torch.autocast("cpu", enabled=kind == "bfloat16"):
        whole = rnn_padded(cell, gates, recurrent, lengths)[0]
        zeros = torch.zeros(cell.states, streams, 33, dtype=dtype)
        joined, state = advance_in_pieces(lambda x, s: rnn_advance(cell, x, recurrent, s), gates, zeros, size)
        torch.testing.assert_close(joined, whole, rtol=0, atol=0 if is_native else 1e-13)
        assert torch.equal(state[0], joined[-1])
    assert not zeros.any()


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
@pytest.mark.parametrize("key", [key for key, cell in CELLS.items() if cell.fused], ids="-".join)
def test_pieces_continue_a_fused_layer(key, device):
    cell, H = CELLS[key], 8
    torch.manual_seed(0)
    x, weight = torch.randn(20, 2, 5, device=device), torch.randn(cell.gates * H, 5, device=device)
    bias, recurrent = torch.randn(cell.gates * H, device=device), torch.randn(1, cell.gates * H, H, device=device) / 3
    with torch.inference_mode():
        whole = rnn_padded(cell, x @ weight.T + bias, recurrent, torch.tensor([20, 20]))[0]
        state = torch.zeros(cell.states, 2, H, device=device)
        joined, _ = advance_in_pieces(
            lambda x, s: cudnn.advance_fused(cell, x, weight, bias, recurrent, s), x, state, 7
        )
    torch.testing.assert_close(joined, whole, rtol=1e-4, atol=1e-5)
