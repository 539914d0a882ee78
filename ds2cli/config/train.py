"""Settings of `ds2 train`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ds2cli.config.augment import AugmentConfig
from ds2cli.config.base import StageConfig, section, setting
from ds2cli.config.model import ModelConfig
from ds2cli.config.optim import OptimConfig
from ds2cli.config.units import UnitsConfig


@dataclass(frozen=True, kw_only=True)
class TrainConfig(StageConfig):
    """Train a network; the same command goes on where an earlier one ended."""

    epochs: int = setting(20, help="Passes over the training set.", min=1)
    minutes: float | None = setting(
        None, help="Be done in this time, also if the epochs are not; the learning rate follows.", min=0
    )
    batch_s: float = setting(40.0, help="Audio in a batch, padding included (s).", min=0.1)
    sorta_grad: bool = setting(True, help="First epoch from short to long utterances (paper §3.3).")
    seed: int = setting(0, help="Everything random follows from it.", min=0)
    nproc: int = setting(1, help="Processes that share each batch; the machine's cores are divided among them.", min=1)
    precision: Literal["float32", "bfloat16", "auto"] = setting(
        "float32", help="Of the factors of products while training; auto is bfloat16 where the processor has it."
    )
    ctc: Literal["native", "torch"] = setting(
        "native", help="Whose loss: the native library's, or torch's, which is slower and differs in the last digits."
    )
    save_minutes: float = setting(10.0, help="Write last.pt also inside an epoch, this often (minutes).", min=0)
    keep: Literal["best", "last"] = setting("best", help="Keep the weights of the best dev CER, or of the last epoch.")
    fresh: bool = setting(False, help="Start anew even where EXP holds a checkpoint.")
    units: UnitsConfig = section(UnitsConfig)
    model: ModelConfig = section(ModelConfig)
    optim: OptimConfig = section(OptimConfig)
    augment: AugmentConfig = section(AugmentConfig)
