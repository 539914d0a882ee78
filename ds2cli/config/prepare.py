"""Settings of `ds2 prepare`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ds2cli.config.base import StageConfig, setting


@dataclass(frozen=True, kw_only=True)
class PrepareConfig(StageConfig):
    """Turn a corpus on disk into a manifest."""

    part: str = setting(
        "all", help="Part: train, dev or test (asterisk), or subsets such as train-clean-100,dev-clean (librispeech)."
    )
    lang: str = setting("en", help="Language of the recordings, such as en or es (asterisk, folder, csv).")
    download: bool = setting(
        False, help="Download the Debian packages into SRC first, unless they are there (asterisk)."
    )
    nj: int = setting(1, help="Threads that read the recordings.", min=1, max=1024)
    check: Literal["decode", "header"] = setting(
        "decode", help="Decode each recording completely (finds truncated files), or trust its header (fast)."
    )
    text: bool = setting(True, help="Require a text for each recording; --no-text is for decoding (folder, csv).")
    numbers: Literal["refuse", "spell"] = setting(
        "refuse", help="Drop utterances with digits in their text (refuse), or spell the numbers in --lang (spell)."
    )
    audio_column: str | None = setting(None, help="Column of the audio path (csv) [default: path, audio_filepath, …].")
    text_column: str | None = setting(None, help="Column of the text (csv) [default: sentence, text, transcript, …].")
    id_column: str | None = setting(None, help="Column of the id (csv) [default: id, or made from the audio path].")
    speaker_column: str | None = setting(None, help="Column of the speaker (csv) [default: speaker, speaker_id, …].")
    audio_dir: str | None = setting(
        None, help="Folder that audio paths are relative to (csv) [default: found near SRC, such as clips/ or wavs/]."
    )
