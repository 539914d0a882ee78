"""Networks of every kind with random weights, and statistics as after some training."""

from __future__ import annotations

from dataclasses import replace

import torch

from ds2cli.config.model import ModelConfig
from ds2cli.nn.models.ds2 import DeepSpeech2

SMALL = {"rnn_layers": 2, "rnn_size": 12, "bidirectional": False}
ONE_D = ModelConfig(channels=(8, 10), kernels=(5, 3), strides=(2, 2), **SMALL)
TWO_D = ModelConfig(
    conv="2d", channels=(2, 3), kernels=(5, 3), strides=(2, 1), freq_kernels=(5, 3), freq_strides=(2, 2), **SMALL
)
FORWARD = {
    "1d": ONE_D,
    "2d": TWO_D,
    "2d-row": replace(TWO_D, row_conv=5, fc_layers=2, fc_size=7),
    "row": replace(ONE_D, row_conv=3),
    "relu": replace(ONE_D, cell="rnn", activation="relu", norm="none"),
    "tanh": replace(ONE_D, cell="rnn", activation="tanh"),
    "gru-relu": replace(ONE_D, activation="relu"),
    "lstm": replace(ONE_D, cell="lstm", fc_layers=1, fc_size=9),
    "lstm-2d": replace(TWO_D, cell="lstm", row_conv=2, norm="none"),
    "wide-stride": replace(ONE_D, kernels=(3, 1), strides=(4, 3)),
    "no-recurrence": replace(ONE_D, rnn_layers=0, bidirectional=True),
}
CONFIGS = {
    **FORWARD,
    "both": replace(ONE_D, bidirectional=True),
    "both-mean": replace(ONE_D, bidirectional=True, input_norm="utterance"),
    "mean-no-recurrence": replace(ONE_D, rnn_layers=0, bidirectional=True, input_norm="utterance"),
    "both-2d-lstm": replace(TWO_D, bidirectional=True, cell="lstm"),
}


def make_network(config, bins=20, symbols=6, seed=0):
    """A network in evaluation mode whose norms have seen some random features."""
    torch.manual_seed(seed)
    model = DeepSpeech2(config, symbols, bins)
    model.mean.normal_()
    model.std.uniform_(0.5, 2)
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn(4, 60, bins) * model.std + model.mean, torch.full((4,), 60))
    return model.eval()


def weights_of(model):
    """The weights by name, as a file has them."""
    return {name: value.numpy() for name, value in model.state_dict().items()}


@torch.inference_mode()
def compute_in_torch(model, feats):
    """Logits (T', V) of features (T, F)."""
    if not len(feats):
        return torch.zeros(0, model.output.out_features).numpy()
    return model(torch.from_numpy(feats)[None], torch.tensor([len(feats)]))[0][:, 0].numpy()
