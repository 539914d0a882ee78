"""The fused layers inside a network in training: through the same code on a GPU and, with torch's CPU kernels, here."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from ds2cli.config.model import ModelConfig
from ds2cli.nn.distributed.gradients import GradientReducer
from ds2cli.nn.distributed.process_group import ProcessGroup
from ds2cli.nn.models.ds2 import DeepSpeech2
from ds2cli.nn.norm import SequenceNorm
from ds2cli.nn.rnn import cudnn
from ds2cli.nn.rnn.cells import CELLS
from ds2cli.train.backward import Backward
from ds2cli.train.batches import Batch

BINS, SYMBOLS = 6, 5
TOLERANCES = {torch.float32: 1e-4, torch.float16: 0.1, torch.bfloat16: 0.15}
"""Of the gradient, relative to its norm; the products of half precision have 11 and 8 bits."""


def make_batch() -> Batch:
    """Noise, 40 to 9 frames, with a label for each four."""
    generator = torch.Generator().manual_seed(3)
    lengths = torch.tensor([40, 20, 14, 9])
    counts = lengths // 4
    feats = torch.randn(4, 40, BINS, generator=generator)
    targets = torch.randint(1, SYMBOLS, (4, 10), generator=generator)
    return Batch([str(n) for n in range(4)], feats, lengths, targets, counts)


def compute_gradient(device, cell, norm="batch", precision=torch.float32, calls=None, monkeypatch=None):
    """Costs, gradient and running statistics of a network on a device; `calls` counts its fused layers."""
    config = ModelConfig(
        channels=(8,), kernels=(3,), strides=(2,), rnn_layers=2, rnn_size=8, fc_layers=1, fc_size=8,
        dropout=0.0, cell=cell[0], activation=cell[1], norm=norm,
    )  # fmt: skip
    torch.manual_seed(7)
    model = DeepSpeech2(config, SYMBOLS, BINS).to(device)
    backward = Backward(
        model, GradientReducer(list(model.parameters()), ProcessGroup(device=device)), precision, "native"
    )
    if calls is not None:
        run_fused = cudnn.run_fused
        monkeypatch.setattr(cudnn, "run_fused", lambda *a: calls.append(1) or run_fused(*a))
    sums = backward([make_batch()], 1)
    gradient = torch.cat([p.grad.flatten() for p in model.parameters()])
    return sums.cost, gradient.cpu(), {name: value.cpu() for name, value in model.named_buffers()}


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
@pytest.mark.parametrize("precision", TOLERANCES, ids=str)
@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("key", CELLS, ids="-".join)
def test_a_network_has_the_same_gradients(key, norm, precision, device, monkeypatch):
    """As frame by frame in float32, with the loss, the autocast and the statistics of training."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(cudnn, "DEVICES", ())
    cost, gradient, statistics = compute_gradient(torch.device("cpu"), key, norm)
    monkeypatch.setattr(cudnn, "DEVICES", (device,))
    calls = []
    fused = compute_gradient(torch.device(device), key, norm, precision, calls, monkeypatch)
    assert len(calls) == (2 if CELLS[key].fused else 0)
    # the slope of a ReLU jumps where a rounded state crosses 0
    tolerance = TOLERANCES[precision] * (3 if key[1] == "relu" else 1)
    assert fused[0] == pytest.approx(cost, rel=tolerance / 10)
    assert float((fused[1] - gradient).norm()) < tolerance * float(gradient.norm())
    assert fused[2].keys() == statistics.keys()
    for name, value in statistics.items():
        torch.testing.assert_close(fused[2][name], value, rtol=tolerance, atol=tolerance)


def test_a_layer_runs_fused_on_a_gpu_if_torch_has_the_cell_and_the_norm_is_its_own():
    on_gpu = SimpleNamespace(device=torch.device("cuda", 0))
    norm = SequenceNorm(4)
    for key, cell in CELLS.items():
        assert cudnn.can_run_fused(cell, norm, on_gpu) == (cell.fused is not None) == (key[1] == "tanh")
        assert not cudnn.can_run_fused(cell, norm, torch.zeros(1))
    gru = CELLS["gru", "tanh"]
    norm.group = ProcessGroup(size=2)
    assert not cudnn.can_run_fused(gru, norm, on_gpu)
    assert cudnn.can_run_fused(gru, norm.eval(), on_gpu)
    assert cudnn.can_run_fused(gru, torch.nn.Identity(), on_gpu)
