"""Settings of `ds2 score`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from ds2cli.config.base import StageConfig, setting

SEARCH_SETTINGS = ("lm", "alpha", "beta", "unknown", "unknown_letter")
"""Settings of --why that override those that the rows were decoded with."""


@dataclass(frozen=True, kw_only=True)
class ScoreConfig(StageConfig):
    """Count the errors of `pred_text` against `text`."""

    no_effect: ClassVar = dict.fromkeys((*SEARCH_SETTINGS, "nj"), ("why", (None,)))

    unit: Literal["word", "char", "both"] = setting("both", help="Unit of the error rate; characters include spaces.")
    normalize: bool = setting(
        False, help="First normalize both texts, as ds2 prepare does, in the row's `lang`; numbers are spelled."
    )
    lang: str = setting("en", help="Language of rows without `lang`, for --normalize and for differences of writing.")
    worst: int = setting(0, help="Print the alignments of this many utterances, those with the most errors.", min=0)
    confusions: int = setting(0, help="Print this many of the most frequent errors.", min=0)
    by: str | None = setting(None, help="Also print a rate per value of this field, such as speaker or lang.")
    ref: str | None = setting(
        None, help="Manifest of the references; those of its utterances that IN lacks count as deleted."
    )
    why: str | None = setting(
        None, help="Experiment that IN was decoded with: find the cause of each error (field `errors` of OUT)."
    )
    lm: str | None = setting(None, help="With --why: language model [default: as IN was decoded].")
    alpha: float | None = setting(None, help="With --why: language-model weight [default: as IN was decoded].", min=0)
    beta: float | None = setting(
        None, help="With --why: word insertion bonus (nats per word) [default: as IN was decoded]."
    )
    unknown: float | None = setting(
        None, help="With --why: added per unknown word (nats; negative is a penalty) [default: as IN was decoded]."
    )
    unknown_letter: float | None = setting(
        None,
        help="With --why: added per letter of an unknown word (nats; negative is a penalty) "
        "[default: as IN was decoded].",
    )
    nj: int = setting(1, help="With --why: search threads.", min=1, per_core=1)
    max_wer: float | None = setting(
        None, help="Exit with status 1 if the word error rate is above this (percent).", min=0
    )
    max_cer: float | None = setting(
        None, help="Exit with status 1 if the character error rate is above this (percent).", min=0
    )
