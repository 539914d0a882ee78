"""Settings of the network, and the choice of its kind: each kind is one file of ds2cli/nn/models, found by its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ds2cli.config.base import Config, setting
from ds2cli.config.kinds import Kinds
from ds2cli.errors import UsageError

KINDS = Kinds("ds2cli.nn.models", "kind of network", "ds2", needs=("Model",))
"""The kinds of networks."""


@dataclass(frozen=True, kw_only=True)
class NetworkConfig(Config):
    """Base class of the settings of a network. A kind derives from it and adds its own settings, all with defaults.

    `build(NetworkConfig, …)` returns the class of the given `kind`.
    """

    kind: str = setting(
        KINDS.default, help="Kind of network; --set model.kind=NAME --print-config shows the settings of another kind."
    )

    @classmethod
    def select(cls, values: Mapping[str, Any]) -> type[Config]:
        """The config class of the kind in `values`; UsageError for an unknown one."""
        # the settings of the default kind are in this file, because its module imports torch
        return KINDS.select(values, ModelConfig)

    def to_saved(self) -> dict[str, Any]:
        """The settings as they are stored with a network; the default kind is left out, for version 0.1."""
        return KINDS.to_saved(self)

    @property
    def stride(self) -> int:
        """Frames per output step: T frames give ceil(T / stride) steps."""
        raise NotImplementedError

    @property
    def look_ahead(self) -> int | None:
        """Number of future frames that the output of a step depends on; None: up to the end of the utterance."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class ModelConfig(NetworkConfig):
    """Deep Speech 2: convolutions, recurrent layers, row convolution, fully connected layers (paper §3.1)."""

    input_norm: Literal["corpus", "utterance"] = setting(
        "corpus",
        help="Subtract the mean of each bin over the training set (corpus) or over each utterance.",
    )
    conv: Literal["1d", "2d"] = setting(
        "1d", help="Convolutions over time (1d) or over frequency and time (2d) (paper §3.5)."
    )
    channels: tuple[int, ...] = setting(
        (256, 256), help="Output channels of each convolution; 1 to 3 layers.", min=1, max=65536
    )
    kernels: tuple[int, ...] = setting(
        (11, 5), help="Filter length in time of each convolution (frames, odd).", min=1, max=9999
    )
    strides: tuple[int, ...] = setting((3, 1), help="Time stride of each convolution (frames).", min=1, max=1000)
    freq_kernels: tuple[int, ...] = setting(
        (41, 21, 21), help="Filter height in frequency of each 2d convolution (bins, odd).", min=1, max=9999
    )
    freq_strides: tuple[int, ...] = setting(
        (2, 2, 2), help="Frequency stride of each 2d convolution (bins).", min=1, max=1000
    )
    cell: Literal["rnn", "gru", "lstm"] = setting(
        "gru", help="Recurrent cell: simple RNN (paper eq. 3), GRU (eq. 10) or LSTM."
    )
    activation: Literal["relu", "tanh"] = setting(
        "tanh", help="Activation of the RNN state or the GRU candidate: tanh, or the paper's ReLU clipped at 20."
    )
    norm: Literal["batch", "none"] = setting(
        "batch", help="Sequence-wise batch normalization in every layer (paper eq. 8), or none (biases instead)."
    )
    rnn_layers: int = setting(3, help="Number of recurrent layers.", min=0, max=1000)
    rnn_size: int = setting(256, help="Hidden units per recurrent layer and direction.", min=1, max=65536)
    bidirectional: bool = setting(
        True, help="Bidirectional recurrent layers, directions summed; false: forward only (for streaming)."
    )
    row_conv: int = setting(
        0,
        help="Look-ahead of the row convolution after forward-only layers (steps; 0: none; paper eq. 11).",
        min=0,
        max=10000,
    )
    recurrent_gain: float = setting(
        1.0, help="Scale of the initial recurrent weights, which are orthogonal matrices.", min=0.001, max=10
    )
    fc_layers: int = setting(0, help="Number of fully connected layers before the output.", min=0, max=1000)
    fc_size: int = setting(256, help="Units per fully connected layer.", min=1, max=65536)
    dropout: float = setting(0.1, help="Dropout after each layer (probability).", min=0, max=0.95)

    def __post_init__(self) -> None:
        """Raise UsageError for settings that contradict each other."""
        layers = len(self.channels)
        if not 1 <= layers <= 3:
            raise UsageError(f"model.channels: expected 1 to 3 convolutions, got {layers}")
        frequency = {"freq_kernels": self.freq_kernels, "freq_strides": self.freq_strides} if self.conv == "2d" else {}
        for name, values in {"kernels": self.kernels, "strides": self.strides, **frequency}.items():
            if len(values) < layers:
                raise UsageError(f"model.{name}: expected {layers} values, one per convolution, got {len(values)}")
            if name.endswith("kernels") and any(k % 2 == 0 for k in values):
                raise UsageError(f"model.{name}: expected odd filter lengths, got {list(values)}")
        if self.cell == "lstm" and self.activation != "tanh":
            raise UsageError(
                f"model.activation: expected tanh with cell lstm, got {self.activation} "
                "(model.activation=tanh or model.cell=gru)"
            )
        if self.input_norm == "utterance" and not self.bidirectional:
            raise UsageError(
                "model.input_norm: expected corpus in a forward-only network, got utterance, known at its end only "
                "(model.input_norm=corpus or model.bidirectional=true)"
            )
        if self.row_conv and self.bidirectional:
            raise UsageError(
                f"model.row_conv: expected 0 in a bidirectional network, got {self.row_conv} "
                "(model.bidirectional=false or model.row_conv=0)"
            )

    @property
    def stride(self) -> int:
        """Frames per output step."""
        stride = 1
        for s in self.strides[: len(self.channels)]:
            stride *= s
        return stride

    @property
    def look_ahead(self) -> int | None:
        """Number of future frames that the output of a step depends on; None: up to the end of the utterance."""
        if self.input_norm == "utterance" or (self.bidirectional and self.rnn_layers):
            return None
        frames, step = 0, 1
        for kernel, stride in zip(self.kernels, self.strides[: len(self.channels)], strict=False):
            frames += kernel // 2 * step
            step *= stride
        return frames + self.row_conv * step


@dataclass(frozen=True, kw_only=True)
class ShowConfig(Config):
    """Settings of `ds2 model show`."""

    symbols: int | None = setting(
        None, help="Output symbols, blank included [default: from EXP; 29 for a config].", min=2
    )
    bins: int | None = setting(None, help="Feature bins per frame [default: from EXP; 161 for a config].", min=1)
    hop_ms: float | None = setting(None, help="Hop between frames (ms) [default: from EXP; 10 for a config].", min=0.1)
    json: bool = setting(False, help="Print one JSON object instead of the table.")


@dataclass(frozen=True, kw_only=True)
class QuantizeConfig(Config):
    """Settings of `ds2 model quantize`."""

    weights: Literal["int8", "bfloat16"] = setting(
        "int8", help="How weights are stored: int8 with a scale per output (a quarter of float32), or bfloat16 (half)."
    )
