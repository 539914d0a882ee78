"""Settings of `ds2 filter`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ds2cli.config.base import StageConfig, setting


@dataclass(frozen=True, kw_only=True)
class FilterConfig(StageConfig):
    """Drop utterances whose text is wrong, or fit the classifier that does it."""

    no_effect: ClassVar = {
        **dict.fromkeys(("keep_wer", "raw_wer", "copies", "seed"), ("fit", (False,))),
        "threshold": ("keep_all", (True,)),
        "keep_all": ("fit", (True,)),
    }

    fit: bool = setting(
        False, help="Fit the classifier to IN, whose texts are right (a dev set); save it in EXP/filter.toml."
    )
    keep_wer: float = setting(
        5.0, help="With --fit: word error rate that the texts that are kept must stay below (percent).", min=0.1, max=99
    )
    raw_wer: float = setting(
        17.0, help="With --fit: word error rate to expect of texts before filtering (percent).", min=0.2, max=99
    )
    copies: int = setting(3, help="With --fit: wrong texts per utterance and kind of error.", min=1, max=1000)
    seed: int = setting(0, help="With --fit: seed of the wrong texts, the folds and the bootstrap.", min=0)
    threshold: float | None = setting(
        None, help="Keep texts with a score (0 to 1) of at least this [default: the one found by --fit].", min=0, max=1
    )
    keep_all: bool = setting(False, help="Keep every row, and only add its `filter_score`.")
    nj: int = setting(1, help="Threads for the CTC costs.", min=1, per_core=1)
