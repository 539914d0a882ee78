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
    ids: str | None = setting(None, help="Keep only the ids in this file: one per line, or a manifest.")
    without: str | None = setting(None, help="Leave out the ids in this file: one per line, or a manifest.")
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
class CombineConfig(StageConfig):
    """Merge manifests."""

    no_effect: ClassVar = {"command": ("parts_of", (None,))}

    parts_of: str | None = setting(
        None, help="Manifest of whose parts IN are the results: record OUT as if one command had read it."
    )
    command: str | None = setting(None, help="Command to record with --parts-of [default: that of the first part].")


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

    no_effect: ClassVar = {"nj": ("audio", ("exists",))}

    audio: Literal["exists", "header", "decode"] = setting(
        "exists", help="Take duration and sample_rate from header or decoded audio, or only check that files exist."
    )
    nj: int = setting(1, help="Processes that read recordings.", min=1, max=1024, per_core=1, same_result=True)


@dataclass(frozen=True, kw_only=True)
class ValidateConfig(LanguageOption):
    """Find all faults of all rows of manifests."""

    no_effect: ClassVar = {
        **dict.fromkeys(("lang", "text_rules"), ("normalized", (False,))),
        **dict.fromkeys(("audio", "nj", "tolerance", "silence_db", "max_dc", "max_clipped"), ("files", (False,))),
    }

    needs: str = setting("id,audio_filepath,duration,text", help="Fields that each row must have, separated by commas.")
    files: bool = setting(True, help="Also check recordings and archives.")
    audio: Literal["decode", "header", "exists"] = setting(
        "decode", help="Decode recordings, trust their headers (fast), or only check that they exist."
    )
    nj: int = setting(1, help="Processes that read recordings and archives.", min=1, max=1024, per_core=1)
    normalized: bool = setting(True, help="Also check that texts are in the normalized form that `ds2 prepare` writes.")
    strict: bool = setting(False, help="Count warnings as faults.")
    ignore: str = setting("", help='Kinds to leave out, such as "duplicate-text, clipping".')
    most: int = setting(5, help="Maximum number of faults of each kind to print; all are counted.", min=0)
    exp: str | None = setting(
        None, help="Network (EXP) whose symbols must spell the texts, and whose steps must suffice."
    )
    vocab: str | None = setting(None, help="Symbols that must spell the texts: EXP, or a list such as tokens.txt.")
    train_config: str | None = setting(
        None, help="Settings of a training (TOML or preset), whose steps must suffice for the labels at every speed."
    )
    speeds: str | None = setting(
        None, help='Further speeds of the training, such as "0.9 1.0 1.1" [default: those of --train-config].'
    )
    features: str | None = setting(
        None, help="TOML file of feature settings [default: those saved with IN, else the default settings]."
    )
    max_rate: float = setting(35.0, help="Highest speaking rate (characters per second).", min=0.1)
    tolerance: float = setting(0.1, help="Allowed difference between stated and real durations (s).", min=0)
    silence_db: float = setting(-60.0, help="Highest RMS level of a silent recording (dBFS).", min=-200, max=0)
    max_dc: float = setting(0.01, help="Largest mean of the samples (of full scale).", min=0, max=1)
    max_clipped: float = setting(0.1, help="Largest share of clipped samples (percent).", min=0, max=100)
    report: str | None = setting(None, help="File for all faults: path, line, id, kind, severity, detail (JSON Lines).")
    json: bool = setting(False, help="Print all faults as JSON Lines instead of the first of each kind.")
