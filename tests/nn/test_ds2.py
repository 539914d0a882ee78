from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from ds2cli.config.base import build
from ds2cli.config.model import ModelConfig
from ds2cli.errors import UsageError
from ds2cli.nn.models.ds2 import DeepSpeech2
from ds2cli.nn.rnn.cells import CELLS

SMALL = {"rnn_layers": 2, "rnn_size": 12}
ONE_D = ModelConfig(channels=(8, 10), kernels=(5, 3), strides=(2, 2), **SMALL)
TWO_D = ModelConfig(
    conv="2d", channels=(2, 3), kernels=(5, 3), strides=(2, 1), freq_kernels=(5, 3), freq_strides=(2, 2), **SMALL
)
RELU = ModelConfig(channels=(8,), kernels=(5,), strides=(2,), cell="rnn", activation="relu", norm="none", **SMALL)
LOOKAHEAD = ModelConfig(
    channels=(8,), kernels=(5,), strides=(2,), bidirectional=False, row_conv=3, fc_layers=1, fc_size=7, **SMALL
)
LSTM = ModelConfig(channels=(8,), kernels=(5,), strides=(2,), cell="lstm", **SMALL)
DENSE = ModelConfig(channels=(8,), kernels=(5,), strides=(3,), fc_layers=2, fc_size=9, rnn_layers=0)
CONFIGS = {"1d": ONE_D, "2d": TWO_D, "dense": DENSE, "relu": RELU, "lookahead": LOOKAHEAD, "lstm": LSTM}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_an_utterance_scores_the_same_alone_and_in_a_batch(config):
    torch.manual_seed(0)
    model = DeepSpeech2(config, 6, 20).eval()
    lengths = torch.tensor([31, 30, 17, 2, 1])
    feats = torch.full((5, 31, 20), torch.nan)
    for row, n in zip(feats, lengths.tolist(), strict=True):
        row[:n] = torch.randn(n, 20)
    together, steps = model(feats, lengths)
    assert steps.tolist() == model.num_steps(lengths).tolist() == [-(-n // model.stride) for n in lengths.tolist()]
    for i, n in enumerate(lengths.tolist()):
        single, _ = model(feats[i : i + 1, :n], lengths[i : i + 1])
        torch.testing.assert_close(together[: steps[i], i], single[:, 0], rtol=1e-4, atol=1e-5)
        assert not together[steps[i] :, i].any()


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_every_parameter_gets_a_gradient(config):
    model = DeepSpeech2(config, 6, 20)
    logits, _ = model(torch.randn(3, 9, 20), torch.tensor([9, 6, 1]))
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_the_model_normalizes_raw_features():
    torch.manual_seed(0)
    model = DeepSpeech2(ONE_D, 6, 20).eval()
    x, lengths = torch.randn(1, 12, 20), torch.tensor([12])
    plain = model(x, lengths)[0]
    model.mean.fill_(-9.0)
    model.std.fill_(3.0)
    torch.testing.assert_close(model(3 * x - 9, lengths)[0], plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("ahead", [0, 3])
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_a_forward_only_network_sees_no_further_than_its_filters(cell, ahead):
    torch.manual_seed(0)
    config = ModelConfig(
        channels=(8,), kernels=(5,), strides=(2,), cell=cell, bidirectional=False, row_conv=ahead, **SMALL
    )
    model = DeepSpeech2(config, 6, 20).eval()
    x, lengths = torch.randn(1, 40, 20), torch.tensor([40])
    changed = x.clone()
    changed[:, 26:] += 1  # a step t reads frames up to 2 (t + ahead) + 2
    before, after = model(x, lengths)[0], model(changed, lengths)[0]
    last = 12 - ahead
    assert torch.equal(before[:last], after[:last]) and not torch.equal(before[last], after[last])


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_dropout_follows_every_layer_with_a_nonlinearity(config):
    """With a share of 0.9 the next layer sees zeros in nine of ten places."""
    torch.manual_seed(0)
    model = DeepSpeech2(replace(config, dropout=0.9), 6, 20)
    layers = [*model.convs, *model.rnns, *model.dense, model.norm]
    shares = {}
    for i, layer in enumerate(layers):
        layer.register_forward_pre_hook(lambda _, x, i=i: shares.update({i: float((x[0] == 0).float().mean())}))
    model(torch.randn(4, 90, 20), torch.tensor([90, 80, 70, 60]))
    # the row convolution has neither a nonlinearity nor dropout
    after_row_conv = {len(model.convs) + len(model.rnns)} if model.row_conv is not None else set()
    assert shares.keys() == set(range(len(layers))) and shares[0] == 0
    assert all(share > 0.8 for i, share in shares.items() if i and i not in after_row_conv), shares


def test_padding_does_not_affect_the_statistics():
    torch.manual_seed(0)
    model = DeepSpeech2(replace(RELU, norm="batch", dropout=0.0), 6, 20)
    lengths = torch.tensor([14, 9, 1])
    x = torch.randn(3, 14, 20)
    first = model(x, lengths)[0]
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm1d)]
    statistics = [(norm.running_mean.clone(), norm.running_var.clone()) for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
    for row, n in zip(x, lengths.tolist(), strict=True):
        row[n:] = torch.nan
    assert torch.equal(model(x, lengths)[0], first)
    for norm, (mean, var) in zip(norms, statistics, strict=True):
        assert torch.equal(norm.running_mean, mean) and torch.equal(norm.running_var, var)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"channels": ()}, "1 to 3 convolutions"),
        ({"channels": (1, 1, 1, 1)}, "1 to 3 convolutions"),
        ({"channels": (8, 8), "kernels": (5,)}, "model.kernels: expected 2 values"),
        ({"channels": (8, 8), "strides": (2,)}, "model.strides: expected 2 values, .* got 1"),
        ({"conv": "2d", "channels": (8, 8), "freq_strides": (2,)}, "model.freq_strides: expected 2 values, .* got 1"),
        ({"channels": (8,), "kernels": (4,)}, "odd"),
        ({"conv": "2d", "channels": (8,), "freq_kernels": (4,)}, "model.freq_kernels"),
        (
            {"cell": "lstm", "activation": "relu"},
            r"model.activation: expected tanh with cell lstm.*model.activation=tanh",
        ),
        ({"row_conv": 3}, r"model.row_conv: expected 0 in a bidirectional network, got 3.*model.bidirectional=false"),
    ],
)
def test_contradictory_settings_are_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        ModelConfig(**settings)


def test_settings_of_an_older_checkpoint_build_the_same_network():
    """The settings in an older checkpoint, the names of its weights, and the initial weights from a seed."""
    old = {"conv": "1d", "channels": [8], "kernels": [5], "strides": [2], "rnn_layers": 1, "rnn_size": 4}
    old |= {"bidirectional": True, "fc_layers": 1, "fc_size": 5, "dropout": 0.1, "freq_kernels": [41]}
    config = build(ModelConfig, ("its settings", old))
    assert (config.cell, config.activation, config.norm, config.row_conv) == ("gru", "tanh", "batch", 0)
    norm = [f"norm.{part}" for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")]
    names = ["mean", "std", "convs.0.conv.weight", *(f"convs.0.{n}" for n in norm)]
    names += ["rnns.0.recurrent", "rnns.0.project.weight", *(f"rnns.0.{n}" for n in norm)]
    names += ["dense.0.linear.weight", *(f"dense.0.{n}" for n in norm), *norm, "output.weight", "output.bias"]
    torch.manual_seed(0)
    state = DeepSpeech2(config, 6, 20).state_dict()
    assert list(state) == names
    assert state["rnns.0.recurrent"].shape == (2, 12, 4)
    assert float(state["output.weight"].double().sum()) == pytest.approx(-4.165524221, abs=1e-6)


def test_two_2d_convolutions_give_the_features_of_the_paper():
    """Paper §3.5 with 161 bins: 32 maps of 41 bins after two 2d convolutions are 1312 features per frame."""
    config = ModelConfig(conv="2d", channels=(32, 32), kernels=(11, 11), strides=(2, 1), rnn_layers=1, rnn_size=16)
    model = DeepSpeech2(config, 29, 161)
    assert model.rnns[0].project.in_features == 1312


def test_the_table_of_layers_names_their_settings():
    def table(**settings):
        layers = DeepSpeech2(ModelConfig(**settings), 6, 20).list_layers()
        return [(layer.name, layer.what, layer.shape, layer.stride) for layer in layers]

    front = {"channels": (2, 3), "kernels": (5, 3), "strides": (2, 3), "rnn_layers": 1, "rnn_size": 4}
    assert table(conv="2d", freq_kernels=(7, 9), freq_strides=(4, 1), cell="lstm", **front) == [
        ("conv1", "2d 7x5, stride 4x2", (5, 2), 2),
        ("conv2", "2d 9x3, stride 1x3", (5, 3), 6),
        ("rnn1", "lstm, both directions", (4,), 6),
        ("output", "softmax", (6,), 6),
    ]
    assert table(activation="relu", bidirectional=False, row_conv=3, fc_layers=2, fc_size=7, **front) == [
        ("conv1", "1d 5, stride 2", (2,), 2),
        ("conv2", "1d 3, stride 3", (3,), 6),
        ("rnn1", "gru, relu, forward", (4,), 6),
        ("row_conv", "3 steps ahead", (4,), 6),
        ("fc1", "relu", (7,), 6),
        ("fc2", "relu", (7,), 6),
        ("output", "softmax", (6,), 6),
    ]


def test_settings_of_convolutions_that_the_network_does_not_have_do_not_count():
    config = ModelConfig(channels=(8,), kernels=(5, 9), strides=(2, 3), freq_kernels=(4,), bidirectional=False)
    assert (config.stride, config.look_ahead) == (2, 2)
    assert DeepSpeech2(config, 6, 20).num_steps(torch.tensor([9])).tolist() == [5]


@pytest.mark.parametrize("key", CELLS, ids="-".join)
@pytest.mark.parametrize("bidirectional", [True, False])
def test_recurrent_layers_have_the_cell_of_the_settings(key, bidirectional):
    cell, activation = key
    config = ModelConfig(cell=cell, activation=activation, bidirectional=bidirectional, rnn_layers=2, rnn_size=4)
    rnns = DeepSpeech2(config, 6, 20).rnns
    assert [rnn.cell for rnn in rnns] == [CELLS[key]] * 2
    shape = (2 if bidirectional else 1, 4 * CELLS[key].gates, 4)
    assert [tuple(rnn.recurrent.shape) for rnn in rnns] == [shape] * 2


def test_the_utterance_mean_makes_an_offset_of_the_features_irrelevant():
    config = ModelConfig(channels=(8,), kernels=(5,), strides=(2,), rnn_layers=1, rnn_size=6, input_norm="utterance")
    torch.manual_seed(0)
    model = DeepSpeech2(config, 5, 4).eval()
    feats, lengths = torch.randn(3, 11, 4), torch.tensor([11, 7, 1])
    feats[1, 7:], feats[2, 1:] = math.nan, math.inf
    offset = torch.randn(3, 1, 4)
    logits, steps = model(feats, lengths)
    moved, _ = model(feats + offset, lengths)
    alone, _ = model(feats[1:2, :7], lengths[1:2])
    valid = (torch.arange(6)[:, None] < steps)[..., None]
    assert torch.isfinite(logits.where(valid, 0)).all()
    torch.testing.assert_close(logits.where(valid, 0), moved.where(valid, 0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(logits[:4, 1], alone[:, 0], rtol=1e-4, atol=1e-5)
    model.config = replace(config, input_norm="corpus")
    assert not model.can_stream
    assert not torch.allclose(model(feats, lengths)[0][:4, 1], model(feats + offset, lengths)[0][:4, 1], atol=1e-3)
    with pytest.raises(UsageError, match="input_norm: expected corpus in a forward-only network"):
        replace(config, bidirectional=False)
    assert config.look_ahead is None and not model.can_stream


@pytest.mark.parametrize("gain", [1.0, 0.4])
def test_the_scale_of_the_initial_recurrent_weights(gain):
    model = DeepSpeech2(replace(RELU, recurrent_gain=gain), 5, 4)
    for rnn in model.rnns:
        weight = rnn.recurrent[0].detach()
        torch.testing.assert_close(weight.T @ weight, gain**2 * torch.eye(weight.shape[1]), atol=1e-5, rtol=0)
