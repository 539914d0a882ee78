"""Settings of `ds2 prepare`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ds2cli.config.base import StageConfig, setting


@dataclass(frozen=True, kw_only=True)
class PrepareConfig(StageConfig):
    """Turn a corpus on disk into rows."""

    part: str = setting("all", help="asterisk: train, dev or test. librispeech: subsets, as train-clean-100,dev-clean.")
    lang: str = setting("en", help="asterisk, folder, csv: language of the recordings, as en or es.")
    download: bool = setting(False, help="asterisk: fetch the Debian packages into SRC first, when they are not there.")
    nj: int = setting(1, help="Threads that open and decode the recordings.", min=1, max=1024)
    check: Literal["decode", "header"] = setting(
        "decode", help="Decode every recording, so that a broken one shows now, or believe its header."
    )
    text: bool = setting(True, help="folder, csv: a recording must have a text; --no-text: decoding only.")
    numbers: Literal["refuse", "spell"] = setting("refuse", help="A text with digits: drop it, or spell them.")
    audio_column: str | None = setting(None, help="csv: column of the audio path [default: path, audio_filepath, …].")
    text_column: str | None = setting(None, help="csv: column of the text [default: sentence, text, transcript, …].")
    id_column: str | None = setting(None, help="csv: column of the id [default: id, else made from the audio path].")
    speaker_column: str | None = setting(None, help="csv: column of the speaker [default: speaker, speaker_id, …].")
    audio_dir: str | None = setting(
        None, help="csv: folder of the audio paths [default: found near SRC, as in clips/ or wavs/]."
    )
