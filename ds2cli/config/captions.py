"""Settings of the word times that `ds2 align` and `ds2 transcribe` write for other programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ds2cli.config.base import Config, setting

SUBTITLES = ("srt", "vtt")
CAPTION_FILES = ("ctm", "textgrid", *SUBTITLES, "audacity", "elan", "kaldi_data", "whisper_json")
"""Settings that name a file or folder of word times."""

OF_SUBTITLES = ("line_length", "max_lines", "reading_speed", "max_cue", "min_cue")


@dataclass(frozen=True, kw_only=True)
class CaptionsConfig(Config):
    """Word times for other programs: CTM, TextGrid, subtitles, labels, Kaldi's data folder, JSON."""

    no_effect: ClassVar = dict.fromkeys(OF_SUBTITLES, (SUBTITLES, (None,)))

    ctm: str | None = setting(None, help="Also write a CTM file, one line per word: id 1 start duration word conf (s).")
    textgrid: str | None = setting(
        None, help="Also write a Praat TextGrid per recording to this folder (words; chars and gaps, if any)."
    )
    srt: str | None = setting(None, help="Also write SRT subtitles, a file per recording, to this folder.")
    vtt: str | None = setting(None, help="Also write WebVTT subtitles, a file per recording, to this folder.")
    audacity: str | None = setting(
        None, help="Also write an Audacity label track of the words per recording to this folder."
    )
    elan: str | None = setting(
        None, help="Also write a tab-delimited text per recording, which ELAN imports, to this folder."
    )
    kaldi_data: str | None = setting(
        None, help="Also write Kaldi's data folder: segments, text, wav.scp, utt2spk, spk2utt."
    )
    whisper_json: str | None = setting(
        None, help="Also write a JSON document per recording to this folder: text, segments, words (as WhisperX)."
    )
    line_length: int = setting(
        42, help="Subtitles: longest line (characters; a Chinese one counts as two).", min=8, max=200
    )
    max_lines: int = setting(2, help="Subtitles: lines per cue.", min=1, max=10)
    reading_speed: float = setting(
        20.0, help="Subtitles: show a cue longer if it has more characters per second than this.", min=1, max=1000
    )
    max_cue: float = setting(7.0, help="Subtitles: longest cue (s).", min=0.1, max=3600)
    min_cue: float = setting(1.0, help="Subtitles: shortest cue, if the next one leaves room (s).", min=0, max=3600)

    @property
    def needs_word_times(self) -> bool:
        """Whether any of the files is to be written."""
        return any(getattr(self, name) is not None for name in CAPTION_FILES)
