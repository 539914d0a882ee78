"""Settings of `ds2 data …`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ds2cli.config.base import Config, StageConfig, setting


@dataclass(frozen=True, kw_only=True)
class SubsetConfig(StageConfig):
    """Keep the rows that meet every condition given."""

    first: int | None = setting(None, help="The first N rows, in order of id.", min=0)
    last: int | None = setting(None, help="The last N rows, in order of id.", min=0)
    shortest: int | None = setting(None, help="The N shortest utterances.", min=0)
    random: int | None = setting(None, help="N rows drawn with --seed.", min=0)
    seed: int = setting(1, help="Seed of --random.", min=0)
    ids: str | None = setting(None, help="Only the ids listed in this file, one a line.")
    speakers: str | None = setting(None, help="Only these speakers, separated by commas.")
    min_duration: float = setting(0.0, help="Shortest utterance kept (s).", min=0)
    max_duration: float | None = setting(None, help="Longest utterance kept (s).", min=0)
    match: str | None = setting(None, help="Only texts in which this regular expression is found.")


@dataclass(frozen=True, kw_only=True)
class SplitConfig(Config):
    """Cut a manifest into parts that `combine` puts together again."""

    parts: int = setting(2, help="How many parts.", min=1)
    by: Literal["id", "speaker", "duration"] = setting(
        "id", help="Runs of equal row counts, whole speakers, or equal hours."
    )


@dataclass(frozen=True, kw_only=True)
class ValidateConfig(Config):
    """Check a manifest row by row."""

    needs: str = setting("id,audio_filepath,duration,text", help="Fields that every row must have, by commas.")
    files: bool = setting(True, help="Also check that audio files and archives are there.")
    normalized: bool = setting(True, help="Also check that texts are as `ds2 prepare` cleans them.")
    most: int = setting(20, help="How many faults to print.", min=1)
