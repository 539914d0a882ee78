"""Settings of `ds2 align`."""

from __future__ import annotations

from dataclasses import dataclass

from ds2cli.config.base import StageConfig, setting
from ds2cli.config.captions import CaptionsConfig


@dataclass(frozen=True, kw_only=True)
class AlignConfig(CaptionsConfig, StageConfig):
    """Forced alignment: word times for known texts."""

    nj: int = setting(1, help="Alignment threads.", min=1, per_core=1)
