"""What a network costs and how far it sees, layer by layer, without making its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from ds2cli.config.base import build, read_toml
from ds2cli.config.model import ModelConfig
from ds2cli.config.train import TrainConfig
from ds2cli.nn.checkpoint import load_model
from ds2cli.nn.layers import Conv1d, Conv2d, Recurrent
from ds2cli.nn.models.ds2 import DeepSpeech2

SYMBOLS, BINS, HOP_MS = 29, 161, 10.0
"""English letters, apostrophe, space and blank; bins of 20 ms at 16 kHz; the paper's hop."""


class Layer(NamedTuple):
    """One layer. shape: its output of a step. mult_adds: a second of audio, padding at an utterance's ends included."""

    name: str
    what: str
    shape: tuple[int, ...]
    step_ms: float
    parameters: int
    mult_adds: int


class NetworkSpec(NamedTuple):
    """A network and the data it is for."""

    config: ModelConfig
    symbols: int
    bins: int
    hop_ms: float


def find(name: str, symbols: int | None, bins: int | None, hop_ms: float | None) -> NetworkSpec:
    """The network of an experiment (a folder or .safetensors file), of a config, or of a preset by its name.

    What is None is the experiment's own, else SYMBOLS, BINS, HOP_MS. DataError or UsageError when it cannot be read.
    """
    path = Path(name)
    if path.is_dir() or path.suffix == ".safetensors":
        trained = load_model(path)
        known = len(trained.vocab), trained.bins, float(trained.features["hop_ms"])
        config = trained.model.config
    else:
        known = SYMBOLS, BINS, HOP_MS
        config = build(TrainConfig, (name, read_toml(name))).model
    given = (symbols, bins, hop_ms)
    return NetworkSpec(config, *(own if value is None else value for own, value in zip(known, given, strict=True)))  # type: ignore[arg-type]


def layers(network: NetworkSpec) -> list[Layer]:
    """Its layers from the features to the symbols.

    Multiply-adds are those of matrices and filters; norms are scales that are folded into them when a network is used.
    """
    config, symbols, bins, hop_ms = network
    with torch.device("meta"):
        model = DeepSpeech2(config, symbols, bins)
    step_ms, found = hop_ms, []

    def add(name: str, what: str, shape: tuple[int, ...], *modules: nn.Module, positions: int = 1) -> None:
        parameters = [p for module in modules for p in module.parameters()]
        matrices = sum(p.numel() for p in parameters if p.dim() > 1)
        count = sum(p.numel() for p in parameters)
        found.append(Layer(name, what, shape, step_ms, count, round(matrices * positions * 1000 / step_ms)))

    for i, conv in enumerate(model.convs):
        kernel, stride = config.kernels[i], config.strides[i]
        step_ms *= stride
        if isinstance(conv, Conv1d):
            add(f"conv{i + 1}", f"1d {kernel}, stride {stride}", (conv.conv.out_channels,), conv)
        elif isinstance(conv, Conv2d):
            what = f"2d {config.freq_kernels[i]}x{kernel}, stride {config.freq_strides[i]}x{stride}"
            add(f"conv{i + 1}", what, (conv.bins_out, conv.channels), conv, positions=conv.bins_out)
    size = (config.rnn_size,)
    directions = "both directions" if config.bidirectional else "forward"
    cell = config.cell if config.cell == "lstm" else f"{config.cell}, {config.activation}"
    for i, rnn in enumerate(model.rnns):
        assert isinstance(rnn, Recurrent)
        add(f"rnn{i + 1}", f"{cell}, {directions}", size, rnn)
    if model.row_conv is not None:
        add("row_conv", f"{config.row_conv} steps ahead", (len(model.row_conv.weight),), model.row_conv)
    for i, dense in enumerate(model.dense):
        add(f"fc{i + 1}", "relu", (config.fc_size,), dense)
    add("output", "softmax", (symbols,), model.norm, model.output)
    return found


def look_ahead(config: ModelConfig) -> int | None:
    """Frames after a step's own that its scores depend on; None is all of them, to the end of the utterance."""
    if config.bidirectional and config.rnn_layers:
        return None
    frames, step = 0, 1
    for kernel, stride in zip(config.kernels, config.strides[: len(config.channels)], strict=False):
        frames += kernel // 2 * step
        step *= stride
    return frames + config.row_conv * step


def summary(network: NetworkSpec, found: list[Layer]) -> dict[str, Any]:
    """Totals: parameters, multiply-adds a second of audio, time stride, look-ahead (None is the whole utterance)."""
    ahead = look_ahead(network.config)
    return {
        "parameters": sum(layer.parameters for layer in found),
        "mult_adds_per_s": sum(layer.mult_adds for layer in found),
        "stride": network.config.stride,
        "step_ms": network.config.stride * network.hop_ms,
        "look_ahead_ms": None if ahead is None else ahead * network.hop_ms,
        "symbols": network.symbols,
        "bins": network.bins,
        "hop_ms": network.hop_ms,
    }
