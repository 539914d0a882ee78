"""Settings of `ds2 data import` and `ds2 data export`: those of every format, and those that several formats share.

A format in ds2cli/interop derives its `ImportOptions` and `ExportOptions` from these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ds2cli.config.base import Config, StageConfig, setting


@dataclass(frozen=True, kw_only=True)
class ImportConfig(StageConfig):
    """Turn the data of another toolkit into a manifest."""

    nj: int = setting(1, help="Threads that read the headers of recordings.", min=1, max=1024, per_core=8)
    check: Literal["header", "none"] = setting(
        "header", help="Check that recordings exist and read missing durations (header), or trust SRC (none)."
    )


@dataclass(frozen=True, kw_only=True)
class RootOption(Config):
    """For formats whose relative paths start from where the other toolkit runs."""

    root: str | None = setting(None, help="Folder that relative paths start from [default: the current one].")


@dataclass(frozen=True, kw_only=True)
class CommandOptions(Config):
    """For formats in which a recording can be the output of a shell command."""

    allow_commands: bool = setting(
        False, help="Run the shell commands in SRC that make recordings (trust SRC first) and store their output."
    )
    audio_dir: str | None = setting(
        None, help="Folder in which to store the output of commands, and recordings that are in archives."
    )


@dataclass(frozen=True, kw_only=True)
class ExportConfig(StageConfig):
    """Write the rows of a manifest in the format of another toolkit."""


@dataclass(frozen=True, kw_only=True)
class ThreadsOption(Config):
    """For formats whose export reads the recordings."""

    nj: int = setting(1, help="Threads that read the recordings.", min=1, max=1024, per_core=8)


@dataclass(frozen=True, kw_only=True)
class AbsolutePathOption(Config):
    """For formats whose relative paths start from where the other toolkit runs."""

    paths: Literal["absolute", "relative"] = setting(
        "absolute", help="Paths of the recordings: absolute, or relative to the current folder."
    )


@dataclass(frozen=True, kw_only=True)
class KaldiExport(AbsolutePathOption, ExportConfig):
    """Write a data folder of Kaldi."""

    prefix_speaker: bool = setting(
        False, help="Begin each id with its speaker if the order of the ids is not that of the speakers."
    )
    ffmpeg: bool = setting(
        False, help="Write ffmpeg commands to wav.scp for recordings that are not WAV files of one channel."
    )


@dataclass(frozen=True, kw_only=True)
class NemoExport(ExportConfig):
    """Write a manifest of NeMo."""

    paths: Literal["absolute", "relative"] = setting(
        "relative", help="Paths of the recordings: absolute, or relative to DIR, as NeMo reads them."
    )


@dataclass(frozen=True, kw_only=True)
class LhotseExport(AbsolutePathOption, ThreadsOption, ExportConfig):
    """Write manifests of lhotse."""


@dataclass(frozen=True, kw_only=True)
class AudioFolderExport(ThreadsOption, ExportConfig):
    """Write a folder that Hugging Face datasets reads."""

    copy: bool = setting(False, help="Copy the recordings instead of linking to them.")
    format: Literal["flac", "wav"] = setting(
        "flac", help="Format of segments, single channels, and recordings that the library cannot read."
    )


@dataclass(frozen=True, kw_only=True)
class KaldiImport(RootOption, CommandOptions, ImportConfig):
    """Read a data folder of Kaldi."""


@dataclass(frozen=True, kw_only=True)
class LhotseImport(RootOption, CommandOptions, ImportConfig):
    """Read manifests of lhotse."""

    part: str | None = setting(
        None, help="Part of the file names that selects a set, such as dev-clean, if SRC has several sets."
    )
