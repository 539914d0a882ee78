"""A small network that writes a for a tone of 500 Hz, b for one of 4 kHz, else blanks; and recordings for it."""

from __future__ import annotations

import numpy as np
import torch

from ds2cli.config.model import ModelConfig
from ds2cli.nn.checkpoint import dump_model
from ds2cli.nn.models.ds2 import DeepSpeech2
from ds2cli.text.vocab import BLANK, Vocab

VOCAB = Vocab((BLANK, " ", "a", "b"))
RATE = 16000
FEATURES = {"sample_rate": RATE, "window_ms": 20.0, "hop_ms": 10.0}
TONES = {"a": 500, "b": 4000}


def dump_tone_network(*, bidirectional: bool) -> bytes:
    """The file of the network: two frames per step, no look-ahead."""
    model = ModelConfig(
        channels=(2,), kernels=(1,), strides=(2,), rnn_layers=0, norm="none", dropout=0.0, bidirectional=bidirectional
    )
    network = DeepSpeech2(model, len(VOCAB), 161)
    conv, output = network.convs[0].conv, network.output
    with torch.no_grad():
        for weight in network.parameters():
            weight.zero_()
        for channel, hertz in enumerate(TONES.values()):
            conv.weight[channel, hertz // 50, 0] = 100
            output.weight[2 + channel, channel] = 3
        conv.bias.fill_(10)
        # tones have another bandwidth than speech, of which it should not warn
        network.std.fill_(100)
        output.bias.copy_(torch.tensor([10.0, -20.0, 0.0, 0.0]))
    return dump_model(network.state_dict(), model, VOCAB, FEATURES, {})


def tones(text, rate=RATE):
    """A recording of words in 0.2 s per letter; pauses of 0.1 s between letters, and 0.8 s before and after a word."""
    time_s = np.arange(round(0.2 * rate)) / rate
    parts = [np.zeros(round(0.8 * rate))]
    for word in text.split():
        for letter in word:
            parts += [0.1 * np.sin(2 * np.pi * TONES[letter] * time_s), np.zeros(round(0.1 * rate))]
        parts.append(np.zeros(round(0.7 * rate)))
    return np.concatenate(parts).astype(np.float32)
