"""A trained network of the kind ds2 as an ONNX model, for whole utterances or for streams.

Of whole utterances, with names as in icefall's and sherpa's models:

    x (N, T, F) float32, features, not normalized    log_probs (N, T', V) float32
    x_lens (N,) int64, their frames                  log_probs_len (N,) int64, their steps: ceil(x_lens / stride)

What is past the end of an utterance does not change its result. Of streams, for forward-only networks:

    x (N, T, F) float32, the next frames, T >= 0     log_probs (N, T', V) float32, of the steps that are complete
    end () bool, whether the streams end with these
    state_NAME, zeros at first, then the value of    new_state_NAME

Chunks may have any length. Of T frames in all, ceil(T / stride) steps result, once the last chunk, which may be empty,
was computed with `end`. The metadata of the model have what else a program needs: see `describe`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from ds2cli import __version__
from ds2cli.config.model import ModelConfig
from ds2cli.errors import UsageError
from ds2cli.onnx import layers
from ds2cli.onnx.graph import Graph
from ds2cli.onnx.layers import Conv, Recurrent, Streams
from ds2cli.runtime.file import NetworkFile
from ds2cli.runtime.fold import fold_norms
from ds2cli.text.vocab import BLANK, format_symbol

Weights = Mapping[str, NDArray[Any]]


def make_model(network: NetworkFile, *, streaming: bool = False) -> onnx.ModelProto:
    """The ONNX model of a network.

    UsageError for a network of another kind than ds2, or, for streams, a bidirectional one.
    """
    config = network.config
    if not isinstance(config, ModelConfig):
        raise UsageError(f"{network.path}: a network of the kind {config.kind} cannot be exported to ONNX")
    if streaming and config.look_ahead is None:
        raise UsageError(
            f"{network.path}: a bidirectional network needs the whole utterance (leave out --streaming, or train with "
            "model.bidirectional=false)"
        )
    weights = fold_norms(network.tensors)
    symbols, bins = len(network.vocab), network.bins
    if streaming:
        g, states = _build_streams(config, weights, bins, symbols)
        return g.model("ds2", describe(network, states), __version__)
    return _build_whole(config, weights, bins, symbols).model("ds2", describe(network), __version__)


def describe(network: NetworkFile, states: Mapping[str, tuple[int, ...]] | None = None) -> dict[str, str]:
    """The metadata of a model: texts by name.

    tokens: the lines of its tokens.txt. features: their settings, JSON. bins, stride (frames per step), step_ms,
    look_ahead_frames ("" up to the end). Of streams also states: JSON, the shape of each state before the first frame
    without its first dimension, N.
    """
    config = network.config
    lines = [BLANK, *map(format_symbol, network.vocab.symbols[1:])]
    values = {
        "model_type": "ds2cli_ctc",
        "version": "1",
        "comment": f"Deep Speech 2, exported by ds2cli {__version__}",
        "tokens": "\n".join(lines),
        "vocab_size": str(len(lines)),
        "features": json.dumps(network.features),
        "bins": str(network.bins),
        "stride": str(config.stride),
        "subsampling_factor": str(config.stride),
        "step_ms": f"{1000 * network.step_s:g}",
        "look_ahead_frames": "" if config.look_ahead is None else str(config.look_ahead),
        "model": json.dumps(config.to_saved()),
        "made": json.dumps(network.made),
    }
    return values if states is None else {**values, "states": json.dumps(states)}


def _convs(config: ModelConfig, weights: Weights, bins: int) -> list[Conv]:
    found = []
    for i in range(len(config.channels)):
        weight, bias = weights[f"convs.{i}.conv.weight"], weights[f"convs.{i}.conv.bias"]
        if config.conv == "1d":
            found.append(Conv(f"conv{i}", weight, bias, (config.strides[i],)))
        else:
            found.append(Conv(f"conv{i}", weight, bias, (config.freq_strides[i], config.strides[i]), bins))
            bins = found[-1].bins_out
    return found


def _rnns(config: ModelConfig, weights: Weights) -> list[Recurrent]:
    return [
        Recurrent(
            f"rnn{i}",
            weights[f"rnns.{i}.project.weight"],
            weights[f"rnns.{i}.project.bias"],
            weights[f"rnns.{i}.recurrent"],
            config.cell,
            config.activation,
        )
        for i in range(config.rnn_layers)
    ]


def _classify(g: Graph, config: ModelConfig, weights: Weights, x: str) -> str:
    """The layers of single steps at the end, (N, T, H) to log-probabilities (N, T, V)."""
    for i in range(config.fc_layers):
        x = layers.dense(
            g, f"fc{i}", x, weights[f"dense.{i}.linear.weight"], weights[f"dense.{i}.linear.bias"], relu=True
        )
    x = layers.dense(g, "output", x, weights["output.weight"], weights["output.bias"], relu=False)
    return g.op("LogSoftmax", x, axis=-1)


def _offset(config: ModelConfig, weights: Weights) -> layers.Array:
    mean = weights["mean"]
    return np.zeros_like(mean) if config.input_norm == "utterance" else mean


def _build_whole(config: ModelConfig, weights: Weights, bins: int, symbols: int) -> Graph:
    g = Graph()
    x, lengths = g.input("x", ("N", "T", bins)), g.input("x_lens", ("N",), onnx.TensorProto.INT64)

    def mask(x: str) -> str:
        """Zeros past the end of each utterance, whatever was there."""
        times = g.op(
            "Range", g.weight("int_0", np.int64(0)), g.op("Squeeze", g.size(x, 1)), g.weight("int_1", np.int64(1))
        )
        valid = g.op("Less", times, g.op("Unsqueeze", lengths, g.ints(1)))
        return g.op("Where", g.op("Unsqueeze", valid, g.ints(2)), x, g.weight("zero", np.float32(0)))

    if config.input_norm == "utterance":
        x = layers.subtract_mean(g, mask(x), lengths)
    x = mask(layers.normalize(g, x, _offset(config, weights), weights["std"]))
    for conv in _convs(config, weights, bins):
        x, stride = conv.compute(g, x, pad=conv.half), conv.strides[-1]
        if stride > 1:
            lengths = g.op("Div", g.op("Add", lengths, g.ints(stride - 1)), g.ints(stride))
        x = mask(x)
    if config.rnn_layers:
        x, short = g.transpose(x, 1, 0, 2), g.op("Cast", lengths, to=onnx.TensorProto.INT32)
        for rnn in _rnns(config, weights):
            x = rnn.compute(g, x, short)[0]
        x = g.transpose(x, 1, 0, 2)
    if config.row_conv:
        weight = weights["row_conv.weight"]
        zeros = g.zeros(g.size(x, 0), g.ints(config.row_conv), g.ints(len(weight)))
        x = layers.row_conv(g, g.op("Concat", mask(x), zeros, axis=1), weight)
    g.output("log_probs", _classify(g, config, weights, x), ("N", "T_out", symbols))
    g.output("log_probs_len", lengths, ("N",), onnx.TensorProto.INT64)
    return g


def _build_streams(
    config: ModelConfig, weights: Weights, bins: int, symbols: int
) -> tuple[Graph, dict[str, tuple[int, ...]]]:
    g = Graph()
    x, end = g.input("x", ("N", "T", bins)), g.input("end", (), onnx.TensorProto.BOOL)
    end = g.op("Unsqueeze", g.op("Cast", end, to=onnx.TensorProto.INT64), g.ints(0))
    streams = Streams(g, g.size(x, 0), end)
    x = layers.normalize(g, x, weights["mean"], weights["std"])
    count = ""
    for conv in _convs(config, weights, bins):
        x, count = streams.conv(conv, streams.complete(x, count) if count else x)
    if config.rnn_layers:
        x = g.transpose(x, 1, 0, 2)
        for rnn in _rnns(config, weights):
            x = streams.recurrent(rnn, x, count)
        x = g.transpose(x, 1, 0, 2)
    if config.row_conv:
        x, count = streams.row_conv(streams.complete(x, count), weights["row_conv.weight"])
    log_probs = streams.complete(_classify(g, config, weights, x), count)
    g.output("log_probs", log_probs, ("N", "T_out", symbols))
    return g, streams.states
