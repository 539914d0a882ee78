"""GigaSpeech: 10,000 hours of English, segments of long files.

What       Audiobooks, podcasts and YouTube, as Opus files of up to several hours.
License    Apache 2.0 for the texts; the recordings are for non-commercial research and education (Chen et al.,
           Interspeech 2021).
Source     github.com/SpeechColab/GigaSpeech; SRC is the folder with GigaSpeech.json and audio/, or a JSON file of the
           same format. The file is read entry by entry, as it has several gigabytes.
Layout     GigaSpeech.json lists recordings (`path` below SRC) and their segments (sid, begin_time, end_time, text_tn,
           subsets). --part selects subsets: XS (10 h), S (250 h), M (1,000 h), L (2,500 h), XL (10,000 h), DEV, TEST.
Texts      <COMMA>, <PERIOD>, <QUESTIONMARK> and <EXCLAMATIONPOINT> become the punctuation that they stand for.
Dropped    Segments without an id, a text, sensible times or a recording; by rule, so not counted as bad, those that are
           <SIL>, <MUSIC>, <NOISE> or <OTHER> and have no text.

Example: ds2 prepare gigaspeech GigaSpeech data/train.jsonl --part XS --check header --nj 8
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ds2cli.config.base import setting
from ds2cli.config.prepare import PrepareConfig
from ds2cli.config.text import TextOptions
from ds2cli.corpora._segments_json import find_split, parse_parts, read_segments
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance
from ds2cli.manifest import Row

PARTS = ("XS", "S", "M", "L", "XL", "DEV", "TEST")

GARBAGE = ("<SIL>", "<MUSIC>", "<NOISE>", "<OTHER>")
"""Tags of segments without a text: the evaluation sets are labelled without gaps."""

PUNCTUATION = {"COMMA": ",", "PERIOD": ".", "QUESTIONMARK": "?", "EXCLAMATIONPOINT": "!"}
_PUNCTUATION = re.compile(rf"\s*<({'|'.join(PUNCTUATION)})>")


@dataclass(frozen=True, kw_only=True)
class Options(TextOptions, PrepareConfig):
    """Settings of GigaSpeech."""

    part: str = setting("all", help="Subsets, such as XS or DEV,TEST; all takes every segment of the list.")
    audio_dir: str | None = setting(
        None, help="Folder that the paths in the list start from [default: that of the list]."
    )


def prepare(source: str, config: Options, ledger: Ledger) -> Iterator[Row]:
    """Yield a row for each segment of the subsets in `config.part`."""
    wanted = parse_parts(config.part, PARTS)
    for segment in read_segments(source, "GigaSpeech.json", config.audio_dir, ledger):
        subsets = segment.subsets
        if wanted is not None and not wanted & subsets:
            ledger.unselected["part"] += 1
            continue
        try:
            row, text = segment.as_row(), segment.text("text_tn", "text")
        except BadUtterance as e:
            ledger.drop_error(segment.name, e)
            continue
        if any(tag in text for tag in GARBAGE):
            ledger.drop(segment.name, "not-speech", text[:80], bad=False)
            continue
        yield {**row, "text": write_punctuation(text), "lang": "en", "split": find_split(subsets)}


def write_punctuation(text: str) -> str:
    """A text with the punctuation that its tags stand for.

    >>> write_punctuation("WELL <COMMA> WHO KNOWS <QUESTIONMARK>")
    'WELL, WHO KNOWS?'
    """
    return _PUNCTUATION.sub(lambda tag: PUNCTUATION[tag[1]], text)
