"""Settings of `ds2 data suspects`."""

from __future__ import annotations

from dataclasses import dataclass

from ds2cli.config.base import Config, setting


@dataclass(frozen=True, kw_only=True)
class SuspectsConfig(Config):
    """Rank utterances by how likely their transcript is wrong."""

    most: int = setting(20, help="Utterances to print, the most suspicious first.", min=1)
    score: float = setting(6.0, help="Lowest score of the rows that are written to --out.", min=0)
    out: str | None = setting(None, help="Manifest to write: rows with `suspicion` and its `evidence`.")
