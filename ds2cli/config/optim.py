"""Settings of the optimizer, a section of `ds2 train`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from ds2cli.config.base import Config, setting


@dataclass(frozen=True, kw_only=True)
class OptimConfig(Config):
    """Optimizer, learning-rate schedule, gradient clipping and weight averaging."""

    no_effect: ClassVar = {
        "momentum": ("method", ("adamw",)),
        "beta2": ("method", ("sgd",)),
        "power": ("schedule", ("cosine", "epoch", "plateau", "constant")),
        "lr_divisor": ("schedule", ("line", "cosine", "constant")),
        "patience": ("schedule", ("line", "cosine", "epoch", "constant")),
    }

    method: Literal["adamw", "sgd"] = setting("adamw", help="AdamW, or SGD with Nesterov momentum (paper §6).")
    lr: float = setting(2e-3, help="Peak learning rate.", min=0)
    schedule: Literal["line", "cosine", "epoch", "plateau", "constant"] = setting(
        "line", help="Decay to zero (line, cosine), division per epoch or dev-CER plateau (lr_divisor), or constant."
    )
    warmup: float = setting(0.05, help="Fraction of training over which the rate rises to its peak.", min=0, max=1)
    power: float = setting(
        1.0, help="Exponent of the line schedule: 1 is linear, 2 falls faster at first.", min=0.1, max=10
    )
    lr_divisor: float = setting(
        1.2, help="Divisor of the learning rate in the schedules epoch (paper §6) and plateau.", min=1, max=100
    )
    patience: int = setting(
        1, help="Epochs without a lower dev CER before the plateau schedule divides the learning rate.", min=1
    )
    momentum: float = setting(0.99, help="Momentum of sgd.", min=0, max=0.99999)
    weight_decay: float = setting(
        0.01, help="Decoupled weight decay: matrices shrink by lr * weight_decay per step.", min=0
    )
    beta2: float = setting(0.98, help="Decay rate of the average of squared gradients in adamw.", min=0, max=0.99999)
    per: Literal["label", "utterance"] = setting(
        "label", help="Average a batch's cost per label or per utterance (use utterance with the paper's clip of 400)."
    )
    clip: float = setting(5.0, help="Maximum norm of the gradient; 0 disables clipping.", min=0)
    ema: float = setting(
        0.0,
        help="Evaluate and save an exponential moving average of the weights with this decay; 0 disables it.",
        min=0,
        max=0.99999,
    )
