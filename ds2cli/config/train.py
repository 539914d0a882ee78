"""Settings of `ds2 train`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ds2cli.config.augment import AugmentConfig
from ds2cli.config.base import StageConfig, section, setting
from ds2cli.config.mix import MixConfig
from ds2cli.config.model import ModelConfig, NetworkConfig
from ds2cli.config.optim import OptimConfig
from ds2cli.config.units import UnitsConfig


@dataclass(frozen=True, kw_only=True)
class TrainConfig(StageConfig):
    """Training settings."""

    epochs: int = setting(20, help="Epochs (passes over the training set).", min=1)
    minutes: float | None = setting(
        None,
        help="Stop after this many minutes if epochs remain; the schedule follows the clock, so results vary "
        "[default: no limit].",
        min=0.001,
    )
    init: str | None = setting(
        None,
        help="Network to start from (EXP or .safetensors): matching weights and output symbols are copied "
        "[default: random weights].",
    )
    batch_s: float = setting(40.0, help="Audio per batch, including padding (s).", min=0.1)
    batch_utts: int | None = setting(None, help="Maximum utterances per batch [default: no limit].", min=1)
    accumulate: int = setting(1, help="Number of batches whose gradients are accumulated for each step.", min=1)
    sorta_grad: bool = setting(
        True, help="Train the first epoch from short to long utterances (SortaGrad, paper §3.3)."
    )
    seed: int = setting(0, help="Seed of all random numbers.", min=0, max=2**63 - 1)
    device: Literal["auto", "cpu", "cuda"] = setting(
        "auto", help="Device to train on; auto is a GPU if available.", same_result=True
    )
    nproc: int = setting(
        1,
        help="Processes that divide each batch, at most one per core or GPU; ignored under torchrun.",
        min=1,
        max=1024,
        same_result=True,
    )
    sync_norm: bool = setting(
        False, help="Compute batch-norm statistics over all processes (slower), as if there were only one."
    )
    readers: int = setting(
        0,
        help="Data-loader processes per training process; 0 reads in a thread.",
        min=0,
        max=1024,
        same_result=True,
    )
    restarts: int = setting(
        3,
        help="Maximum restarts in a row from last.pt when one of the --nproc processes dies.",
        min=0,
        same_result=True,
    )
    precision: Literal["float32", "bfloat16", "float16", "auto"] = setting(
        "float32",
        help="Precision of matrix products; auto: bfloat16 if faster, else float32 (GPU: bfloat16 or float16).",
    )
    ctc: Literal["native", "torch"] = setting(
        "native", help="CTC implementation: native, or torch (slower; differs in the last digits)."
    )
    save_minutes: float = setting(
        10.0, help="Minutes between writes of last.pt within an epoch.", min=0, same_result=True
    )
    keep: Literal["best", "last"] = setting(
        "best", help="Weights saved in best.safetensors: from the epoch with the lowest dev CER, or from the last one."
    )
    keep_best: int = setting(
        1, help="Number of best epochs to keep as epoch-NNN.safetensors, for averaging; 1: none.", min=1
    )
    early_stop: int | None = setting(
        None, help="Stop after this many epochs without a lower dev CER [default: never].", min=1
    )
    tensorboard: bool = setting(
        False,
        help="Also write EXP/tensorboard: the loss of each step and the results of each epoch.",
        same_result=True,
    )
    fresh: bool = setting(False, help="Start over: remove the checkpoint, networks and rows in EXP.", same_result=True)
    units: UnitsConfig = section(UnitsConfig)
    model: NetworkConfig = section(ModelConfig)
    optim: OptimConfig = section(OptimConfig)
    augment: AugmentConfig = section(AugmentConfig)
    mix: MixConfig = section(MixConfig)
