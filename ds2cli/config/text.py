"""Settings of the commands that normalize texts; ds2cli/text/ has the rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ds2cli.config.base import Config, setting


@dataclass(frozen=True, kw_only=True)
class TextOptions(Config):
    """For texts that may have digits and tags."""

    numbers: Literal["refuse", "spell"] = setting(
        "refuse", help="Drop texts with digits (refuse), or spell the numbers that can be read in only one way (spell)."
    )
    remove_tags: str = setting(
        "", help='Tags to remove from texts, such as "laughter, noise"; any other [tag] drops its text.'
    )


@dataclass(frozen=True, kw_only=True)
class LanguageOption(Config):
    """For texts of any language."""

    lang: str = setting("en", help="Language of the texts, such as en, tr or pt-BR; rows with `lang` have their own.")
