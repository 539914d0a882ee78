"""Settings of `ds2 data …`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from ds2cli.config.base import Config, StageConfig, setting
from ds2cli.config.text import LanguageOption, TextOptions


@dataclass(frozen=True, kw_only=True)
class SubsetConfig(StageConfig):
    """Keep the rows that meet all conditions."""

    no_effect: ClassVar = {"seed": ("random", (None,))}

    first: int | None = setting(None, help="Keep the first N of the matching rows (by id).", min=0)
    last: int | None = setting(None, help="Keep the last N of the matching rows (by id).", min=0)
    shortest: int | None = setting(None, help="Keep the N shortest of the matching utterances.", min=0)
    random: int | None = setting(None, help="Keep N of the matching rows, drawn at random with --seed.", min=0)
    seed: int = setting(1, help="Seed of --random.", min=0)
    ids: str | None = setting(None, help="Keep only the ids listed in this file, one per line.")
    speakers: str | None = setting(None, help="Keep only these speakers, separated by commas.")
    min_duration: float = setting(0.0, help="Keep only utterances of at least this duration (s).", min=0)
    max_duration: float | None = setting(
        None, help="Keep only utterances of at most this duration (s) [default: no limit].", min=0
    )
    match: str | None = setting(None, help="Keep only rows whose text contains a match of this regular expression.")


@dataclass(frozen=True, kw_only=True)
class SplitConfig(Config):
    """Split a manifest into parts, which `combine` merges again."""

    no_effect: ClassVar = {"allow_empty": ("by", ("speaker", "text"))}

    parts: int = setting(2, help="Number of parts.", min=1)
    by: Literal["id", "speaker", "text", "duration"] = setting(
        "id",
        help="Equal numbers of rows (id), or equal hours (duration), each speaker or text in one part only.",
    )
    allow_empty: bool = setting(False, help="Accept fewer rows than parts: some parts are then empty.")


@dataclass(frozen=True, kw_only=True)
class OverlapConfig(Config):
    """Check that manifests have nothing in common."""

    fields: str = setting(
        "id,audio_filepath,speaker,text", help="Fields whose values may be in one manifest only, separated by commas."
    )
    most: int = setting(5, help="Maximum number of common values to print for each field; all are counted.", min=1)


@dataclass(frozen=True, kw_only=True)
class FixConfig(TextOptions, LanguageOption, StageConfig):
    """Repair a manifest."""


@dataclass(frozen=True, kw_only=True)
class ValidateConfig(LanguageOption):
    """Check each row of a manifest."""

    no_effect: ClassVar = {"lang": ("normalized", (False,))}

    needs: str = setting("id,audio_filepath,duration,text", help="Fields that each row must have, separated by commas.")
    files: bool = setting(True, help="Also check that audio files and archives exist.")
    normalized: bool = setting(True, help="Also check that texts are in the normalized form that `ds2 prepare` writes.")
    most: int = setting(20, help="Maximum number of faulty rows to print; all are counted.", min=1)
