"""Settings of the commands that normalize texts; ds2cli/text/ has the rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ds2cli.config.base import Config, setting


@dataclass(frozen=True, kw_only=True)
class RulesOption(Config):
    """For texts that are written by one of the named sets of rules (ds2cli/text/rule_sets.py)."""

    text_rules: Literal["letters", "cased", "written", "conversation", "keep"] = setting(
        "letters",
        help="Text normalization: letters only, cased, written (punctuation), conversation, or keep as is.",
    )


@dataclass(frozen=True, kw_only=True)
class TextOptions(RulesOption):
    """For texts that may have digits and tags."""

    numbers: Literal["refuse", "spell", "keep"] | None = setting(
        None, help="Texts with digits: drop (refuse), spell if unambiguous, or keep [default: that of --text-rules]."
    )
    remove_tags: str = setting(
        "", help='Tags to remove from texts, such as "laughter, noise"; any other [tag] drops its text.'
    )


@dataclass(frozen=True, kw_only=True)
class LanguageOption(RulesOption):
    """For texts of any language."""

    lang: str = setting("en", help="Language of the texts, such as en, tr or pt-BR; rows with `lang` have their own.")
