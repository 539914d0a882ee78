"""A trained network as a safetensors file: weights, with settings and symbols as metadata. Reading it runs no code.

`ds2 model quantize` writes smaller files: an ordinary network without norms, whose matrices are stored as int8, with a
tensor `NAME.scale` (J,) beside each, or as the upper halves of float32 numbers (bfloat16).
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize, safe_open
from safetensors.numpy import save

from ds2cli import inputs
from ds2cli.config.base import build
from ds2cli.config.model import ModelConfig, NetworkConfig
from ds2cli.errors import DataError, Ds2Error, UsageError
from ds2cli.experiment_files import is_bundle, open_files
from ds2cli.runtime.fold import fold_norms
from ds2cli.runtime.matrix import Weights, from_bfloat16, to_bfloat16, to_int8
from ds2cli.text.vocab import Vocab

BEST = "best.safetensors"
METADATA_KEY = "ds2cli"
FORMAT = 1
"""Version of both files (network, training state), raised when an older ds2 cannot read them; 1 if absent."""

DTYPES: dict[str, Any] = {"F32": np.float32, "I64": np.int64, "I8": np.int8, "U16": np.uint16}
"""The types of tensors that a network file has."""

SCALE = ".scale"
"""End of the name of the scales of an int8 tensor."""

KEPT = ("output.weight", "row_conv.weight")
"""Weights that are not rounded: they are few, and all outputs depend on them."""


@dataclass(frozen=True)
class NetworkFile:
    """A trained network as it was read.

    tensors: the weights by name, float32. weights: how they were stored. features: the settings of the features it was
    trained on. made: where the weights come from, the row of their epoch in train.jsonl or {"average_of": paths}.
    """

    path: str
    config: NetworkConfig
    vocab: Vocab
    features: dict[str, Any]
    made: dict[str, Any]
    tensors: dict[str, NDArray[Any]]
    weights: Weights = "float32"

    @property
    def bins(self) -> int:
        """Bins per feature frame."""
        return len(self.tensors["mean"])

    @property
    def step_s(self) -> float:
        """Seconds per output step."""
        return float(self.features["hop_ms"]) / 1000 * self.config.stride


def find_network(exp: Path | str) -> Path:
    """The network file of an experiment folder, or the .safetensors file itself; DataError if there is none."""
    path = Path(exp)
    with contextlib.suppress(OSError):
        if (kind := inputs.describe_special(path)) not in ("", "a folder"):
            raise DataError(f"{exp}: this is {kind}, expected the folder of an experiment or a .safetensors file")
    path = path / BEST if path.is_dir() or path.suffix != ".safetensors" else path
    if not path.is_file():
        raise DataError(f"{path}: no trained network found (ds2 train TRAIN {exp} writes it)")
    return path


def read_network(exp: Path | str) -> NetworkFile:
    """Read the network of an experiment folder, a bundle or a .safetensors file.

    DataError when the file is missing, incomplete, or in the format of another version.
    """
    if is_bundle(exp):
        files = open_files(exp)
        return parse_network_bytes(files.where(BEST), files.read(BEST) or b"")
    path = find_network(exp)

    def read() -> tuple[dict[str, str], dict[str, NDArray[Any]]]:
        with safe_open(path, "np") as f:
            return f.metadata() or {}, {name: f.get_tensor(name) for name in f.keys()}  # noqa: SIM118 - not a dict

    with explaining(str(path)):
        return parse_network(str(path), *read())


def parse_network_bytes(name: str, data: bytes) -> NetworkFile:
    """`read_network` of the content of a .safetensors file; name: for the messages."""
    with explaining(name):
        tensors = {}
        for key, about in deserialize(data):  # type: ignore[no-untyped-call]
            dtype = DTYPES.get(about["dtype"])
            if dtype is None:
                raise ValueError(f"tensor {key[:60]} of type {about['dtype']}, expected {', '.join(DTYPES)}")
            tensors[key] = np.frombuffer(about["data"], dtype).reshape(about["shape"])
        length = int.from_bytes(data[:8], "little")
        return parse_network(name, json.loads(data[8 : 8 + length]).get("__metadata__", {}), tensors)


def parse_network(name: str, metadata: dict[str, str], stored: dict[str, NDArray[Any]]) -> NetworkFile:
    """The network of a file's metadata and tensors; DataError for another version, various errors for a bad file."""
    about = json.loads(metadata[METADATA_KEY])
    version = about.get("format", FORMAT)
    if version != FORMAT:
        found = repr(version)[:20]
        raise WrongVersion(
            f"{name}: written by another version of ds2: expected format {FORMAT}, found {found} (train it again)"
        )
    weights = about.get("weights", "float32")
    if weights not in ("float32", "bfloat16", "int8"):
        raise ValueError(f"weights of the kind {str(weights)[:20]!r}, expected float32, bfloat16 or int8")
    config: NetworkConfig = build(NetworkConfig, ("its settings", about["model"]))
    vocab = Vocab.from_json(about)
    return NetworkFile(name, config, vocab, about["features"], about["made"], _restore(stored), weights)


class WrongVersion(DataError):
    """The file is of another version of ds2."""


class explaining(contextlib.AbstractContextManager[None]):
    """Turn errors of reading a network file into a DataError in one line."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __exit__(self, _: object, e: BaseException | None, __: object) -> None:
        if isinstance(e, WrongVersion):
            return
        if isinstance(e, UsageError):
            # of a newer ds2, or of a plugin that is missing or broken
            raise DataError(f"{self.path}: this network cannot be used: {describe_error(e)}") from e
        if isinstance(
            e, SafetensorError | Ds2Error | AttributeError | KeyError | RuntimeError | TypeError | ValueError | OSError
        ):
            raise DataError(f"{self.path}: not a network written by ds2 train: {describe_error(e)}") from e


def describe_error(e: Exception) -> str:
    """The message of an exception on one line, for use in an error message."""
    return f"{e} is missing" if isinstance(e, KeyError) else " ".join(str(e).split())[:300]


def metadata_of(
    config: NetworkConfig, vocab: Vocab, features: dict[str, Any], made: dict[str, Any], weights: str = "float32"
) -> dict[str, str]:
    """The metadata of a network file, from which `read_network` rebuilds it."""
    stored = {} if weights == "float32" else {"weights": weights}
    about = {"format": FORMAT, "model": config.to_saved(), **vocab.as_json(), "features": features, "made": made}
    return {METADATA_KEY: json.dumps({**about, **stored}, ensure_ascii=False)}


def quantize(network: NetworkFile, weights: Weights) -> bytes:
    """The content of a file with the same network, whose matrices are stored in another way.

    UsageError for a network of another kind than ds2.
    """
    if not isinstance(network.config, ModelConfig):
        raise UsageError(f"{network.path}: a network of the kind {network.config.kind} cannot be quantized")
    tensors: dict[str, NDArray[Any]] = {}
    for name, value in fold_norms(network.tensors).items():
        tensors[name] = value = np.ascontiguousarray(value)
        if weights == "float32" or value.ndim < 2 or name in KEPT:
            continue
        if weights == "bfloat16":
            tensors[name] = to_bfloat16(value)
        else:
            # a scale for each output, also of each direction of a recurrence
            rows = value.reshape(-1, value.shape[-1]) if name.endswith(".recurrent") else value
            integers, scale = to_int8(rows)
            tensors[name], tensors[name + SCALE] = integers.reshape(value.shape), scale
    config = replace(network.config, norm="none")
    return save(tensors, metadata_of(config, network.vocab, network.features, network.made, weights))


def _restore(stored: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The float32 weights of tensors as they are stored."""
    tensors: dict[str, NDArray[Any]] = {}
    for name, value in stored.items():
        if value.dtype == np.uint16:
            tensors[name] = from_bfloat16(value)
        elif value.dtype == np.int8:
            scale = stored[name + SCALE]
            # one scale per output: the rows of a matrix, the filters of a convolution
            rows = value.reshape(len(scale), -1).astype(np.float32) * scale[:, None]
            tensors[name] = rows.reshape(value.shape)
        elif not name.endswith(SCALE):
            tensors[name] = value
    return tensors
