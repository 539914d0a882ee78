"""Settings of `ds2 score`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ds2cli.config.base import StageConfig, setting


@dataclass(frozen=True, kw_only=True)
class ScoreConfig(StageConfig):
    """Count the errors of pred_text against text."""

    unit: Literal["word", "char", "both"] = setting("both", help="What to count; a character error counts spaces too.")
    worst: int = setting(0, help="Show the alignments of so many of the worst utterances.", min=0)
    confusions: int = setting(0, help="Show so many of the commonest mistakes.", min=0)
    by: str | None = setting(None, help="A rate for each value of this field too, as speaker or lang.")
    ref: str | None = setting(None, help="Manifest with the texts: what IN lacks of it counts as deleted.")
    max_wer: float | None = setting(None, help="Exit 1 when the word error rate is above this (percent).", min=0)
    max_cer: float | None = setting(None, help="The same for the character error rate (percent).", min=0)
