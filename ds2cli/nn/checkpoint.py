"""A trained network as a file: weights, and what it takes to use them. Loading never runs code."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor

from ds2cli.config.base import as_dict, build
from ds2cli.config.model import ModelConfig
from ds2cli.errors import DataError, Ds2Error
from ds2cli.nn.models.ds2 import DeepSpeech2
from ds2cli.text.vocab import Vocab

BEST = "best.safetensors"
KEY = "ds2cli"
FORMAT = 1
"""Of both files; counts up when an older ds2 could not use them. A file without a number is of the first format."""


@dataclass
class TrainedModel:
    """A trained network and what it takes to use it.

    features: the settings its features were made with. step_s: seconds from one emission step to the next.
    """

    model: DeepSpeech2
    vocab: Vocab
    features: dict[str, Any]
    step_s: float
    made: dict[str, Any]

    @property
    def bins(self) -> int:
        """Bins of a feature frame."""
        return self.model.mean.shape[0]


def dump_model(
    state: dict[str, Tensor], config: ModelConfig, vocab: Vocab, features: dict[str, Any], made: dict[str, Any]
) -> bytes:
    """The bytes of a safetensors file: weights, and as JSON metadata all that rebuilds the network."""
    about = {
        "format": FORMAT,
        "model": as_dict(config),
        **vocab.as_json(),
        "features": features,
        "made": made,
    }
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    return to_safetensors(tensors, {KEY: json.dumps(about, ensure_ascii=False)})


def load_model(exp: Path | str) -> TrainedModel:
    """The network of an experiment folder, or of a .safetensors file, ready to use.

    DataError when there is none, the file is not whole, or another version made it.
    """
    path = Path(exp)
    path = path / BEST if path.is_dir() or path.suffix != ".safetensors" else path
    if not path.is_file():
        raise DataError(f"{path}: no trained network there (ds2 train TRAIN {exp} makes it)")
    try:
        with safe_open(path, "pt") as f:
            about = json.loads((f.metadata() or {})[KEY])
            state = {name: f.get_tensor(name) for name in f.keys()}  # noqa: SIM118 - it is no dict
        number = about.get("format", FORMAT)
        if number == FORMAT:
            return _bundle(about, state)
    except (SafetensorError, Ds2Error, AttributeError, KeyError, RuntimeError, TypeError, ValueError, OSError) as e:
        raise DataError(f"{path}: not a network of ds2 train: {one_line(e)}") from e
    raise DataError(f"{path}: made by another version of ds2: format {number}, expected {FORMAT} (train it again)")


def _bundle(about: dict[str, Any], state: dict[str, Tensor]) -> TrainedModel:
    vocab = Vocab.from_json(about)
    model = build_network(build(ModelConfig, ("its settings", about["model"])), len(vocab), state)
    return TrainedModel(model, vocab, about["features"], step_seconds(model, about["features"]), about["made"])


def build_network(config: ModelConfig, symbols: int, state: dict[str, Tensor]) -> DeepSpeech2:
    """The network with these weights, which it shares, ready to use. RuntimeError when they do not fit."""
    with torch.device("meta"):
        model = DeepSpeech2(config, symbols, len(state["mean"]))
    model.load_state_dict(state, assign=True)
    return model.eval()


def one_line(e: Exception) -> str:
    """What an exception says, as part of a sentence."""
    return f"{e} is missing" if isinstance(e, KeyError) else " ".join(str(e).split())[:300]


def step_seconds(model: DeepSpeech2, features: dict[str, Any]) -> float:
    """Seconds from one emission step to the next."""
    return float(features["hop_ms"]) / 1000 * model.stride


def transfer_weights(model: DeepSpeech2, vocab: Vocab, other: TrainedModel) -> list[str]:
    """Give a model the weights of another network where name and shape are the same, of its output those of the symbols
    that both have; returns the names of the weights that it keeps, in whole or in part.

    Its statistics of the features stay its own.
    """
    own, theirs = model.state_dict(), other.model.state_dict()
    ids = {symbol: i for i, symbol in enumerate(other.vocab.symbols)}
    both = [(i, ids[symbol]) for i, symbol in enumerate(vocab.symbols) if symbol in ids]
    kept = []
    for name, value in own.items():
        if name in ("mean", "std"):
            continue
        if name.startswith("output.") and value.shape[1:] == theirs[name].shape[1:]:
            mine, old = map(list, zip(*both, strict=True))
            value[mine] = theirs[name][old]
            kept += [name] if len(both) < len(vocab) else []
        elif name in theirs and theirs[name].shape == value.shape:
            value.copy_(theirs[name])
        else:
            kept.append(name)
    return kept
