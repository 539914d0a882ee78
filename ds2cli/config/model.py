"""Settings of the network, a section of `ds2 train`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ds2cli.config.base import Config, setting
from ds2cli.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Config):
    """The network: convolutions, recurrent layers, row convolution, fully connected layers (paper §3.1)."""

    conv: Literal["1d", "2d"] = setting("1d", help="Convolve over time, or over frequency and time (paper §3.5).")
    channels: tuple[int, ...] = setting((256, 256), help="Channels of each convolution, 1 to 3 of them.", min=1)
    kernels: tuple[int, ...] = setting((11, 5), help="Filter length of each convolution (frames, odd).", min=1)
    strides: tuple[int, ...] = setting((3, 1), help="Time stride of each convolution (frames).", min=1)
    freq_kernels: tuple[int, ...] = setting((41, 21, 21), help="Filter height of each 2d filter (bins, odd).", min=1)
    freq_strides: tuple[int, ...] = setting((2, 2, 2), help="Frequency stride of each 2d convolution (bins).", min=1)
    cell: Literal["rnn", "gru", "lstm"] = setting(
        "gru", help="Recurrent cell: simple (paper eq. 3), gated (eq. 10), or long short-term memory."
    )
    activation: Literal["relu", "tanh"] = setting(
        "tanh", help="Of a simple cell's state or a GRU's candidate: relu is the paper's, clipped at 20."
    )
    norm: Literal["batch", "none"] = setting(
        "batch", help="Sequence-wise batch normalisation of every layer (paper eq. 8), or biases instead."
    )
    rnn_layers: int = setting(3, help="Recurrent layers.", min=0)
    rnn_size: int = setting(256, help="Units of a recurrent layer and direction.", min=1)
    bidirectional: bool = setting(True, help="Run both directions and add them; false is forward only.")
    row_conv: int = setting(
        0, help="Look-ahead of a row convolution above forward-only layers (steps, paper eq. 11), 0 is none.", min=0
    )
    fc_layers: int = setting(0, help="Fully connected layers before the output.", min=0)
    fc_size: int = setting(256, help="Units of a fully connected layer.", min=1)
    dropout: float = setting(0.1, help="Dropout after each layer (probability).", min=0, max=0.95)

    def __post_init__(self) -> None:
        """UsageError for settings that do not go together."""
        layers = len(self.channels)
        if not 1 <= layers <= 3:
            raise UsageError(f"model.channels: expected 1 to 3 convolutions, got {layers}")
        two_d = {"freq_kernels": self.freq_kernels, "freq_strides": self.freq_strides} if self.conv == "2d" else {}
        for name, values in {"kernels": self.kernels, "strides": self.strides, **two_d}.items():
            if len(values) < layers:
                raise UsageError(f"model.{name}: expected {layers} values, one a convolution, got {len(values)}")
            if name.endswith("kernels") and any(k % 2 == 0 for k in values):
                raise UsageError(f"model.{name}: filter lengths are odd, got {list(values)}")
        if self.cell == "lstm" and self.activation != "tanh":
            raise UsageError(
                f"model.activation: an LSTM's is tanh, got {self.activation} (model.activation=tanh, or model.cell=gru)"
            )
        if self.row_conv and self.bidirectional:
            raise UsageError(
                "model.row_conv: is for forward-only networks, and this one runs both directions "
                "(model.bidirectional=false, or model.row_conv=0)"
            )

    @property
    def stride(self) -> int:
        """Frames from one output step to the next."""
        stride = 1
        for s in self.strides[: len(self.channels)]:
            stride *= s
        return stride


@dataclass(frozen=True, kw_only=True)
class ShowConfig(Config):
    """Show a network."""

    symbols: int | None = setting(
        None, help="Output symbols with the blank [default: those of EXP, 29 of a config].", min=2
    )
    bins: int | None = setting(None, help="Bins of a feature frame [default: those of EXP, 161 of a config].", min=1)
    hop_ms: float | None = setting(
        None, help="Time from frame to frame (ms) [default: that of EXP, 10 of a config].", min=0.1
    )
    json: bool = setting(False, help="Print one JSON object instead.")
