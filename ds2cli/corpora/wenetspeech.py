"""WenetSpeech: 10,000 hours of Mandarin, segments of long files.

What       YouTube and podcasts, as Opus files of up to several hours.
License    CC BY 4.0 for the texts; the recordings are for non-commercial research (Zhang et al., ICASSP 2022).
Source     github.com/wenet-e2e/WenetSpeech; SRC is the folder with WenetSpeech.json and audio/, or a JSON file of the
           same format. The file is read entry by entry, as it has several gigabytes.
Layout     WenetSpeech.json lists recordings (`path` below SRC) and their segments (sid, begin_time, end_time, text,
           confidence, subsets). --part selects subsets: S (100 h), M (1,000 h), L (10,000 h), W (weak labels), DEV,
           TEST_NET, TEST_MEETING. --min-confidence leaves out labels that are less sure; in L it is 0.95 or more.
Dropped    Segments without an id, a text, sensible times or a recording.

Example: ds2 prepare wenetspeech WenetSpeech data/train.jsonl --part S --check header --nj 8
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ds2cli.config.base import setting
from ds2cli.config.prepare import PrepareConfig
from ds2cli.config.text import TextOptions
from ds2cli.corpora._segments_json import find_split, parse_parts, read_segments
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance
from ds2cli.manifest import Row

PARTS = ("S", "M", "L", "W", "DEV", "TEST_NET", "TEST_MEETING")


@dataclass(frozen=True, kw_only=True)
class Options(TextOptions, PrepareConfig):
    """Settings of WenetSpeech."""

    part: str = setting("all", help="Subsets, such as S or DEV,TEST_NET; all takes every segment of the list.")
    min_confidence: float = setting(
        0.0, help="Leave out segments whose text has a lower confidence (0 to 1).", min=0, max=1
    )
    audio_dir: str | None = setting(
        None, help="Folder that the paths in the list start from [default: that of the list]."
    )


def prepare(source: str, config: Options, ledger: Ledger) -> Iterator[Row]:
    """Yield a row for each segment of the subsets in `config.part`."""
    wanted = parse_parts(config.part, PARTS)
    for segment in read_segments(source, "WenetSpeech.json", config.audio_dir, ledger):
        subsets = segment.subsets
        if wanted is not None and not wanted & subsets:
            ledger.unselected["part"] += 1
            continue
        try:
            if config.min_confidence > 0 and segment.number("confidence") < config.min_confidence:
                ledger.unselected["confidence"] += 1
                continue
            row, text = segment.as_row(), segment.text("text")
        except BadUtterance as e:
            ledger.drop_error(segment.name, e)
            continue
        yield {**row, "text": text, "lang": "zh", "split": find_split(subsets)}
