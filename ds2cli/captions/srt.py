"""SubRip subtitles (.srt), in UTF-8.

The format has no escapes: what looks like a tag, such as `<i>` in a text, is one to players. Only the arrow of the
lines of times is replaced, by `->`.
"""

from __future__ import annotations

from collections.abc import Sequence

from ds2cli.captions.cues import Cue

ENDING = ".srt"


def format_srt(cues: Sequence[Cue]) -> str:
    """The cues as a file: number, times, lines, and an empty line."""
    return "".join(
        f"{number}\n{format_time(cue.start, ',')} --> {format_time(cue.end, ',')}\n{_text(cue)}\n\n"
        for number, cue in enumerate(cues, start=1)
    )


def format_time(time: int, point: str) -> str:
    """A time (ms) as `00:00:00,000`. point: between seconds and milliseconds."""
    seconds, rest = divmod(time, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{point}{rest:03d}"


def _text(cue: Cue) -> str:
    text = "\n".join(cue.lines)
    while "-->" in text:
        text = text.replace("-->", "->")
    return text
