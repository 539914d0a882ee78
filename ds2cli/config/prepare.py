"""Settings of `ds2 prepare` that every corpus has, and those that several corpora share.

A corpus declares its own in `corpora/NAME.py`: `class Options(TranscriptOptions, PrepareConfig)`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from ds2cli.config.base import Config, StageConfig, setting
from ds2cli.config.text import LanguageOption, TextOptions

EACH = "each"
"""Value of --channel that makes a row per channel."""


@dataclass(frozen=True, kw_only=True)
class PrepareConfig(StageConfig):
    """Turn a corpus on disk into a manifest.

    The stage also uses `text`, and `text_rules`, `numbers`, `remove_tags` and `lang` (config/text.py), if the corpus
    declares them. Otherwise each recording needs a text, and an utterance with digits or tags in its text is dropped.
    """

    nj: int = setting(1, help="Threads that read the recordings.", min=1, max=1024, per_core=8)
    check: Literal["decode", "header"] = setting(
        "decode", help="Decode each recording completely (finds truncated files), or trust its header (fast)."
    )
    channel: str = setting(
        "mix",
        help="Channel of multi-channel files: mix (the mean of all), a number from 0, or each (a row per channel).",
    )


@dataclass(frozen=True, kw_only=True)
class TranscriptOptions(TextOptions, LanguageOption):
    """For recordings of any language, with or without texts."""

    no_effect: ClassVar = dict.fromkeys(("text_rules", "numbers", "remove_tags"), ("text", (False,)))

    text: bool = setting(True, help="Require a text for each recording; --no-text is for decoding.")


@dataclass(frozen=True, kw_only=True)
class DownloadOptions(Config):
    """For corpora with archives at OpenSLR."""

    no_effect: ClassVar = {"mirror": ("download", (False,))}

    download: bool = setting(
        False, help="Download into SRC what is not there; an interrupted download continues.", same_result=True
    )
    mirror: str | None = setting(
        None,
        help="Mirror of OpenSLR, such as https://openslr.elda.org/resources [default: the first that answers].",
        same_result=True,
    )
