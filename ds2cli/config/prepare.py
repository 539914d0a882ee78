"""Settings of `ds2 prepare`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ds2cli.config.base import StageConfig, setting


@dataclass(frozen=True, kw_only=True)
class PrepareConfig(StageConfig):
    """Turn a corpus on disk into a manifest."""

    part: str = setting(
        "all", help="asterisk: train, dev or test. librispeech: subsets, such as train-clean-100,dev-clean."
    )
    lang: str = setting("en", help="asterisk, folder, csv: language of the recordings, such as en or es.")
    download: bool = setting(
        False, help="asterisk: download the Debian packages into SRC first, unless they are there."
    )
    nj: int = setting(1, help="Threads that read the recordings.", min=1, max=1024)
    check: Literal["decode", "header"] = setting(
        "decode", help="Decode each recording completely (finds truncated files), or trust its header (fast)."
    )
    text: bool = setting(
        True, help="folder, csv: require a text for each recording; --no-text: recordings to decode only."
    )
    numbers: Literal["refuse", "spell"] = setting(
        "refuse", help="Drop texts with digits (refuse), or spell the numbers in --lang (spell)."
    )
    audio_column: str | None = setting(None, help="csv: column of the audio path [default: path, audio_filepath, …].")
    text_column: str | None = setting(None, help="csv: column of the text [default: sentence, text, transcript, …].")
    id_column: str | None = setting(None, help="csv: column of the id [default: id, or made from the audio path].")
    speaker_column: str | None = setting(None, help="csv: column of the speaker [default: speaker, speaker_id, …].")
    audio_dir: str | None = setting(
        None, help="csv: folder that audio paths start from [default: found near SRC, such as clips/ or wavs/]."
    )
