"""Export a trained network as an ONNX model, and compare the two before the file appears."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ds2cli.config.model import ModelConfig
from ds2cli.errors import Ds2Error
from ds2cli.io import open_out_bytes
from ds2cli.onnx.packages import has_onnxruntime, require_packages
from ds2cli.runtime.file import NetworkFile, read_network
from ds2cli.runtime.network import RuntimeNetwork

CHECKED_FRAMES = 200
MAX_DIFFERENCE = 1e-3
"""Between log-probabilities of both networks, absolute, and relative to those below -1."""


@dataclass(frozen=True)
class Exported:
    """What was written. difference: the largest one found between log-probabilities; None without onnxruntime."""

    path: str
    bytes: int
    streaming: bool
    difference: float | None


def run(exp: str, out: str, *, streaming: bool = False) -> Exported:
    """Write the network of an experiment as an ONNX model, see onnx/export.py.

    streaming: for streams instead of whole utterances. Without onnxruntime the model is not compared.
    UsageError if the network cannot be exported or the package onnx is missing, DataError if there is no network,
    Ds2Error if the model computes something else than the network; OUT is then left as it was.
    """
    require_packages("onnx")
    from ds2cli.onnx.export import make_model

    network = read_network(exp)
    data = make_model(network, streaming=streaming).SerializeToString()
    difference = compare(network, data) if has_onnxruntime() else None
    if difference is not None and not difference <= MAX_DIFFERENCE:
        raise Ds2Error(
            f"{exp}: not exported: in onnxruntime its log-probabilities differ by {difference:g}, expected at most "
            f"{MAX_DIFFERENCE:g} (another version of onnxruntime may be right)"
        )
    with open_out_bytes(out) as f:
        f.write(data)
    return Exported(out, len(data), streaming, difference)


def compare(network: NetworkFile, data: bytes) -> float:
    """The largest difference between log-probabilities of a network and of its ONNX model, for random features.

    Relative for those below -1.
    """
    assert isinstance(network.config, ModelConfig)
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((CHECKED_FRAMES, network.bins), np.float32)
    feats = np.asarray(network.tensors["mean"] + network.tensors["std"] * noise, np.float32)
    logits = RuntimeNetwork(network.config, network.tensors).compute([feats])[0].astype(np.float64)
    expected = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    found = _compute(data, feats)
    if found.shape != expected.shape:
        return float("inf")
    return float((np.abs(found - expected) / np.maximum(np.abs(expected), 1)).max())


def _compute(data: bytes, feats: NDArray[np.float32]) -> NDArray[np.float32]:
    """The log-probabilities (T', V) of an exported model, of streams in two chunks."""
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    states = session.get_modelmeta().custom_metadata_map.get("states")
    if states is None:
        inputs = {"x": feats[None], "x_lens": np.array([len(feats)])}
        return session.run(["log_probs"], inputs)[0][0]  # type: ignore[no-any-return]
    values = {name: np.zeros((1, *shape), np.float32) for name, shape in json.loads(states).items()}
    names, parts = [output.name for output in session.get_outputs()], []
    for chunk, end in ((feats[:77], False), (feats[77:], True)):
        results = session.run(names, {"x": chunk[None], "end": np.array(end), **values})
        found = dict(zip(names, results, strict=True))
        parts.append(found["log_probs"][0])
        values = {name: found[f"new_{name}"] for name in values}
    return np.concatenate(parts)
