"""Asterisk's core sounds: telephone prompts read by one professional speaker a language, with their texts.

What       16 kHz G.722 recordings, about 25 minutes a language; en es fr it ru.
Licence    CC-BY-SA 3.0 (Allison Smith, June Wallack, Carlo Flore, IvrvoiceRU / Digium).
Where      Debian: asterisk-core-sounds-LANG-g722 (audio) and asterisk-core-sounds-LANG (texts), fetched and unpacked
           without root by `--download`; or the upstream tarballs of the same name. SRC is the folder that holds them.

The text list has lines `name: text`. Left out by rule: tones, music and silence ("[beep]", "(10 seconds of silence)"),
texts without a recording, recordings without a text, texts that do not say what is spoken. A note at the end of a text
is taken off ("at [@]"), known misspellings are mended, numbers spelled out. The Spanish list is written without
accents; the few in it are taken off, so that a word has one spelling.

Split: bucket = int(sha1(normalised text), 16) % 10; 0 is dev, 1 is test, 2 … 9 train. Equal texts fall on one side.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import re
import shutil
import subprocess
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from ds2cli.audio.read import SUFFIXES
from ds2cli.config.prepare import PrepareConfig
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, DataError, Ds2Error, UsageError
from ds2cli.manifest import Row
from ds2cli.text.normalize import normalize
from ds2cli.text.numbers import spell_numbers

OPTIONS = ("part", "lang", "download")
PARTS = ("train", "dev", "test", "all")
# the fastest prompt that says its text has 20, the others of more than this were recorded with another text
MAX_CHARACTERS_A_SECOND = 22.0

# where packages are unpacked: nothing is looked for there, so that what an interrupted run left is never taken as whole
_UNFINISHED = ".unpacking"

_NOTE_ONLY = re.compile(r"\s*[\[(<][^\])>]*[\])>]\s*")
_NOTE_AT_END = re.compile(r"\s*[\[(<][^\])>]*[\])>][\s.]*$")

# what is said where the list shows a key of the telephone
KEYS = {"en": {"*": " star ", "#": " pound "}}

# prompts whose text leaves open how it is read
UNSURE = {"spy-h323"}

# entries of a list under a wrong name: the prompt they belong to
RENAMED = {
    "es": {("digits/0", "diez"): "digits/10", ("digits/1f", "una"): "digits/1F", ("digits/1m", "un"): "digits/1M"},
}

MISSPELT = {
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


def prepare(source: str, config: PrepareConfig, ledger: Ledger) -> Iterator[Row]:
    """Yield the rows of one part of one language."""
    if config.part not in PARTS:
        raise UsageError(f"--part {config.part}: expected one of {', '.join(PARTS)}")
    texts, voices = find(Path(source), config.lang)
    for voice in voices:
        yield from _voice(voice, texts, config, ledger)


def find(source: Path, lang: str) -> tuple[Path, list[Path]]:
    """The text list and the folders of recordings below `source`; DataError when either is missing."""
    if not source.is_dir():
        raise DataError(f"{source}: no such folder (--download fetches the recordings into it)")
    fix = f"(fix: --download, or unpack asterisk-core-sounds-{lang}-g722 and asterisk-core-sounds-{lang} there)"

    def below(pattern: str) -> list[Path]:
        return sorted(p for p in source.rglob(pattern) if _UNFINISHED not in p.relative_to(source).parts)

    lists = below(f"core-sounds-{lang}.txt*")
    if not lists:
        raise DataError(f"{source}: no text list core-sounds-{lang}.txt[.gz] below it {fix}")
    voices = [p for p in below(f"{lang}_*") if p.is_dir()] or [lists[0].parent]
    voices = [v for v in voices if any(p.suffix in SUFFIXES for p in v.rglob("*"))]
    if not voices:
        raise DataError(f"{source}: no recordings of {lang!r} below it {fix}")
    return lists[0], voices


def split(text: str) -> str:
    """The part of a normalised text: train, dev or test."""
    bucket = int(hashlib.sha1(text.encode()).hexdigest(), 16) % 10
    return {0: "dev", 1: "test"}.get(bucket, "train")


def spoken(name: str, text: str, lang: str) -> str:
    """What is said in the prompt `name` with the entry `text`, normalised; BadUtterance with the rule it breaks."""
    if not text or name in UNSURE:
        raise BadUtterance("no-text" if not text else "unsure-text", f"{name}: {text or 'nothing after the colon'}")
    if _NOTE_ONLY.fullmatch(text):
        raise BadUtterance("not-speech", f"{name}: {text}")
    text = _NOTE_AT_END.sub("", text)
    for key, word in KEYS.get(lang, {}).items():
        text = text.replace(key, word)
    if re.search(r"[\[\](){}<>*#]", text):
        raise BadUtterance("unsure-text", f"{name}: {text}")
    clean = normalize(spell_numbers(text, lang))
    if lang == "es":
        clean = "".join(c for c in unicodedata.normalize("NFD", clean) if not unicodedata.combining(c))
    for wrong, right in MISSPELT.get(lang, {}).items():
        clean = re.sub(rf"\b{wrong}\b", right, clean)
    if not clean:
        raise BadUtterance("no-text", f"{name}: {text}")
    return clean


def fetch(source: str, lang: str) -> None:
    """Fetch and unpack a language's Debian packages into `source`, without root, unless they are there.

    Ds2Error in one line when apt-get, dpkg-deb or the network is missing.
    """
    folder = Path(source)
    if folder.is_dir():
        try:
            find(folder, lang)
        except DataError:
            pass
        else:
            return
    packages = [f"asterisk-core-sounds-{lang}", f"asterisk-core-sounds-{lang}-g722"]
    whole, part = folder / packages[0], folder / _UNFINISHED
    if whole.exists():
        raise DataError(f"{whole}: is there, but without a text list or recordings (fix: remove it)")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        _run(folder, "apt-get", "-q", "download", *packages)
    except Ds2Error:
        # a machine whose package lists were never fetched: fetch them into a folder of our own, which needs no root
        own = folder.resolve() / "apt"
        for sub in ("lists/partial", "cache/archives/partial"):
            (own / sub).mkdir(parents=True, exist_ok=True)
        where = ["-o", f"Dir::State::lists={own / 'lists'}", "-o", f"Dir::Cache={own / 'cache'}"]
        _run(folder, "apt-get", "-q", *where, "update")
        _run(folder, "apt-get", "-q", *where, "download", *packages)
        shutil.rmtree(own)
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    for package in packages:
        for file in sorted(folder.glob(f"{package}_*.deb")):
            _run(part, "dpkg-deb", "-x", str(file.resolve()), ".")
    part.rename(whole)
    find(folder, lang)


def _run(folder: Path, *command: str) -> None:
    other = "or unpack the asterisk-core-sounds archives into a folder yourself and pass it as SRC"
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=600)
    except FileNotFoundError:
        raise Ds2Error(f"asterisk: no program {command[0]}: --download needs Debian or Ubuntu, {other}") from None
    except subprocess.TimeoutExpired:
        raise Ds2Error(f"asterisk: {command[0]} took more than 600 s: is there a network? {other}") from None
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.startswith("E:")] or done.stderr.splitlines()
        raise Ds2Error(f"asterisk: {command[0]} failed: {said[0] if said else 'no message'} ({other})")


def _voice(voice: Path, texts: Path, config: PrepareConfig, ledger: Ledger) -> Iterator[Row]:
    recordings: dict[str, Path] = {}
    for path in sorted(voice.rglob("*")):
        if path.suffix in SUFFIXES:
            recordings.setdefault(path.relative_to(voice).with_suffix("").as_posix(), path)
    speaker = voice.name if voice.name.startswith(f"{config.lang}_") else f"asterisk-{config.lang}"

    def key(name: str) -> str:
        return f"{speaker}-{name.replace('/', '-')}"

    seen = set()
    for name, text in _entries(texts, config.lang):
        if name in seen:
            ledger.drop(key(name), "duplicate-id", f"{texts.name} has {name!r} more than once", bad=False)
            continue
        seen.add(name)
        if name not in recordings:
            ledger.drop(key(name), "no-recording", f"{texts.name} has {name!r}, {voice} has not", bad=False)
            continue
        try:
            clean = spoken(name, text, config.lang)
            _check_rate(clean, recordings[name])
        except BadUtterance as e:
            ledger.drop_error(key(name), e, bad=False)
            continue
        part = split(clean)
        if config.part in ("all", part):
            row = {"id": key(name), "audio_filepath": str(recordings[name]), "text": clean}
            yield {**row, "speaker": speaker, "lang": config.lang, "split": part}
    for name in sorted(recordings.keys() - seen):
        ledger.drop(key(name), "no-text", f"{voice} has {name!r}, {texts.name} has not", bad=False)


def _check_rate(text: str, recording: Path) -> None:
    """BadUtterance when the text is more than a speaker could say: it belongs to another recording."""
    # G.722 is 64 kbit/s; a recording that does not open is dropped later, with its own reason
    seconds = recording.stat().st_size / 8000 if recording.suffix == ".g722" else math.inf
    if len(text) > MAX_CHARACTERS_A_SECOND * seconds:
        raise BadUtterance("unsure-text", f"{len(text)} characters in {seconds:.2f} s: {text[:60]}")


def _entries(texts: Path, lang: str) -> Iterator[tuple[str, str]]:
    data = texts.read_bytes()
    if texts.suffix == ".gz":
        data = gzip.decompress(data)
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as e:
        raise DataError(f"{texts}: not UTF-8 at byte {e.start}") from e
    for line in lines:
        name, colon, text = line.partition(":")
        if colon and not line.lstrip().startswith(";"):
            name, text = name.strip(), text.strip()
            yield RENAMED.get(lang, {}).get((name, text), name), text
