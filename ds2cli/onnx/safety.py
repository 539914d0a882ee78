"""What an ONNX file may refer to, checked before onnxruntime opens it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from ds2cli import inputs
from ds2cli.errors import DataError


def read_model(path: str) -> onnx.ModelProto:
    """The graph of an ONNX file, without weights that are in other files.

    DataError if it cannot be read, or if it refers to a file outside of its folder, or to one that is missing.
    """
    try:
        inputs.require_file(path)
        model = onnx.load_model(path, load_external_data=False)
    except OSError as e:
        raise DataError(f"{path}: {inputs.explain_error(e)}") from e
    except (DecodeError, ValueError) as e:
        raise DataError(f"{path}: not an ONNX model: {str(e)[:100]}") from e
    if not model.graph.node:
        raise DataError(f"{path}: not an ONNX model: it has no operators")
    folder = Path(path).resolve().parent
    for tensor in list_tensors(model):
        _check_location(path, folder, tensor)
    return model


def list_tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """All tensors of a model, also those of subgraphs and functions."""
    yield from _of_graph(model.graph)
    for function in model.functions:
        for node in function.node:
            yield from _of_node(node)


def _of_graph(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        yield from _of_node(node)


def _of_node(node: onnx.NodeProto) -> Iterator[onnx.TensorProto]:
    for attribute in node.attribute:
        yield from (attribute.t, *attribute.tensors)
        for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
            yield from (sparse.values, sparse.indices)
        for graph in (attribute.g, *attribute.graphs):
            yield from _of_graph(graph)


def _check_location(path: str, folder: Path, tensor: onnx.TensorProto) -> None:
    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        return
    location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
    try:
        # links are followed: one may lead out of the folder
        file = (folder / location).resolve()
    except (OSError, ValueError, RuntimeError):
        file = Path("/")
    if not location or Path(location).is_absolute() or not file.is_relative_to(folder):
        raise DataError(f"{path}: its weights {tensor.name!r} are in {location!r}, outside of its folder: refused")
    if not file.is_file():
        raise DataError(f"{path}: its weights {tensor.name!r} are in {location}, which is not next to it")
