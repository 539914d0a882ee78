"""A trained network as a safetensors file: weights, with settings and symbols as metadata. Loading runs no code."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor

from ds2cli import inputs
from ds2cli.config.base import build
from ds2cli.config.model import NetworkConfig
from ds2cli.errors import DataError, Ds2Error, UsageError
from ds2cli.nn.network import Network, make_network
from ds2cli.text.vocab import Vocab

BEST = "best.safetensors"
METADATA_KEY = "ds2cli"
FORMAT = 1
"""Version of both files (network, training state), raised when an older ds2 cannot read them; 1 if absent."""


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
    about = {
        "format": FORMAT,
        "model": config.to_saved(),
        **vocab.as_json(),
        "features": features,
        "made": metadata,
    }
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    return to_safetensors(tensors, {METADATA_KEY: json.dumps(about, ensure_ascii=False)})


def load_model(exp: Path | str) -> TrainedModel:
    """Load the network of an experiment folder or a .safetensors file, in evaluation mode.

    DataError when the file is missing, incomplete, or in the format of another version.
    """
    path = Path(exp)
    with contextlib.suppress(OSError):
        if (kind := inputs.describe_special(path)) not in ("", "a folder"):
            raise DataError(f"{exp}: this is {kind}, expected the folder of an experiment or a .safetensors file")
    path = path / BEST if path.is_dir() or path.suffix != ".safetensors" else path
    if not path.is_file():
        raise DataError(f"{path}: no trained network found (ds2 train TRAIN {exp} writes it)")
    try:
        with safe_open(path, "pt") as f:
            about = json.loads((f.metadata() or {})[METADATA_KEY])
            state = {name: f.get_tensor(name) for name in f.keys()}  # noqa: SIM118 - not a dict
        version = about.get("format", FORMAT)
        if version == FORMAT:
            return _from_metadata(about, state)
    except UsageError as e:
        # of a newer ds2, or of a plugin that is missing or broken
        raise DataError(f"{path}: this network cannot be used: {describe_error(e)}") from e
    except (SafetensorError, Ds2Error, AttributeError, KeyError, RuntimeError, TypeError, ValueError, OSError) as e:
        raise DataError(f"{path}: not a network written by ds2 train: {describe_error(e)}") from e
    found = repr(version)[:20]
    raise DataError(
        f"{path}: written by another version of ds2: expected format {FORMAT}, found {found} (train it again)"
    )


def _from_metadata(about: dict[str, Any], state: dict[str, Tensor]) -> TrainedModel:
    vocab = Vocab.from_json(about)
    model = build_network(build(NetworkConfig, ("its settings", about["model"])), len(vocab), state)
    return TrainedModel(model, vocab, about["features"], step_seconds(model, about["features"]), about["made"])


def build_network(config: NetworkConfig, symbols: int, state: dict[str, Tensor]) -> Network:
    """Build the network around these weights (not copied), in evaluation mode. RuntimeError when they do not fit."""
    with torch.device("meta"):
        model = make_network(config, symbols, len(state["mean"]))
    model.load_state_dict(state, assign=True)
    return model.eval()


def describe_error(e: Exception) -> str:
    """The message of an exception on one line, for use in an error message."""
    return f"{e} is missing" if isinstance(e, KeyError) else " ".join(str(e).split())[:300]


def step_seconds(model: Network, features: dict[str, Any]) -> float:
    """Seconds per output step."""
    return float(features["hop_ms"]) / 1000 * model.stride
