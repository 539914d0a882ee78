"""WebVTT subtitles (.vtt), as browsers show them: https://www.w3.org/TR/webvtt1."""

from __future__ import annotations

from collections.abc import Sequence

from ds2cli.captions.cues import Cue
from ds2cli.captions.srt import format_time

ENDING = ".vtt"


def format_vtt(cues: Sequence[Cue]) -> str:
    """The cues as a file: the header, then times and lines of each, between empty lines."""
    blocks = [
        f"{format_time(cue.start, '.')} --> {format_time(cue.end, '.')}\n{escape(chr(10).join(cue.lines))}\n"
        for cue in cues
    ]
    return "\n".join(["WEBVTT\n", *blocks])


def escape(text: str) -> str:
    """A text without tags, character references and arrows."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
