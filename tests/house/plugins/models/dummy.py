"""Example of a network in a plugin folder: consecutive frames are spliced to one step, then comes one hidden layer.

N utterances, T frames, F bins, T' output steps, V symbols.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from ds2cli.config.base import setting
from ds2cli.config.model import NetworkConfig
from ds2cli.nn.layers import Frames
from ds2cli.nn.network import Layer, Network
from ds2cli.nn.norm import SequenceNorm


@dataclass(frozen=True, kw_only=True)
class Config(NetworkConfig):
    """One hidden layer on spliced frames."""

    kind: str = setting("dummy", help="Kind of network.")
    splice: int = setting(2, help="Frames per output step.", min=1)
    units: int = setting(32, help="Units of the hidden layer.", min=1)

    @property
    def stride(self) -> int:
        """Frames per output step."""
        return self.splice

    @property
    def look_ahead(self) -> int:
        """Future frames that a step depends on: from the first of its frames to the last."""
        return self.splice - 1


class Model(Network):
    """Spliced frames, a hidden layer with batch norm, the output."""

    config: Config

    def __init__(self, config: Config, symbols: int, bins: int) -> None:
        super().__init__(config, bins)
        self.hidden = nn.Linear(config.splice * bins, config.units, bias=False)
        self.norm = SequenceNorm(config.units)
        self.output = nn.Linear(config.units, symbols)

    def forward(self, feats: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """feats: (N, T, F); lengths: (N,). Returns logits (T', N, V) and their lengths (N,)."""
        frames = Frames(lengths, feats.device)
        steps = Frames(self.num_steps(frames.lengths), feats.device)
        x = frames.unpack((frames.pack(feats) - self.mean) / self.std)
        x = functional.pad(x, (0, 0, 0, -x.shape[1] % self.stride))
        x = steps.pack(x.reshape(steps.rows, steps.steps, -1))
        x = functional.relu(self.norm(self.hidden(x)))
        return steps.unpack(self.output(x), steps_first=True), steps.lengths

    def list_layers(self) -> list[Layer]:
        """The hidden layer and the output."""
        hidden = Layer("hidden", f"{self.stride} frames", (self.config.units,), self.stride, (self.hidden, self.norm))
        return [hidden, Layer("output", "softmax", (self.output.out_features,), self.stride, (self.output,))]
