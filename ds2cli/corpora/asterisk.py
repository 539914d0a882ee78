"""Asterisk's core sounds: telephone prompts, read by one professional speaker per language, with their texts.

What       About 25 minutes of 16 kHz G.722 recordings per language: en es fr it ru.
License    CC-BY-SA 3.0 (Allison Smith, June Wallack, Carlo Flore, IvrvoiceRU / Digium).
Source     The Debian packages asterisk-core-sounds-LANG-g722 (audio) and asterisk-core-sounds-LANG (texts), which
           `--download` fetches and unpacks without root, or the upstream tarballs of the same names.
Layout     SRC contains, at any depth, a folder LANG_* of recordings and the text list core-sounds-LANG.txt[.gz], with
           lines `name: text`. In the tarballs, the list is next to the recordings.
Dropped    By rule, so not counted as bad: tones, music and silence ("[beep]", "(10 seconds of silence)"), texts without
           a recording, recordings without a text, and ambiguous texts.
Texts      A note at the end is removed ("at [@]"), known misspellings are corrected, numbers are spelled out. The
           Spanish list is mostly written without accents; the few it has are removed, so that a word has one spelling.
Split      By the SHA-1 hash of the normalized text, modulo 10: 0 is dev, 1 is test, 2 … 9 are train. Prompts with the
           same text are therefore in the same part.

Example: ds2 prepare asterisk corpus data/train.jsonl --download --lang es --part train
"""

from __future__ import annotations

import math
import re
import shutil
import subprocess
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ds2cli import io
from ds2cli.audio.find import walk_files
from ds2cli.audio.formats import AUDIO_SUFFIXES
from ds2cli.config.base import setting
from ds2cli.config.prepare import PrepareConfig
from ds2cli.corpora._download import Report
from ds2cli.corpora._split import assign_split
from ds2cli.drops import Ledger
from ds2cli.encoding import explain_undecodable
from ds2cli.errors import BadUtterance, DataError, Ds2Error
from ds2cli.manifest import Row
from ds2cli.text.normalize import normalize

# the fastest prompt that matches its text has 20; those above this limit are recordings of a different text
MAX_CHARACTERS_PER_SECOND = 22.0

# packages are unpacked here first, and the folder is never searched: an interrupted download cannot pass for complete
_UNFINISHED = ".unpacking"

_NOTE_ONLY = re.compile(r"\s*[\[(<][^\])>]*[\])>]\s*")
_NOTE_AT_END = re.compile(r"\s*[\[(<][^\])>]*[\])>][\s.]*$")

# how the telephone keys in the texts are read aloud
KEYS = {"en": {"*": " star ", "#": " pound "}}

# prompts whose text can be read aloud in several ways
AMBIGUOUS = {"spy-h323"}

# list entries under the wrong name -> the prompt they belong to
RENAMED = {
    "es": {("digits/0", "diez"): "digits/10", ("digits/1f", "una"): "digits/1F", ("digits/1m", "un"): "digits/1M"},
}

MISSPELLINGS = {
    "en": {
        "umute": "unmute",
        "represenatives": "representatives",
        "un indentified": "unidentified",
        "witheld": "withheld",
        "exclaimation": "exclamation",
        "thru": "through",
    },
    "es": {
        "nimbre": "nombre",
        "numbre": "nombre",
        "paracambiar": "para cambiar",
        "defeto": "defecto",
        "ingese": "ingrese",
    },
}


@dataclass(frozen=True, kw_only=True)
class Options(PrepareConfig):
    """Settings of Asterisk's prompts."""

    part: Literal["all", "train", "dev", "test"] = setting("all", help="Part of the prompts.")
    lang: str = setting("en", help="Language of the prompts: en, es, fr, it or ru.")
    download: bool = setting(False, help="Download the Debian packages into SRC first, unless they are there.")


def fetch(source: str, config: Options, report: Report) -> None:
    """Download and unpack the packages if `config.download`, before the files in `source` are hashed."""
    if config.download:
        download(source, config.lang)


def prepare(source: str, config: Options, ledger: Ledger) -> Iterator[Row]:
    """Yield the rows of one part (or all) of one language."""
    if config.download:
        download(source, config.lang)
    texts, voices = find_files(Path(source), config.lang)
    for item in walk_files(source)[1]:
        if item.bad:
            ledger.drop_error(str(item.path), item.error)
    for voice in voices:
        yield from _voice_rows(voice, texts, config, ledger)


def find_files(source: Path, lang: str) -> tuple[Path, list[Path]]:
    """The text list and the folders of recordings in `source`; DataError if either is missing."""
    try:
        files = [path for path in walk_files(source)[0] if _UNFINISHED not in path.relative_to(source).parts]
    except DataError as e:
        raise DataError(f"{e} (--download creates it and fetches the recordings)") from e
    fix = f"(--download, or unpack asterisk-core-sounds-{lang}-g722 and asterisk-core-sounds-{lang} there)"
    lists = [path for path in files if path.name.startswith(f"core-sounds-{lang}.txt")]
    if not lists:
        raise DataError(f"{source}: no text list core-sounds-{lang}.txt[.gz] in this folder {fix}")
    folders = {folder for path in files if path.suffix.lower() in AUDIO_SUFFIXES for folder in path.parents}
    below = sorted(folder for folder in folders if folder.is_relative_to(source) and folder != source)
    voices = [folder for folder in below if folder.name.startswith(f"{lang}_")]
    voices = voices or [folder for folder in [lists[0].parent] if folder in folders]
    if not voices:
        raise DataError(f"{source}: no recordings of {lang!r} in this folder {fix}")
    return lists[0], voices


def assign_part(text: str) -> str:
    """The part that a normalized text belongs to: train, dev or test."""
    return assign_split(text)


def spoken_text(name: str, text: str, lang: str) -> str:
    """The normalized text of the prompt `name`, whose list entry is `text`; BadUtterance if a rule excludes it."""
    if not text or name in AMBIGUOUS:
        raise BadUtterance("no-text" if not text else "unsure-text", f"{name}: {text or 'no text after the colon'}")
    if _NOTE_ONLY.fullmatch(text):
        raise BadUtterance("not-speech", f"{name}: {text}")
    text = _NOTE_AT_END.sub("", text)
    for key, word in KEYS.get(lang, {}).items():
        text = text.replace(key, word)
    if re.search(r"[\[\](){}<>*#]", text):
        raise BadUtterance("unsure-text", f"{name}: {text}")
    clean = normalize(text, lang, numbers="spell")
    if lang == "es":
        clean = "".join(c for c in unicodedata.normalize("NFD", clean) if not unicodedata.combining(c))
    for wrong, right in MISSPELLINGS.get(lang, {}).items():
        clean = re.sub(rf"\b{wrong}\b", right, clean)
    if not clean:
        raise BadUtterance("no-text", f"{name}: {text}")
    return clean


def download(source: str, lang: str) -> None:
    """Download and unpack the Debian packages of a language into `source`, without root, unless they are already there.

    Ds2Error if apt-get, dpkg-deb or the network is not available.
    """
    folder = Path(source)
    if folder.is_dir():
        try:
            find_files(folder, lang)
        except DataError:
            pass
        else:
            return
    packages = [f"asterisk-core-sounds-{lang}", f"asterisk-core-sounds-{lang}-g722"]
    unpacked, unfinished = folder / packages[0], folder / _UNFINISHED
    if unpacked.exists():
        raise DataError(f"{unpacked}: this folder has no text list or no recordings (remove it and try again)")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        _run(folder, "apt-get", "-q", "download", *packages)
    except Ds2Error:
        # this machine has no package lists yet: fetch them into our own folder, which does not require root
        apt_folder = folder.resolve() / "apt"
        for sub in ("lists/partial", "cache/archives/partial"):
            (apt_folder / sub).mkdir(parents=True, exist_ok=True)
        options = ["-o", f"Dir::State::lists={apt_folder / 'lists'}", "-o", f"Dir::Cache={apt_folder / 'cache'}"]
        _run(folder, "apt-get", "-q", *options, "update")
        _run(folder, "apt-get", "-q", *options, "download", *packages)
        shutil.rmtree(apt_folder)
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    for package in packages:
        for file in sorted(folder.glob(f"{package}_*.deb")):
            _run(unfinished, "dpkg-deb", "-x", str(file.resolve()), ".")
    unfinished.rename(unpacked)
    find_files(folder, lang)


def _run(folder: Path, *command: str) -> None:
    alternative = "or unpack the asterisk-core-sounds archives into a folder yourself and pass it as SRC"
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=600)
    except FileNotFoundError:
        raise Ds2Error(f"asterisk: {command[0]} not found: --download needs Debian or Ubuntu ({alternative})") from None
    except subprocess.TimeoutExpired:
        raise Ds2Error(f"asterisk: {command[0]} took more than 600 s: check the network ({alternative})") from None
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if line.startswith("E:")] or done.stderr.splitlines()
        raise Ds2Error(f"asterisk: {command[0]} failed: {errors[0] if errors else 'no message'} ({alternative})")


def _voice_rows(voice: Path, texts: Path, config: Options, ledger: Ledger) -> Iterator[Row]:
    recordings: dict[str, Path] = {}
    for path in walk_files(voice)[0]:
        if path.suffix.lower() in AUDIO_SUFFIXES:
            recordings.setdefault(path.relative_to(voice).with_suffix("").as_posix(), path)
    speaker = voice.name if voice.name.startswith(f"{config.lang}_") else f"asterisk-{config.lang}"

    def key(name: str) -> str:
        return f"{speaker}-{name.replace('/', '-')}"

    listed_names = set()
    for name, text in _entries(texts, config.lang):
        if name in listed_names:
            ledger.drop(key(name), "duplicate-id", f"{texts.name} lists {name!r} more than once", bad=False)
            continue
        listed_names.add(name)
        if name not in recordings:
            ledger.drop(
                key(name), "no-recording", f"{texts.name} lists {name!r}, but {voice} has no such recording", bad=False
            )
            continue
        try:
            clean = spoken_text(name, text, config.lang)
            _check_speaking_rate(clean, recordings[name])
        except BadUtterance as e:
            ledger.drop_error(key(name), e, bad=False)
            continue
        part = assign_part(clean)
        if config.part in ("all", part):
            row = {"id": key(name), "audio_filepath": str(recordings[name]), "text": clean}
            yield {**row, "speaker": speaker, "lang": config.lang, "split": part}
    for name in sorted(recordings.keys() - listed_names):
        ledger.drop(
            key(name), "no-text", f"{voice} has a recording {name!r} that {texts.name} does not list", bad=False
        )


def _check_speaking_rate(text: str, recording: Path) -> None:
    """BadUtterance if the text is too long for the recording, and so belongs to another one."""
    # G.722 is 64 kbit/s; unreadable recordings are dropped later, with their own reason
    seconds = recording.stat().st_size / 8000 if recording.suffix == ".g722" else math.inf
    if len(text) > MAX_CHARACTERS_PER_SECOND * seconds:
        raise BadUtterance("unsure-text", f"{len(text)} characters in {seconds:.2f} s: {text[:60]}")


def _entries(texts: Path, lang: str) -> Iterator[tuple[str, str]]:
    for number, line in io.read_lines(str(texts)):
        if error := explain_undecodable(line, str(texts)):
            raise DataError(f"{texts}:{number}: {error}")
        name, colon, text = line.partition(":")
        if colon and not line.lstrip().startswith(";"):
            name, text = name.strip(), text.strip()
            yield RENAMED.get(lang, {}).get((name, text), name), text
