"""Settings of `ds2 recommend`."""

from __future__ import annotations

from dataclasses import dataclass

from ds2cli.config.base import Config, setting


@dataclass(frozen=True, kw_only=True)
class RecommendConfig(Config):
    """Choose the settings of a training from its data."""

    init: str | None = setting(
        None, help="Network to start from (EXP or .safetensors): its sizes are taken [default: random weights]."
    )
    features: str | None = setting(
        None, help="TOML file of feature settings [default: those saved with ROWS, else the default settings]."
    )
    json: bool = setting(False, help="Print one JSON object instead of the report.")
