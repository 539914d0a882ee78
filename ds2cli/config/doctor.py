"""Settings of `ds2 doctor …`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ds2cli.config.base import Config, setting


@dataclass(frozen=True, kw_only=True)
class CtcDoctorConfig(Config):
    """Compare the CTC losses with their formulas in float64."""

    vocab: str | None = setting(
        None, help="EXP, or a file with a symbol a line [default: the characters of the texts]."
    )
    symbols: int | None = setting(
        None, help="Symbols of the logits, blank included [default: those of --vocab, without texts 29].", min=2
    )
    stride: int | None = setting(
        None, help="Frames of a step of the network [default: as in EXP/config.toml of --vocab, else 3].", min=1
    )
    utterances: int = setting(16, help="Size of the batch: the worst utterances, then the longest ones.", min=8)
    seed: int = setting(0, help="Of the random logits.", min=0)
    device: Literal["cpu", "cuda"] = setting("cpu", help="Where to compute.")
