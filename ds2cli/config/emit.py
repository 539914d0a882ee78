"""Settings of `ds2 emit`."""

from __future__ import annotations

from dataclasses import dataclass

from ds2cli.config.base import StageConfig, setting
from ds2cli.config.inference import InferenceConfig


@dataclass(frozen=True, kw_only=True)
class EmitConfig(InferenceConfig, StageConfig):
    """Compute emissions: the network's log-probabilities of each step."""

    dir: str | None = setting(None, help="Folder for the archive [default: emissions/ next to OUT].")
    ensemble: tuple[str, ...] = setting(
        (), help="Experiments whose probabilities are averaged with those of EXP (same symbols, features, stride)."
    )
