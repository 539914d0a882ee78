"""Your own recordings: a folder of audio files, each with a text file of the same name.

What       Anything in a format that `ds2` reads (WAV, FLAC, MP3, Opus, …); the license is yours.
Source     SRC is the folder; subfolders are searched too, and links to folders are followed.
Layout     `anna/call 7.wav` has its text in `anna/call 7.txt`. Its id, anna-call_7, is made from its path in SRC; where
           several paths give the same id, each gets a hash of its path: a-0b4c…, a-97de… for a.wav and a.mp3.
           `--speaker folder` takes anna as the speaker. `--no-text` accepts recordings without texts, for decoding.
Dropped    Recordings without a text, and texts that are not UTF-8, contain digits (unless `--numbers spell`) or tags;
           folders and links that cannot be opened. Counted, but not as bad: files that are no recordings, texts
           without one.

Example: ds2 prepare folder recordings/ data/all.jsonl --speaker folder --numbers spell
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ds2cli import encoding, inputs
from ds2cli.audio.find import Recording, find_audio
from ds2cli.config.base import setting
from ds2cli.config.prepare import PrepareConfig, TranscriptOptions
from ds2cli.corpora._ids import note_hashes, unique_ids
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, UsageError
from ds2cli.manifest import Row

FOLDER = "folder"


@dataclass(frozen=True, kw_only=True)
class Options(TranscriptOptions, PrepareConfig):
    """Settings of a folder of recordings."""

    speaker: str | None = setting(
        None, help="Speaker: `folder`, the subfolder of SRC, or a group in a regular expression for paths in SRC."
    )


def prepare(source: str, config: Options, ledger: Ledger) -> Iterator[Row]:
    """Yield a row for each recording."""
    find_speaker = _speaker_finder(config.speaker) if config.speaker is not None else None
    folder = Path(source)
    recordings, left = find_audio(folder)
    for item in left:
        ledger.drop_error(str(item.path), item.error, bad=item.bad)
    names = [item.path.relative_to(folder).as_posix() for item in recordings]
    ids = unique_ids(names)
    note_hashes(names, ids, ledger)
    for recording, name, utterance in zip(recordings, names, ids, strict=True):
        row: Row = {"id": utterance, "audio_filepath": str(recording.path), "lang": config.lang}
        try:
            if find_speaker is not None:
                row["speaker"] = find_speaker(name)
            if config.text:
                row["text"] = _read_text(recording)
        except BadUtterance as e:
            ledger.drop_error(utterance, e)
        else:
            yield row


def _speaker_finder(rule: str) -> Callable[[str], str]:
    """A function from the path of a recording in SRC to its speaker, which raises BadUtterance if there is none.

    rule: `folder`, or a regular expression with a group. UsageError for anything else.
    """
    try:
        pattern = re.compile(r"([^/]+)/" if rule == FOLDER else rule)
    except re.error as e:
        raise UsageError(f"--speaker {rule}: not a valid regular expression: {e}") from e
    if not pattern.groups:
        example = "'^([^_]+)_' for anna_1.wav"
        raise UsageError(
            f"--speaker {rule}: expected `folder`, or a regular expression with a group, such as {example}"
        )

    def find(path: str) -> str:
        match = pattern.search(path)
        if match is None or not match[1]:
            expected = "in a subfolder" if rule == FOLDER else f"that matches {rule}"
            raise BadUtterance("no-speaker", f"{path}: expected a recording {expected} (--speaker)")
        return match[1]

    return find


def _read_text(recording: Recording) -> str:
    path = recording.text
    if path is None:
        raise BadUtterance("no-text", f"no text file {recording.path.with_suffix('.txt')}")
    try:
        return encoding.decode(path.read_bytes(), str(path))
    except UnicodeError as e:
        raise BadUtterance("not-utf8", f"{path}: {e}") from e
    except OSError as e:
        raise BadUtterance("no-text", f"{path}: {inputs.explain_error(e)}") from e
