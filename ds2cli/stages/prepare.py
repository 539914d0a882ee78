"""Turn a corpus into rows: find them, open every recording, clean every text."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from typing import Any

import ds2cli.corpora
from ds2cli.audio.read import probe, read
from ds2cli.config.prepare import PrepareConfig
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, UsageError
from ds2cli.manifest import Row
from ds2cli.text.normalize import normalize
from ds2cli.text.numbers import spell_numbers

# settings that every corpus reads; the others are named by its OPTIONS
EVERY_CORPUS = ("max_bad", "dropped", "nj", "check")
# rows handed to the threads at a time: Ctrl-C waits for no more than these
BLOCK = 256
# faster than any reader: then the text is not what is said
MAX_CHARACTERS_A_SECOND = 25.0


def corpora() -> list[str]:
    """The corpora known, by their file names."""
    return sorted(module.name for module in pkgutil.iter_modules(ds2cli.corpora.__path__))


def corpus(name: str, config: PrepareConfig) -> Any:
    """The module of a corpus; UsageError lists the known ones, or names a setting that this one does not read."""
    if name not in corpora():
        raise UsageError(f"prepare: no corpus {name!r}, expected one of {', '.join(corpora())}")
    module = importlib.import_module(f"ds2cli.corpora.{name}")
    for f in fields(PrepareConfig):
        if f.name not in (*EVERY_CORPUS, *module.OPTIONS) and getattr(config, f.name) != f.default:
            raise UsageError(f"prepare {name}: --{f.name.replace('_', '-')} is not for this corpus")
    return module


def fetch(name: str, source: str, config: PrepareConfig) -> None:
    """Download a corpus into `source`, unless it is there; UsageError when it is not one that can be."""
    corpus(name, config).fetch(source, config.lang)


def run(name: str, source: str, config: PrepareConfig, ledger: Ledger) -> Iterator[Row]:
    """Yield the rows of a corpus sorted by id, each with a recording that opens, its duration, and a clean text.

    Rows of one id after the first are dropped, as is every recording that cannot be read and every text that cannot be
    written with letters.
    """
    rows = sorted(corpus(name, config).prepare(source, config, ledger), key=lambda row: str(row["id"]))
    with ThreadPoolExecutor(config.nj) as pool:
        last = None
        for start in range(0, len(rows), BLOCK):
            block = rows[start : start + BLOCK]
            for row, done in zip(block, pool.map(lambda row: _checked(row, config), block), strict=True):
                if row["id"] == last:
                    ledger.drop(row["id"], "duplicate-id", f"a second row, {row['audio_filepath']}, is left out")
                    continue
                last = row["id"]
                if isinstance(done, BadUtterance):
                    ledger.drop_error(row["id"], done)
                else:
                    yield done


def _checked(row: Row, config: PrepareConfig) -> Row | BadUtterance:
    """A row with duration, sample rate and clean text, or what is wrong with it."""
    try:
        if any(c.isspace() for c in row["id"]) or not row["id"]:
            raise BadUtterance("bad-id", f"{row['id']!r}: expected a name without spaces")
        row = dict(row)
        if config.text:
            text = row.get("text", "")
            row["text"] = normalize(spell_numbers(text, config.lang) if config.numbers == "spell" else text)
            if not row["text"]:
                raise BadUtterance("no-text", f"{text[:40]!r} has no letters" if text else "the text is empty")
        return _timed(row, config)
    except BadUtterance as e:
        return e


def _timed(row: Row, config: PrepareConfig) -> Row:
    path = row["audio_filepath"]
    if "offset" in row:
        samples, rate = read(path, offset_s=row["offset"], duration_s=row.get("duration"))
        seconds = len(samples) / rate
    else:
        info = probe(path, decode=config.check == "decode")
        seconds, rate = info.duration_s, info.sample_rate
    if config.text and len(row["text"]) > MAX_CHARACTERS_A_SECOND * seconds:
        detail = f"{len(row['text'])} characters in {seconds:.2f} s, more than {MAX_CHARACTERS_A_SECOND:g} a second"
        raise BadUtterance("text-too-long", detail)
    row["duration"] = round(seconds, 6)
    row["sample_rate"] = rate
    order = ("id", "audio_filepath", "offset", "duration", "text")
    return {**{name: row[name] for name in order if name in row}, **row}
