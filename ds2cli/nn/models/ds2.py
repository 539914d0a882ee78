"""Deep Speech 2: convolutions, recurrent layers, row convolution, fully connected layers, output (paper §3.1)."""

from __future__ import annotations

from torch import Tensor, nn

from ds2cli.config.model import ModelConfig
from ds2cli.nn.layers import Conv1d, Conv2d, Dense, Frames, Recurrent, RowConv, make_norm
from ds2cli.nn.network import Layer, Network
from ds2cli.nn.rnn.cells import CELLS
from ds2cli.nn.streaming import ConvStream, Pointwise, RecurrentStream, RowConvStream, Stream, StreamChain


class DeepSpeech2(Network):
    """The network from frames of features to the logits of V symbols, blank at 0."""

    config: ModelConfig

    def __init__(self, config: ModelConfig, symbols: int, bins: int) -> None:
        super().__init__(config, bins)
        layers, norm = len(config.channels), config.norm == "batch"
        self.convs = nn.ModuleList()
        maps, width = 1, bins
        for i in range(layers):
            channels, kernel, stride = config.channels[i], config.kernels[i], config.strides[i]
            if config.conv == "1d":
                self.convs.append(Conv1d(width, channels, kernel, stride, norm=norm))
                width = channels
            else:
                shape, step = (config.freq_kernels[i], kernel), (config.freq_strides[i], stride)
                conv = Conv2d(maps, bins, channels, shape, step, norm=norm)
                self.convs.append(conv)
                maps, bins = channels, conv.bins_out
                width = maps * bins
        self.rnns = nn.ModuleList()
        cell = CELLS[config.cell, config.activation]
        both, gain = config.bidirectional, config.recurrent_gain
        for _ in range(config.rnn_layers):
            rnn = Recurrent(width, config.rnn_size, bidirectional=both, cell=cell, norm=norm, gain=gain)
            self.rnns.append(rnn)
            width = config.rnn_size
        self.row_conv = RowConv(width, config.row_conv) if config.row_conv else None
        self.dense = nn.ModuleList()
        for _ in range(config.fc_layers):
            self.dense.append(Dense(width, config.fc_size, norm=norm))
            width = config.fc_size
        self.norm = make_norm(width, norm)
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(width, symbols)

    def forward(self, feats: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the logits of a padded batch.

        feats: (N, T, F) float32, not normalized; frames past the length of an utterance are ignored.
        lengths: (N,) int64, longest first, preferably on the CPU.
        Returns logits (T', N, V) and their lengths (N,) on the CPU.
        """
        frames = Frames(lengths, feats.device)
        x = frames.pack(feats)
        x = (x - (frames.mean(x) if self.config.input_norm == "utterance" else self.mean)) / self.std
        for conv in self.convs:
            x, frames = conv(x, frames)
            x = self.dropout(x)
        for rnn in self.rnns:
            x = self.dropout(rnn(x, frames))
        if self.row_conv is not None:
            x = self.row_conv(x, frames)
        return frames.unpack(self._classify(x), steps_first=True), frames.lengths

    def _classify(self, x: Tensor) -> Tensor:
        """The layers of single steps at the end, (M, H) to (M, V)."""
        for dense in self.dense:
            x = self.dropout(dense(x))
        return self.output(self.norm(x))  # type: ignore[no-any-return]

    @property
    def can_stream(self) -> bool:
        """Whether the network is forward-only."""
        return self.config.look_ahead is not None

    def stream(self, streams: int = 1) -> Stream:
        """See `Network.stream`. ValueError for a bidirectional network, or in training mode."""
        if not self.can_stream or self.training:
            raise ValueError("expected a forward-only network in evaluation mode")

        def normalize(x: Tensor) -> Tensor:
            return (x - self.mean) / self.std

        layers: list[Stream] = [Pointwise(normalize, self.mean.new_zeros(0, streams, len(self.mean)))]
        layers.extend(ConvStream(conv, streams) for conv in self.convs)  # type: ignore[arg-type]
        layers.extend(RecurrentStream(rnn, streams) for rnn in self.rnns)  # type: ignore[arg-type]
        if self.row_conv is not None:
            layers.append(RowConvStream(self.row_conv, streams))
        first = next(m for m in (*self.dense.modules(), self.output) if isinstance(m, nn.Linear))
        classify = Pointwise(self._classify, self.mean.new_zeros(0, streams, first.in_features))
        return StreamChain([*layers, classify])

    def list_layers(self) -> list[Layer]:
        """The layers from the input to the output."""
        config, layers, stride = self.config, [], 1
        for i, conv in enumerate(self.convs):
            kernel, step = config.kernels[i], config.strides[i]
            stride *= step
            if isinstance(conv, Conv1d):
                shape: tuple[int, ...] = (conv.conv.out_channels,)
                layers.append(Layer(f"conv{i + 1}", f"1d {kernel}, stride {step}", shape, stride, (conv,)))
            elif isinstance(conv, Conv2d):
                what = f"2d {config.freq_kernels[i]}x{kernel}, stride {config.freq_strides[i]}x{step}"
                shape = (conv.bins_out, conv.channels)
                layers.append(Layer(f"conv{i + 1}", what, shape, stride, (conv,), conv.bins_out))
        cell = config.cell if config.cell == "lstm" else f"{config.cell}, {config.activation}"
        what = f"{cell}, {'both directions' if config.bidirectional else 'forward'}"
        for i, rnn in enumerate(self.rnns):
            layers.append(Layer(f"rnn{i + 1}", what, (config.rnn_size,), stride, (rnn,)))
        if self.row_conv is not None:
            shape = (len(self.row_conv.weight),)
            layers.append(Layer("row_conv", f"{config.row_conv} steps ahead", shape, stride, (self.row_conv,)))
        for i, dense in enumerate(self.dense):
            layers.append(Layer(f"fc{i + 1}", "relu", (config.fc_size,), stride, (dense,)))
        symbols = self.output.out_features
        layers.append(Layer("output", "softmax", (symbols,), stride, (self.norm, self.output)))
        return layers


Config, Model = ModelConfig, DeepSpeech2
