"""Shapes of the weights that a network of the kind ds2 has by its settings, after its norms are folded.

A file may say anything, and the native library reads as many numbers as a layer says it has: weights of other shapes
would be read past their end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ds2cli.config.model import ModelConfig
from ds2cli.runtime.cells import GATES


def check_shapes(config: ModelConfig, folded: Mapping[str, NDArray[Any]]) -> None:
    """ValueError if the folded weights are not those of the settings, or not float32; KeyError if some are missing."""
    bins, symbols = folded["mean"].size, folded["output.bias"].size
    for name, shape in _list_shapes(config, bins, symbols):
        found = folded[name]
        if found.shape != shape or found.dtype != np.float32:
            raise ValueError(
                f"{name}: expected {_describe(shape)} numbers, float32, found {_describe(found.shape)}, {found.dtype}"
            )


def _list_shapes(config: ModelConfig, bins: int, symbols: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of all weights."""
    yield from (("mean", (bins,)), ("std", (bins,)))
    width, maps = bins, 1
    for i, channels in enumerate(config.channels):
        if config.conv == "1d":
            yield f"convs.{i}.conv.weight", (channels, width, config.kernels[i])
            width = channels
        else:
            yield f"convs.{i}.conv.weight", (channels, maps, config.freq_kernels[i], config.kernels[i])
            maps, bins = channels, -(-bins // config.freq_strides[i])
            width = maps * bins
        yield f"convs.{i}.conv.bias", (channels,)
    size, directions = config.rnn_size, 1 + config.bidirectional
    gates = GATES[config.cell] * size
    for i in range(config.rnn_layers):
        yield f"rnns.{i}.project.weight", (gates, width)
        yield f"rnns.{i}.project.bias", (gates,)
        yield f"rnns.{i}.recurrent", (directions, gates, size)
        width = size
    if config.row_conv:
        yield "row_conv.weight", (width, config.row_conv + 1)
    for i in range(config.fc_layers):
        yield f"dense.{i}.linear.weight", (config.fc_size, width)
        yield f"dense.{i}.linear.bias", (config.fc_size,)
        width = config.fc_size
    yield "output.weight", (symbols, width)
    yield "output.bias", (symbols,)


def _describe(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "no"
