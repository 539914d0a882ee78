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
    why: str | None = setting(
        None,
        help="Experiment folder that IN was decoded with: find the cause of each error (OUT: `errors`).",
    )
    lm: str | None = setting(None, help="With --why: the language model [default: as IN was decoded].")
    alpha: float | None = setting(None, help="With --why: its weight [default: as IN was decoded].", min=0)
    beta: float | None = setting(None, help="With --why: the bonus a word, nats [default: as IN was decoded].")
    unknown: float | None = setting(None, help="With --why: for an unknown word, nats [default: as IN was decoded].")
    unknown_letter: float | None = setting(None, help="With --why: for each letter of it [default: as IN was decoded].")
    nj: int = setting(1, help="With --why: threads.", min=1)
    max_wer: float | None = setting(None, help="Exit 1 when the word error rate is above this (percent).", min=0)
    max_cer: float | None = setting(None, help="The same for the character error rate (percent).", min=0)
