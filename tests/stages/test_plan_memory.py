"""The memory of a training step: what the formulas of plan_memory say is what autograd keeps on the CPU."""

from __future__ import annotations

import pytest
import torch

from ds2cli.config.base import build
from ds2cli.config.train import TrainConfig
from ds2cli.nn.network import make_network
from ds2cli.nn.rnn import recurrence
from ds2cli.stages import plan_memory
from ds2cli.stages.model import NetworkSpec

BINS = 20
SMALL = {
    "channels": [24], "kernels": [5], "strides": [2], "rnn_layers": 2, "rnn_size": 32, "fc_layers": 1, "fc_size": 40,
    "dropout": 0.0, "cell": "rnn", "activation": "relu",
}  # fmt: skip
TWO_2D = {"conv": "2d", "channels": [4, 4], "kernels": [5, 5], "strides": [2, 1], "freq_kernels": [5, 5]}
NETWORKS = {
    "simple": {},
    "gru": {"cell": "gru"},
    "no norm": {"norm": "none"},
    "forward": {"bidirectional": False, "row_conv": 4},
    "2d": {**TWO_2D, "freq_strides": [2, 2]},
    "dropout": {"dropout": 0.1},
}


def kept_by_torch(config, lengths, precision):
    """Bytes of the tensors that autograd keeps for backward, without weights, which are kept anyway."""
    net = make_network(config, 29, BINS).train()
    own = {t.untyped_storage().data_ptr() for t in (*net.parameters(), *net.buffers())}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            # the tensor, too: freed memory would be given to another one
            kept[storage.data_ptr()] = storage.nbytes(), tensor
        return tensor

    feats = torch.randn(len(lengths), max(lengths), BINS)
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16")
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), autocast:
        net(feats, torch.tensor(lengths))
    return sum(size for size, _ in kept.values()), sum(p.numel() for p in net.parameters() if p.dim() > 1)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("lengths", [[100] * 6, [200, 150, 100, 60]], ids=["even", "padded"])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_formulas_are_what_autograd_keeps(name, lengths, precision, monkeypatch):
    """With the recurrence in torch, as on a GPU; the network is so small that the statistics of norms show."""
    monkeypatch.setattr(recurrence, "can_run_native", lambda _: False)
    monkeypatch.setattr(plan_memory, "LABELS_PER_FRAME", 0.0)
    # on the CPU dropout keeps a factor for each element, not a bit
    monkeypatch.setattr(plan_memory, "MASK_BYTES", 4 if precision == "float32" else 2)
    config = build(TrainConfig, ("test", {"model": {**SMALL, **NETWORKS[name]}}))
    found, weights = kept_by_torch(config.model, lengths, precision)
    memory = plan_memory.count_memory(NetworkSpec(config.model, 29, BINS, 10.0), config, 1, precision)
    expected = memory.activations(len(lengths), max(lengths), sum(lengths))
    if precision == "bfloat16":
        # the weights as factors, which are among the fixed bytes
        expected += 2 * weights
    assert found == pytest.approx(expected, rel=0.1)


def test_activations_grow_with_the_batch_and_only_with_it():
    config = build(TrainConfig, ("test", {"model": SMALL}))
    memory = plan_memory.count_memory(NetworkSpec(config.model, 29, BINS, 10.0), config, 1, "float32")
    assert memory.activations(0, 100, 0) == 0
    assert memory.activations(8, 100, 800) == pytest.approx(2 * memory.activations(4, 100, 400))
    assert memory.peak(8, 100, 800) > memory.peak(4, 100, 400) > memory.fixed + plan_memory.CONTEXT_BYTES


@pytest.mark.parametrize(
    ("optim", "processes", "precision", "copies"),
    [
        ({"method": "adamw"}, 1, "float32", 4),
        ({"method": "sgd"}, 1, "float32", 3),
        ({"method": "sgd", "ema": 0.99}, 1, "float32", 4),
        ({"method": "sgd"}, 2, "float32", 4),
        ({"method": "sgd"}, 1, "bfloat16", 3.5),
    ],
)
def test_weights_gradients_and_states_of_the_optimizer(optim, processes, precision, copies):
    config = build(TrainConfig, ("test", {"model": SMALL, "optim": optim}))
    network = NetworkSpec(config.model, 29, BINS, 10.0)
    parameters = sum(p.numel() for p in make_network(config.model, 29, BINS).parameters())
    assert plan_memory.count_memory(network, config, processes, precision).fixed == 4 * copies * parameters


def test_the_paper_s_70_m_network():
    """Paper §4.3: 280 MB of weights, 1.5 GB of activations for 64 utterances of 7 s, in the paper's own library.

    Two states per recurrent layer and one output of each other layer, at stride 3, would be 1.7 GB. torch also keeps
    the input of each norm and the gates, reversed, of each layer: three times as much.
    """
    model = {
        "channels": [1760], "kernels": [11], "strides": [3], "cell": "rnn", "activation": "relu", "rnn_layers": 7,
        "rnn_size": 1760, "fc_layers": 1, "fc_size": 1760, "dropout": 0.0,
    }  # fmt: skip
    config = build(TrainConfig, ("test", {"model": model}))
    network = NetworkSpec(config.model, 29, 161, 10.0)
    memory = plan_memory.count_memory(network, config, 1, "float32")
    with torch.device("meta"):
        parameters = sum(p.numel() for p in make_network(*network[:3]).parameters())
    assert 4 * parameters == pytest.approx(280e6, rel=0.03)
    assert 2.5 < memory.activations(64, 700, 44800) / 1.5e9 < 3.5
