"""Settings of the commands that run a network: `ds2 emit`, `ds2 align`, `ds2 decode`, `ds2 transcribe`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ds2cli.config.base import Config, setting


@dataclass(frozen=True, kw_only=True)
class InferenceConfig(Config):
    """Where the network runs, and how precisely."""

    device: Literal["auto", "cpu", "cuda"] = setting(
        "auto", help="Device that the network runs on; auto is a GPU if available.", same_result=True
    )
    precision: Literal["stored", "float32", "bfloat16", "float16", "int8", "auto"] = setting(
        "stored",
        help="Precision of weights and products: stored is that of the file, auto 16 bits on a GPU.",
    )
