"""Settings of `ds2 align`."""

from __future__ import annotations

from dataclasses import dataclass

from ds2cli.config.base import StageConfig, setting


@dataclass(frozen=True, kw_only=True)
class AlignConfig(StageConfig):
    """Find out when each word was said."""

    ctm: str | None = setting(None, help="Write a CTM file too, a word a line: id 1 start duration word conf (s).")
    nj: int = setting(1, help="Threads.", min=1)
