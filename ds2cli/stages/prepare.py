"""Turn a corpus into rows: find the utterances, read each recording, normalize each text."""

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

COMMON_OPTIONS = ("max_bad", "dropped", "nj", "check")
"""Settings that apply to every corpus; the others apply if its OPTIONS name them."""

BLOCK = 256
"""Rows given to the threads at a time, and the most that Ctrl-C has to wait for."""

MAX_CHARACTERS_PER_SECOND = 25.0
"""Faster than anyone speaks: the text does not match the recording."""


def corpus_names() -> list[str]:
    """The names of the supported corpora."""
    return sorted(module.name for module in pkgutil.iter_modules(ds2cli.corpora.__path__))


def load_corpus(name: str, config: PrepareConfig) -> Any:
    """The module of a corpus; UsageError for an unknown name, or for an option that does not apply to the corpus."""
    if name not in corpus_names():
        raise UsageError(f"prepare: unknown corpus {name!r}, expected one of {', '.join(corpus_names())}")
    module = importlib.import_module(f"ds2cli.corpora.{name}")
    for f in fields(PrepareConfig):
        if f.name not in (*COMMON_OPTIONS, *module.OPTIONS) and getattr(config, f.name) != f.default:
            raise UsageError(f"prepare {name}: --{f.name.replace('_', '-')} does not apply to this corpus")
    return module


def download(name: str, source: str, config: PrepareConfig) -> None:
    """Download a corpus into `source`, unless it is there; UsageError for a corpus that cannot be downloaded."""
    load_corpus(name, config).download(source, config.lang)


def run(name: str, source: str, config: PrepareConfig, ledger: Ledger) -> Iterator[Row]:
    """Yield the rows of a corpus sorted by id, each with a readable recording, its duration, and a normalized text.

    Unreadable recordings, texts that cannot be written in letters, and repeated ids are dropped.
    """
    rows = sorted(load_corpus(name, config).prepare(source, config, ledger), key=lambda row: str(row["id"]))
    with ThreadPoolExecutor(config.nj) as pool:
        last = None
        for start in range(0, len(rows), BLOCK):
            block = rows[start : start + BLOCK]
            for row, checked in zip(block, pool.map(lambda row: _check(row, config), block), strict=True):
                if row["id"] == last:
                    ledger.drop(
                        row["id"],
                        "duplicate-id",
                        f"the recording {row['audio_filepath']} has the same id as an earlier one",
                    )
                    continue
                last = row["id"]
                if isinstance(checked, BadUtterance):
                    ledger.drop_error(row["id"], checked)
                else:
                    yield checked


def _check(row: Row, config: PrepareConfig) -> Row | BadUtterance:
    """The row with its duration, sample rate and normalized text, or the error that drops it."""
    try:
        if any(c.isspace() for c in row["id"]) or not row["id"]:
            raise BadUtterance("bad-id", f"{row['id']!r}: expected an id without spaces")
        row = dict(row)
        if config.text:
            text = row.get("text", "")
            row["text"] = normalize(spell_numbers(text, config.lang) if config.numbers == "spell" else text)
            if not row["text"]:
                raise BadUtterance("no-text", f"the text {text[:40]!r} has no letters" if text else "the text is empty")
        return _with_duration(row, config)
    except BadUtterance as e:
        if e.reason == "digits" and config.numbers == "refuse":
            return BadUtterance(e.reason, f"{e.detail}, or try --numbers spell")
        return e


def _with_duration(row: Row, config: PrepareConfig) -> Row:
    path = row["audio_filepath"]
    if "offset" in row:
        samples, rate = read(path, offset_s=row["offset"], duration_s=row.get("duration"))
        seconds = len(samples) / rate
    else:
        info = probe(path, decode=config.check == "decode")
        seconds, rate = info.duration_s, info.sample_rate
    if config.text and len(row["text"]) > MAX_CHARACTERS_PER_SECOND * seconds:
        detail = f"{len(row['text'])} characters in {seconds:.2f} s, more than {MAX_CHARACTERS_PER_SECOND:g} per second"
        raise BadUtterance("text-too-long", detail)
    row["duration"] = round(seconds, 6)
    row["sample_rate"] = rate
    order = ("id", "audio_filepath", "offset", "duration", "text")
    return {**{name: row[name] for name in order if name in row}, **row}
