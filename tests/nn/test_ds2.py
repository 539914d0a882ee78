from __future__ import annotations

import pytest
import torch

from ds2cli.config.model import ModelConfig
from ds2cli.errors import UsageError
from ds2cli.nn.models.ds2 import DeepSpeech2

SMALL = {"rnn_layers": 2, "rnn_size": 12}
ONE_D = ModelConfig(channels=(8, 10), kernels=(5, 3), strides=(2, 2), **SMALL)
TWO_D = ModelConfig(
    conv="2d", channels=(2, 3), kernels=(5, 3), strides=(2, 1), freq_kernels=(5, 3), freq_strides=(2, 2), **SMALL
)
DENSE = ModelConfig(channels=(8,), kernels=(5,), strides=(3,), fc_layers=2, fc_size=9, rnn_layers=0)


@pytest.mark.parametrize("config", [ONE_D, TWO_D, DENSE], ids=["1d", "2d", "dense"])
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
        alone, _ = model(feats[i : i + 1, :n], lengths[i : i + 1])
        torch.testing.assert_close(together[: steps[i], i], alone[:, 0], rtol=1e-4, atol=1e-5)
        assert not together[steps[i] :, i].any()


@pytest.mark.parametrize("config", [ONE_D, TWO_D, DENSE], ids=["1d", "2d", "dense"])
def test_every_parameter_gets_a_gradient(config):
    model = DeepSpeech2(config, 6, 20)
    logits, _ = model(torch.randn(3, 9, 20), torch.tensor([9, 6, 1]))
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_the_model_normalises_raw_features():
    torch.manual_seed(0)
    model = DeepSpeech2(ONE_D, 6, 20).eval()
    x, lengths = torch.randn(1, 12, 20), torch.tensor([12])
    plain = model(x, lengths)[0]
    model.mean.fill_(-9.0)
    model.std.fill_(3.0)
    torch.testing.assert_close(model(3 * x - 9, lengths)[0], plain, rtol=1e-4, atol=1e-5)


def test_forward_only_sees_no_further_than_its_filters():
    torch.manual_seed(0)
    config = ModelConfig(channels=(8,), kernels=(5,), strides=(1,), bidirectional=False, **SMALL)
    model = DeepSpeech2(config, 6, 20).eval()
    x, lengths = torch.randn(1, 20, 20), torch.tensor([20])
    changed = x.clone()
    changed[:, 12:] += 1
    before, after = model(x, lengths)[0], model(changed, lengths)[0]
    assert torch.equal(before[:10], after[:10]) and not torch.equal(before[10], after[10])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"channels": ()}, "1 to 3 convolutions"),
        ({"channels": (1, 1, 1, 1)}, "1 to 3 convolutions"),
        ({"channels": (8, 8), "kernels": (5,)}, "model.kernels: expected 2 values"),
        ({"channels": (8,), "kernels": (4,)}, "odd"),
        ({"conv": "2d", "channels": (8,), "freq_kernels": (4,)}, "model.freq_kernels"),
    ],
)
def test_what_does_not_fit_is_said(settings, said):
    with pytest.raises(UsageError, match=said):
        DeepSpeech2(ModelConfig(**settings), 6, 20)


def test_parameters_of_the_paper_s_sizes():
    """Paper §3.5 with 161 bins: 32 maps of 41 bins after two 2d convolutions are 1312 features a frame."""
    config = ModelConfig(conv="2d", channels=(32, 32), kernels=(11, 11), strides=(2, 1), rnn_layers=1, rnn_size=16)
    model = DeepSpeech2(config, 29, 161)
    assert model.rnns[0].project.in_features == 1312
