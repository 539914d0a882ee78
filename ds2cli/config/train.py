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
        None, help="Be done in this time, also if the epochs are not; the learning rate follows.", min=0.001
    )
    init: str | None = setting(
        None, help="Network to start from, EXP or .safetensors: what fits is taken, the output symbol by symbol."
    )
    batch_s: float = setting(40.0, help="Audio in a batch, padding included (s).", min=0.1)
    batch_utts: int | None = setting(None, help="Most utterances in a batch.", min=1)
    accumulate: int = setting(1, help="Batches whose gradients make one step.", min=1)
    sorta_grad: bool = setting(True, help="First epoch from short to long utterances (paper §3.3).")
    seed: int = setting(0, help="Everything random follows from it.", min=0, max=2**63 - 1)
    device: Literal["auto", "cpu", "cuda"] = setting("auto", help="Where to compute; auto is a GPU if there is one.")
    nproc: int = setting(
        1, help="Processes that share each batch, on a GPU each, or dividing the cores. torchrun starts its own.", min=1
    )
    sync_norm: bool = setting(
        False, help="Batch statistics over all processes: without dropout their number changes nothing; slower."
    )
    readers: int = setting(0, help="Processes that read and augment, of each of --nproc; 0 is a thread.", min=0)
    restarts: int = setting(
        3, help="When one of --nproc processes dies: start all anew from last.pt, so many times in a row.", min=0
    )
    precision: Literal["float32", "bfloat16", "float16", "auto"] = setting(
        "float32", help="Of the factors of products while training; auto is bfloat16 where the machine is quick in it."
    )
    ctc: Literal["native", "torch"] = setting(
        "native", help="Whose loss: the native library's, or torch's, which is slower and differs in the last digits."
    )
    save_minutes: float = setting(10.0, help="Write last.pt also inside an epoch, this often (minutes).", min=0)
    keep: Literal["best", "last"] = setting("best", help="Keep the weights of the best dev CER, or of the last epoch.")
    keep_best: int = setting(1, help="Also keep networks of so many best epochs, to average them.", min=1)
    early_stop: int | None = setting(None, help="End after so many epochs without a better dev CER.", min=1)
    tensorboard: bool = setting(False, help="Write EXP/tensorboard too, the loss of each step and all of each epoch.")
    fresh: bool = setting(False, help="Start anew: the checkpoint, networks and rows that EXP holds are removed.")
    units: UnitsConfig = section(UnitsConfig)
    model: ModelConfig = section(ModelConfig)
    optim: OptimConfig = section(OptimConfig)
    augment: AugmentConfig = section(AugmentConfig)
