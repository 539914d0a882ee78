"""Settings of `ds2 align`."""

from __future__ import annotations

from dataclasses import dataclass

from ds2cli.config.base import StageConfig, setting


@dataclass(frozen=True, kw_only=True)
class AlignConfig(StageConfig):
    """Forced alignment: word times for known texts."""

    ctm: str | None = setting(None, help="Also write a CTM file, one line per word: id 1 start duration word conf (s).")
    nj: int = setting(1, help="Alignment threads.", min=1, per_core=1)
