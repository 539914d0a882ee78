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
        "votes", help="Confidence in a word's score: none, mean or maximum of its votes, or its share of the set's sum."
    )
    alpha: float = setting(
        0.5, help="Weight of the share of votes in a word's score; the confidence has 1 - alpha.", min=0, max=1
    )
    null_conf: float = setting(
        0.7, help="Confidence of the null word, for which a system without a word in a set votes.", min=0, max=1
    )
    times: bool = setting(False, help="Align words by their times (`pred_words`) instead of by edit distance.")
