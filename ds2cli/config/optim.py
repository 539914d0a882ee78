"""Settings of the optimiser, a section of `ds2 train`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ds2cli.config.base import Config, setting


@dataclass(frozen=True, kw_only=True)
class OptimConfig(Config):
    """Steps along the gradient: AdamW, or the paper's momentum (§6), and the learning rate over the training."""

    method: Literal["adamw", "sgd"] = setting("adamw", help="AdamW, or descent with Nesterov's momentum (paper §6).")
    lr: float = setting(2e-3, help="Highest learning rate.", min=0)
    schedule: Literal["line", "cosine", "epoch", "plateau", "constant"] = setting(
        "line", help="Of the rate: to zero in a line or a half cosine, or divided by lr_divisor each epoch (paper §6) "
        "or where dev CER stands still."
    )  # fmt: skip
    warmup: float = setting(0.05, help="Share of the training in which the rate rises to its height.", min=0, max=1)
    power: float = setting(1.0, help="With line: its shape, 1 is straight, 2 falls faster first.", min=0.1, max=10)
    lr_divisor: float = setting(1.2, help="With epoch and plateau: what the rate is divided by.", min=1, max=100)
    patience: int = setting(1, help="With plateau: epochs without a better dev CER before a division.", min=1)
    momentum: float = setting(0.99, help="With sgd.", min=0, max=0.99999)
    weight_decay: float = setting(0.01, help="Decay of matrices, as a factor of the rate.", min=0)
    beta2: float = setting(0.98, help="With adamw: memory of the squared gradients.", min=0, max=0.99999)
    per: Literal["label", "utterance"] = setting(
        "label", help="What the summed cost of a batch is divided by; the paper's clip of 400 is one per utterance."
    )
    clip: float = setting(5.0, help="Gradients longer than this are cut to it, 0 is never.", min=0)
    ema: float = setting(0.0, help="Memory of the averaged weights that are used, 0 is none.", min=0, max=0.99999)
