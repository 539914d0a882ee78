"""A trained network as torch uses it. The file is that of runtime/file.py. Loading it runs no code."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as to_safetensors
from torch import Tensor

from ds2cli.config.model import NetworkConfig
from ds2cli.nn.network import Network, make_network
from ds2cli.runtime.file import NetworkFile, explaining, metadata_of, read_network
from ds2cli.text.vocab import Vocab


@dataclass
class TrainedModel:
    """A trained network with its vocabulary and feature settings.

    features: the settings of the features it was trained on. step_s: seconds per output step. metadata: where the
    weights come from, the row of their epoch in train.jsonl or {"average_of": paths}. precision: of matrix products
    when it is used.
    """

    model: Network
    vocab: Vocab
    features: dict[str, Any]
    step_s: float
    metadata: dict[str, Any]
    precision: torch.dtype = torch.float32

    @property
    def bins(self) -> int:
        """Bins per feature frame."""
        return self.model.mean.shape[0]


def dump_model(
    state: dict[str, Tensor], config: NetworkConfig, vocab: Vocab, features: dict[str, Any], metadata: dict[str, Any]
) -> bytes:
    """Serialize a network: the bytes of a safetensors file with all that is needed to rebuild it as JSON metadata."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    return to_safetensors(tensors, metadata_of(config, vocab, features, metadata))


def load_model(exp: Path | str) -> TrainedModel:
    """Load the network of an experiment folder or a .safetensors file, in evaluation mode.

    DataError when the file is missing, incomplete, or in the format of another version.
    """
    return make_model(read_network(exp))


def make_model(network: NetworkFile) -> TrainedModel:
    """The network of a file, in evaluation mode. DataError when its weights do not fit its settings."""
    with explaining(network.path):
        state = {name: torch.from_numpy(value) for name, value in network.tensors.items()}
        model = build_network(network.config, len(network.vocab), state)
        return TrainedModel(model, network.vocab, network.features, network.step_s, network.made)


def build_network(config: NetworkConfig, symbols: int, state: dict[str, Tensor]) -> Network:
    """Build the network around these weights (not copied), in evaluation mode. RuntimeError when they do not fit."""
    with torch.device("meta"):
        model = make_network(config, symbols, len(state["mean"]))
    model.load_state_dict(state, assign=True)
    return model.eval()


def step_seconds(model: Network, features: dict[str, Any]) -> float:
    """Seconds per output step."""
    return float(features["hop_ms"]) / 1000 * model.stride
