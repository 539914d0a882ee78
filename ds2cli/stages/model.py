"""Size, cost and look-ahead of a network, layer by layer, without allocating its weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ds2cli.config.base import build, read_toml
from ds2cli.config.model import NetworkConfig
from ds2cli.config.train import TrainConfig
from ds2cli.experiment_files import ExperimentFiles, is_bundle
from ds2cli.nn.checkpoint import load_model
from ds2cli.nn.network import make_network

SYMBOLS, BINS, HOP_MS = 29, 161, 10.0
"""Defaults: English letters, apostrophe, space and blank; the bins of 20 ms at 16 kHz; the hop of the paper."""


class Layer(NamedTuple):
    """One layer; the field names are keys of `ds2 model show --json`.

    what: its kind and settings. shape: output per step. mult_adds: per second of audio, with padding at the ends.
    """

    name: str
    what: str
    shape: tuple[int, ...]
    step_ms: float
    parameters: int
    mult_adds: int


class NetworkSpec(NamedTuple):
    """The settings of a network and the sizes of its data: output symbols, feature bins, frame hop (ms)."""

    config: NetworkConfig
    symbols: int
    bins: int
    hop_ms: float


def find_network(name: str, symbols: int | None, bins: int | None, hop_ms: float | None) -> NetworkSpec:
    """The network of an experiment (folder, bundle or .safetensors file), a config file, or a preset.

    None for a size takes that of the experiment, or for a config SYMBOLS, BINS, HOP_MS. DataError or UsageError when
    the network cannot be read.
    """
    path = Path(name)
    if path.is_dir() or path.suffix == ".safetensors" or is_bundle(path):
        trained = load_model(path)
        defaults = len(trained.vocab), trained.bins, float(trained.features["hop_ms"])
        config = trained.model.config
    else:
        defaults = SYMBOLS, BINS, HOP_MS
        config = build(TrainConfig, (name, read_toml(name))).model
    return NetworkSpec(
        config,
        defaults[0] if symbols is None else symbols,
        defaults[1] if bins is None else bins,
        defaults[2] if hop_ms is None else hop_ms,
    )


def list_layers(network: NetworkSpec) -> list[Layer]:
    """The layers of a network, from the input to the output.

    Multiply-adds are those of matrices and filters; batch norms are not counted, as inference folds them in.
    """
    config, symbols, bins, hop_ms = network
    with torch.device("meta"):
        model = make_network(config, symbols, bins)
    layers = []
    for name, what, shape, stride, modules, positions in model.list_layers():
        parameters = [p for module in modules for p in module.parameters()]
        matrices = sum(p.numel() for p in parameters if p.dim() > 1)
        count = sum(p.numel() for p in parameters)
        step_ms = hop_ms * stride
        layers.append(Layer(name, what, shape, step_ms, count, round(matrices * positions * 1000 / step_ms)))
    return layers


def summarize_network(network: NetworkSpec, layers: list[Layer]) -> dict[str, Any]:
    """Totals: parameters, multiply-adds per second of audio, time stride, look-ahead (None: the entire utterance)."""
    look_ahead = network.config.look_ahead
    return {
        "parameters": sum(layer.parameters for layer in layers),
        "mult_adds_per_s": sum(layer.mult_adds for layer in layers),
        "stride": network.config.stride,
        "step_ms": network.config.stride * network.hop_ms,
        "look_ahead_ms": None if look_ahead is None else look_ahead * network.hop_ms,
        "symbols": network.symbols,
        "bins": network.bins,
        "hop_ms": network.hop_ms,
    }


def describe_bundle(files: ExperimentFiles) -> Iterator[str]:
    """By whom and of what a bundle was made, in lines; DataError for a member that is damaged."""
    for name in files.card["members"]:
        files.map(name, hashed=files.members[name].size)
    yield f"bundle of ds2cli {str(files.card.get('ds2cli'))[:20]}, {str(files.card.get('created'))[:16]} UTC"
    for name, member in files.members.items():
        about = files.card.get({"lm.bin": "lm", "clip.wav": "clip"}.get(name, ""))
        source = f"  {str(about.get('source'))[:60]}" if isinstance(about, dict) else ""
        yield f"  {name:18}{member.size / 1e6:>9,.1f} MB{source}"
