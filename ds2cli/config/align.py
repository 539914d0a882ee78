"""Settings of `ds2 align`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ds2cli.config.base import StageConfig, setting
from ds2cli.config.captions import CaptionsConfig
from ds2cli.config.inference import InferenceConfig
from ds2cli.config.text import RulesOption
from ds2cli.config.timing import TimingConfig


@dataclass(frozen=True, kw_only=True)
class AlignConfig(InferenceConfig, TimingConfig, CaptionsConfig, RulesOption, StageConfig):
    """Forced alignment: word times for known texts, or a measurement of their errors."""

    no_effect: ClassVar = {
        **CaptionsConfig.no_effect,
        **dict.fromkeys(("gap_cost", "skip_cost"), (("gaps", "book"), (False, None))),
        **dict.fromkeys(("lang", "text_rules"), ("book", (None,))),
        "seed": (("tune", "measure"), (False,)),
        **dict.fromkeys(("shift_ms", "extend_ms", "measure"), ("tune", (True,))),
    }

    gaps: bool = setting(
        False, help="Allow gaps: words that were not said, and speech that is not in the text; list them as `gaps`."
    )
    gap_cost: float = setting(20.0, help="Cost of a gap (nats): higher for fewer gaps.", min=0, max=10000)
    skip_cost: float = setting(3.0, help="Cost per symbol of the words left out in a gap (nats).", min=0, max=10000)
    max_unaligned: float = setting(
        50.0,
        help="Drop an utterance with more than this share (percent) of words in gaps, or unspellable.",
        min=0,
        max=100,
    )
    max_word: float = setting(
        3.0, help="Longest word (s): a longer one is taken out of `words` and listed in `gaps`.", min=0.1
    )
    chars: bool = setting(False, help="Also write the times of the symbols, as `chars`.")
    book: str | None = setting(
        None, help="Align all recordings of IN, in order, with the one text in this file, and allow gaps."
    )
    lang: str = setting("en", help="Language of the book, such as en, tr or pt-BR, if the rows have no `lang`.")
    tune: bool = setting(
        False, help="Estimate the systematic error of word times on IN, a dev set of clips; save it in EXP/align.toml."
    )
    measure: bool = setting(False, help="Measure the errors of word times on IN, a set of clips.")
    seed: int = setting(0, help="With --tune and --measure: seed of the order in which clips are joined.", min=0)
    nj: int = setting(1, help="Alignment threads.", min=1, per_core=1)
