"""Settings of `ds2 doctor …`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ds2cli.config.base import Config, setting


@dataclass(frozen=True, kw_only=True)
class CtcDoctorConfig(Config):
    """Settings of `ds2 doctor ctc`."""

    vocab: str | None = setting(
        None, help="EXP, or a file with one symbol per line [default: the characters of the texts]."
    )
    symbols: int | None = setting(
        None, help="Number of symbols, blank included [default: those of --vocab; 29 without MANIFEST].", min=2
    )
    stride: int | None = setting(
        None, help="Frames per output step [default: from config.toml of --vocab EXP, else 3].", min=1
    )
    utterances: int = setting(16, help="Batch size: the hardest utterances of each kind, then the longest.", min=8)
    seed: int = setting(0, help="Seed of the random logits.", min=0)
    device: Literal["cpu", "cuda"] = setting("cpu", help="Device to compute on.")
