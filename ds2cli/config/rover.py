"""Settings of `ds2 rover`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from ds2cli.config.base import StageConfig, setting


@dataclass(frozen=True, kw_only=True)
class RoverConfig(StageConfig):
    """Combine the texts of several systems by voting on each word."""

    no_effect: ClassVar = dict.fromkeys(("alpha", "null_conf"), ("method", ("votes",)))

    method: Literal["votes", "average", "maximum", "share"] = setting(
        "votes", help="Confidence in a word's score: none (votes), that of its voters, or its share of the total."
    )
    alpha: float = setting(
        0.5, help="Weight of the share of votes in a score; the confidence has the rest.", min=0, max=1
    )
    null_conf: float = setting(0.7, help="Confidence of systems that have no word in a place.", min=0, max=1)
    times: bool = setting(False, help="Align words by their times (`pred_words`) instead of by their spelling.")
