"""Common Voice: sentences read aloud in a hundred languages.

What       MP3 clips of volunteers, with the votes of those who listened to them.
License    CC0 (Mozilla and its contributors; Ardila et al., LREC 2020).
Source     Mozilla's downloads; SRC is the folder cv-corpus-VERSION that an archive unpacks to, or that of a language
           in it, such as cv-corpus-VERSION/tr.
Layout     LANG/clips/*.mp3, and tables LANG/train.tsv, dev.tsv, test.tsv, validated.tsv, invalidated.tsv, other.tsv
           with the columns client_id, path, sentence, up_votes, down_votes, age, gender, accents (once accent) and
           locale; clip_durations.tsv, where there is one, tells truncated clips.
           --part selects tables; a clip that several of them list is taken once, from the first one. The speaker is
           the client_id; `age`, `gender`, `accent` and `variant` are kept in the rows where the table has them.
Dropped    Rows with a wrong number of columns, and those without a clip or a sentence; by rule, so not counted as bad,
           clips with too few or too many votes (--min-up-votes, --max-down-votes).

Example: ds2 prepare commonvoice cv-corpus-21.0-2025-03-14/tr data/train.jsonl --part train
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ds2cli import io
from ds2cli.config.base import setting
from ds2cli.config.prepare import PrepareConfig
from ds2cli.config.text import TextOptions
from ds2cli.corpora._audio_finder import AudioFinder
from ds2cli.corpora._layout import find_near
from ds2cli.corpora._table import Cells, Record, Separated, normalize_name
from ds2cli.drops import Ledger
from ds2cli.encoding import explain_undecodable
from ds2cli.errors import BadUtterance, DataError, UsageError
from ds2cli.manifest import Row
from ds2cli.text.profiles import is_language_tag

PARTS = ("train", "dev", "test", "validated", "other", "invalidated")
USUAL_PARTS = ("train", "dev", "test")
NEEDED = ("client_id", "path", "sentence")
KEPT = {"age": "age", "gender": "gender", "accents": "accent", "accent": "accent", "variant": "variant"}
"""Columns that become fields of the rows."""

_DURATIONS = "clip_durations.tsv"


@dataclass(frozen=True, kw_only=True)
class Options(TextOptions, PrepareConfig):
    """Settings of Common Voice."""

    part: str = setting("all", help="Tables, such as train,dev or validated; all takes train, dev and test.")
    lang: str | None = setting(None, help="Language folders in SRC, such as tr,pt [default: all of them].")
    min_up_votes: int = setting(0, help="Leave out clips that fewer listeners confirmed.", min=0)
    max_down_votes: int | None = setting(None, help="Leave out clips that more listeners rejected.", min=0)


def prepare(source: str, config: Options, ledger: Ledger) -> Iterator[Row]:
    """Yield the rows of the tables in `config.part`, each clip once."""
    for folder in _language_folders(Path(source), config.lang):
        durations = _read_durations(folder / _DURATIONS)
        seen: set[str] = set()
        for part in _parts(folder, config.part):
            listed: set[str] = set()
            yield from _table_rows(folder, part, durations, (seen, listed), config, ledger)
            seen |= listed


def _language_folders(source: Path, wanted: str | None) -> list[Path]:
    """SRC itself if it has tables, or the folders in it that do. DataError if there are none, UsageError if unknown."""
    expected = "expected cv-corpus-VERSION, or the folder of a language in it, with train.tsv, …"
    if not source.is_dir():
        raise DataError(f"{source}: no such folder, {expected}")
    if _tables(source):
        return [source]
    folders = _list_languages(source)
    if not folders:
        near = find_near(source, lambda folder: bool(_tables(folder) or _list_languages(folder)))
        raise DataError(f"{source}: {expected}{f' (pass {near})' if near else ''}")
    if wanted is None:
        return list(folders.values())
    names = [name.strip() for name in wanted.split(",")]
    if missing := [name for name in names if name not in folders]:
        raise UsageError(f"--lang {','.join(missing)}: not in {source}, which has {', '.join(folders)}")
    return [folders[name] for name in dict.fromkeys(names)]


def _list_languages(folder: Path) -> dict[str, Path]:
    """The folders of languages in a folder, by their names."""
    return {path.name: path for path in sorted(folder.iterdir()) if path.is_dir() and _tables(path)}


def _tables(folder: Path) -> list[str]:
    return [part for part in PARTS if (folder / f"{part}.tsv").is_file()]


def _parts(folder: Path, wanted: str) -> list[str]:
    available = _tables(folder)
    if wanted == "all":
        # of a language without them, such as a small one, the validated clips
        return [part for part in USUAL_PARTS if part in available] or available[:1]
    names = [name.strip().removesuffix(".tsv") for name in wanted.split(",")]
    if missing := [name for name in names if name not in available]:
        raise UsageError(f"--part {','.join(missing)}: not in {folder}, which has {', '.join(available)}")
    return list(dict.fromkeys(names))


def _read_durations(path: Path) -> dict[str, float]:
    """The durations of the clips (s) by their file names; none if there is no list."""
    durations: dict[str, float] = {}
    if path.is_file():
        for _, line in io.read_lines(str(path)):
            name, _, milliseconds = line.partition("\t")
            # of the header
            with suppress(ValueError):
                durations[name] = float(milliseconds) / 1000
    return durations


def _table_rows(
    folder: Path,
    part: str,
    durations: dict[str, float],
    clips: tuple[set[str], set[str]],
    config: Options,
    ledger: Ledger,
) -> Iterator[Row]:
    """clips: those that earlier parts list; and those of this one, which are added."""
    path = folder / f"{part}.tsv"
    finder = AudioFinder(str(path), str(folder / "clips"))
    for number, cells in _read_table(path):
        location = f"{path}:{number}"
        utterance = location
        try:
            if isinstance(cells, BadUtterance):
                raise cells
            clip = cells["path"]
            utterance = _make_id(clip) or location
            if clip in clips[0]:
                ledger.unselected["in-earlier-part"] += 1
                continue
            clips[1].add(clip)
            if _has_wrong_votes(cells, config):
                ledger.unselected["votes"] += 1
                continue
            row = _make_row(utterance, cells, finder, str(path))
        except BadUtterance as e:
            ledger.drop(utterance, e.reason, f"{location}: {e.detail}")
            continue
        row["lang"] = cells["locale"] if is_language_tag(cells.get("locale", "")) else folder.name
        if (seconds := durations.get(Path(row["audio_filepath"]).name)) is not None:
            row["duration"] = seconds
        yield {**row, "split": part, **_details(cells)}


def _read_table(path: Path) -> Iterator[Record]:
    """The rows of a table, after the numbers of their lines. DataError for an empty one, or one without the columns."""
    lines = io.read_lines(str(path))
    first = next((line for line in lines if line[1].strip()), None)
    if first is None:
        raise DataError(f"{path}: the file is empty, expected a line with the names of the columns")
    table = Separated("\t", first, lines)
    names = [normalize_name(name) for name in table.head]
    if missing := [name for name in NEEDED if name not in names]:
        raise DataError(f"{path}:{first[0]}: no column {', '.join(missing)}, expected the header of Common Voice")
    yield from table.records(names, names.index("path"))


def _make_id(clip: str) -> str:
    """The name of a clip without its ending; "" for a path without a name, or one that is not UTF-8."""
    return "" if explain_undecodable(clip) else PurePosixPath(clip).stem


def _make_row(utterance: str, cells: Cells, finder: AudioFinder, source: str) -> Row:
    for name in NEEDED:
        if error := explain_undecodable(cells[name], source):
            raise BadUtterance("not-utf8", f"the {name} is {error}")
    if not cells["path"]:
        raise BadUtterance("no-audio-filepath", "the path is empty")
    if not cells["sentence"]:
        raise BadUtterance("no-text", "the sentence is empty")
    row: Row = {"id": utterance, "audio_filepath": str(finder.expect(cells["path"])), "text": cells["sentence"]}
    # the table that is published without client ids says unknown
    return {**row, "speaker": cells["client_id"]} if cells["client_id"] not in ("", "unknown") else row


def _has_wrong_votes(cells: Cells, config: Options) -> bool:
    """Whether a clip has too few or too many votes; BadUtterance if they are no numbers."""
    up, down = (_votes(cells, name) for name in ("up_votes", "down_votes"))
    return up < config.min_up_votes or (config.max_down_votes is not None and down > config.max_down_votes)


def _votes(cells: Cells, name: str) -> int:
    text = cells.get(name, "0")
    if not (text.isascii() and text.isdigit()):
        # nothing else tells a tab in a sentence from the end of it, as the last columns are often empty
        raise BadUtterance("wrong-columns", f"{name} must be a whole number, got {text!r} (a tab in the sentence?)")
    return int(text)


def _details(cells: Cells) -> dict[str, Any]:
    return {field: cells[name] for name, field in KEPT.items() if cells.get(name)}
