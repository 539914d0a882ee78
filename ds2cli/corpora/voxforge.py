"""VoxForge: prompts read by volunteers with many accents.

What       English, with the accent of each speaker, and other languages; mostly 16 kHz.
License    GPL 3 (the contributors of VoxForge).
Source     The .tgz archives of VoxForge; SRC is a folder of the folders that they unpack to.
Layout     SPEAKER-DATE-XXX/etc/PROMPTS, or etc/prompts-original, with lines `NAME text`; etc/README; and NAME.wav or
           NAME.flac in wav/ or flac/. The id is that of Kaldi's recipe, SPEAKER-DATE-XXX-NAME. Each submission of
           `anonymous` counts as a speaker of its own.
Accents    The groups of the Deep Speech 2 paper, from the line "Pronunciation dialect" of the README:
           American-Canadian; Commonwealth (British, Irish, South African, Australian, New Zealand); European
           (countries in which English is not the first language); Indian. A row has its group as `accent`, the words
           of the README as `dialect`, and `gender` and `age` where they are given. --accent selects groups.
Dropped    Prompts without a recording, recordings without a prompt, and folders that cannot be read.

Example: ds2 prepare voxforge extracted data/indian.jsonl --accent indian
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ds2cli import io
from ds2cli.audio.find import walk_files
from ds2cli.audio.formats import AUDIO_SUFFIXES
from ds2cli.config.base import setting
from ds2cli.config.prepare import PrepareConfig
from ds2cli.config.text import LanguageOption, TextOptions
from ds2cli.corpora._layout import find_near
from ds2cli.drops import Ledger
from ds2cli.encoding import explain_undecodable
from ds2cli.errors import DataError, UsageError
from ds2cli.manifest import Row

LISTS = ("prompts", "prompts-original")
"""Lists of the texts in order of preference: in the first one, numbers are written as words."""

ACCENTS = {
    "American-Canadian": r"(?<!latin )(?<!south )americ|canad|\bu\.?s\.?a?\b",
    "Commonwealth": r"brit|\buk\b|england|irish|ireland|scot|welsh|wales|austral|zealand|south[- ]?afric",
    "Indian": r"\bindian?\b|hindi|tamil|telugu|bengali|malayalam|marathi|punjabi|gujarati|kannada",
    "European": (
        r"europ|german|austria|swiss|switzerland|french|france|dutch|netherlands|belgi|flemish|italian|italy|spanish"
        r"|spain|catalan|portug|greek|greece|polish|poland|czech|slov|croat|serb|bosnia|bulgar|romania|hungar|russia"
        r"|ukrain|belarus|lithuan|latvia|eston|finnish|finland|swed|norweg|norway|danish|denmark|iceland|alban|macedon"
    ),
}
"""Words of the README that tell the group of an accent; the first group that matches has it."""

_SPEAKER = re.compile(r"(.+?)-\d{6,10}[a-z]*(?:[-_].*)?", re.IGNORECASE)
_DETAIL = re.compile(r"(gender|age range|pronun\w+ dialect|first language)\s*:\s*(.*)", re.IGNORECASE)
_UNKNOWN = re.compile(r"|unknown|please select|n/?a|other", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Options(TextOptions, LanguageOption, PrepareConfig):
    """Settings of VoxForge."""

    accent: str = setting(
        "all", help="Accents, separated by commas: american-canadian, commonwealth, european, indian; or all."
    )


@dataclass
class _Submission:
    """The files of one submission. lists: by their names in lower case.  recordings: by their names."""

    lists: dict[str, Path] = field(default_factory=dict)
    readme: Path | None = None
    recordings: dict[str, Path] = field(default_factory=dict)


def _is_submission(folder: Path) -> bool:
    """Whether a folder has a list of prompts; /etc has none."""
    return any(path.name.lower() in LISTS for path in folder.glob("etc/*"))


def prepare(source: str, config: Options, ledger: Ledger) -> Iterator[Row]:
    """Yield a row for each prompt of the submissions with the accents in `config.accent`."""
    wanted = _parse_accents(config.accent)
    files, left = walk_files(source)
    submissions = _sort_files(files)
    if not any(submission.lists for submission in submissions.values()):
        near = find_near(Path(source), _is_submission)
        hint = f" (pass {near})" if near else ""
        if any(path.suffix in (".tgz", ".gz") for path in files):
            hint = " (unpack the archives: for f in *.tgz; do tar xzf $f; done)"
        raise DataError(f"{source}: no SPEAKER-DATE-XXX/etc/PROMPTS in this folder, expected that of VoxForge{hint}")
    for item in left:
        if item.bad:
            ledger.drop_error(str(item.path), item.error)
    for folder, submission in sorted(submissions.items()):
        if not submission.lists and not submission.recordings:
            continue
        details = _read_details(submission.readme)
        if config.lang.lower().startswith("en") and (group := find_accent(details.get("dialect", ""))):
            details["accent"] = group
        if wanted is not None and details.get("accent") not in wanted:
            ledger.unselected["accent"] += len(submission.recordings)
            continue
        yield from _submission_rows(folder, submission, {"lang": config.lang, **details}, ledger)


def find_accent(dialect: str) -> str | None:
    """The group of the paper that an accent belongs to, None if it is in none of them.

    >>> find_accent("New Zealand English")
    'Commonwealth'
    """
    return next((group for group, words in ACCENTS.items() if re.search(words, dialect, re.IGNORECASE)), None)


def find_speaker(folder: str) -> str:
    """The speaker of a submission, by the name of its folder; of an anonymous one, the whole name.

    >>> find_speaker("1snoke-20120412-hge")
    '1snoke'
    """
    match = _SPEAKER.fullmatch(folder)
    return match[1] if match and match[1].casefold() != "anonymous" else folder


def _parse_accents(text: str) -> set[str] | None:
    if text == "all":
        return None
    known = {group.casefold(): group for group in ACCENTS}
    names = [name.strip().casefold() for name in text.split(",")]
    if unknown := [name for name in names if name not in known]:
        raise UsageError(f"--accent {','.join(unknown)}: expected all, or some of {', '.join(known)}")
    return {known[name] for name in names}


def _sort_files(files: list[Path]) -> dict[Path, _Submission]:
    """The files of the submissions, by their folders."""
    submissions: dict[Path, _Submission] = {}
    for path in files:
        kind, name = path.parent.name.lower(), path.name.lower()
        submission = submissions.setdefault(path.parent.parent, _Submission())
        if kind == "etc" and name.replace("_", "-") in LISTS:
            submission.lists.setdefault(name.replace("_", "-"), path)
        elif kind == "etc" and name.startswith("readme"):
            submission.readme = submission.readme or path
        elif kind in ("wav", "flac") and path.suffix.lower() in AUDIO_SUFFIXES:
            submission.recordings[path.stem] = path
    return submissions


def _read_details(readme: Path | None) -> dict[str, str]:
    """What a README tells of the speaker: `gender`, `age`, and `dialect`, which may be the first language."""
    found: dict[str, str] = {}
    data = b""
    # without a README, nothing is known of the speaker
    with suppress(OSError):
        data = readme.read_bytes() if readme else b""
    for line in data.decode("utf-8", "replace").splitlines():
        match = _DETAIL.fullmatch(line.strip(" \t;"))
        if match and not _UNKNOWN.fullmatch(match[2].strip()):
            found.setdefault(match[1].split()[0].lower(), match[2].strip())
    dialect = next((value for name, value in found.items() if name.startswith("pronun")), found.get("first", ""))
    values = {"gender": found.get("gender", "").lower(), "age": found.get("age", ""), "dialect": dialect}
    return {name: value for name, value in values.items() if value}


def _submission_rows(folder: Path, submission: _Submission, details: Row, ledger: Ledger) -> Iterator[Row]:
    name = "_".join(folder.resolve().name.split())
    recordings = dict(submission.recordings)
    try:
        prompts = _read_prompts(submission)
    except DataError as e:
        ledger.drop(name, "unreadable-file", str(e))
        return
    for prompt, (location, text) in prompts.items():
        utterance = f"{name}-{prompt}"
        if error := explain_undecodable(text):
            ledger.drop(utterance, "not-utf8", f"{location}: {error}")
            recordings.pop(prompt, None)
        elif (recording := recordings.pop(prompt, None)) is None:
            ledger.drop(utterance, "missing-audio", f"{location}: no {prompt}.wav or .flac in {folder}")
        else:
            row = {"id": utterance, "audio_filepath": str(recording), "text": text, "speaker": find_speaker(name)}
            yield {**row, **details}
    for prompt, recording in sorted(recordings.items()):
        ledger.drop(f"{name}-{prompt}", "no-text", f"{recording}: no line in etc/PROMPTS or etc/prompts-original")


def _read_prompts(submission: _Submission) -> dict[str, tuple[str, str]]:
    """The place and the text of each prompt; what the first list lacks is in the second one."""
    prompts: dict[str, tuple[str, str]] = {}
    for name in LISTS:
        if (path := submission.lists.get(name)) is None:
            continue
        found: dict[str, tuple[str, str]] = {}
        for number, line in io.read_lines(str(path)):
            where, _, text = line.strip().replace("\t", " ").partition(" ")
            # the path in the list is that of the features: speaker-date-xxx/mfc/a0405
            if prompt := PurePosixPath(where).name:
                found.setdefault(prompt, (f"{path}:{number}", text.strip()))
        prompts = {**found, **prompts}
    return prompts
