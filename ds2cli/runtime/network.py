"""A trained network of the kind ds2, for streams and whole recordings. Notation: T frames, F bins, V symbols."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ds2cli.config.model import ModelConfig
from ds2cli.runtime.fold import fold_norms
from ds2cli.runtime.layers import Conv1d, Conv2d, Dense, Layer, Recurrent, RowConv, UtteranceMean, count_state_bytes
from ds2cli.runtime.matrix import Array, Weights
from ds2cli.runtime.ragged import Ragged
from ds2cli.runtime.shapes import check_shapes


class StreamState:
    """What the network knows of one stream: the state of each layer."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.states = [layer.begin() for layer in layers]

    @property
    def bytes(self) -> int:
        """Memory of its arrays."""
        return sum(map(count_state_bytes, self.states))


class RuntimeNetwork:
    """Maps features to the logits of V symbols; one network serves any number of streams and threads."""

    def __init__(self, config: ModelConfig, state: Mapping[str, Array], weights: Weights = "float32") -> None:
        """state: the weights as they are saved. weights: how they are kept; those of the row convolution and of the
        output layer are always float32.

        KeyError or ValueError if the weights do not fit the settings.
        """
        self.config, self.weights = config, weights
        state = fold_norms(state)
        check_shapes(config, state)
        self.mean, self.std = state["mean"], state["std"]
        self.offset = np.zeros_like(self.mean) if config.input_norm == "utterance" else self.mean
        output = Dense(state["output.weight"], state["output.bias"], "float32", relu=False)
        self._symbols = len(state["output.bias"])
        self._layers = [*_make_layers(config, state, weights), output]

    @property
    def bins(self) -> int:
        """Bins per feature frame, F."""
        return len(self.mean)

    @property
    def symbols(self) -> int:
        """Output symbols, V."""
        return self._symbols

    @property
    def stride(self) -> int:
        """Frames per output step."""
        return self.config.stride

    @property
    def can_stream(self) -> bool:
        """Whether outputs come before the end of the recording: the network is forward-only."""
        return self.config.look_ahead is not None

    def begin(self) -> StreamState:
        """The state of a new stream."""
        return StreamState(self._layers)

    def advance(
        self, states: Sequence[StreamState], feats: Sequence[Array], ends: Sequence[bool] | None = None
    ) -> list[Array]:
        """The logits (T_i', V) that are complete with the next features of each stream, T_i' >= 0.

        feats: (T_i, F) float32 each, not normalized, T_i >= 0. ends: whether each stream ends with these; afterwards it
        is not used again. The result of a stream does not depend on the others, nor on how it was cut: to the bit with
        the native library, up to rounding in numpy. ValueError for features of another number of bins.
        """
        return self.advance_together(states, feats, ends).split() if states else []

    def advance_together(
        self, states: Sequence[StreamState], feats: Sequence[Array], ends: Sequence[bool] | None = None
    ) -> Ragged:
        """The same in one array."""
        if wrong := [x.shape for x in feats if x.ndim != 2 or x.shape[1] != self.bins]:
            raise ValueError(f"features: expected (T, {self.bins}), got {wrong[0]}")
        ends = [False] * len(states) if ends is None else ends
        x = Ragged.join([np.asarray(part, np.float32) for part in feats])
        x = Ragged((x.rows - self.offset) / self.std, x.counts)
        for i, layer in enumerate(self._layers):
            x = layer.advance([state.states[i] for state in states], x, ends)
        return x

    def compute(self, feats: Sequence[Array]) -> list[Array]:
        """The logits (T_i', V) of whole recordings (T_i, F), T_i' = ceil(T_i / stride)."""
        return self.advance([self.begin() for _ in feats], feats, [True] * len(feats))


def _make_layers(config: ModelConfig, state: Mapping[str, Array], kind: Weights) -> list[Layer]:
    """The layers before the output."""
    bins = len(state["mean"])
    layers: list[Layer] = [UtteranceMean(bins)] if config.input_norm == "utterance" else []
    for i in range(len(config.channels)):
        weight, bias = state[f"convs.{i}.conv.weight"], state[f"convs.{i}.conv.bias"]
        if config.conv == "1d":
            layers.append(Conv1d(weight, bias, config.strides[i], kind))
        else:
            conv = Conv2d(weight, bias, (config.freq_strides[i], config.strides[i]), bins, kind)
            layers.append(conv)
            bins = conv.bins_out
    for i in range(config.rnn_layers):
        project, bias = state[f"rnns.{i}.project.weight"], state[f"rnns.{i}.project.bias"]
        layers.append(Recurrent(project, bias, state[f"rnns.{i}.recurrent"], config.cell, config.activation, kind))
    if config.row_conv:
        layers.append(RowConv(state["row_conv.weight"]))
    for i in range(config.fc_layers):
        layers.append(Dense(state[f"dense.{i}.linear.weight"], state[f"dense.{i}.linear.bias"], kind, relu=True))
    return layers
