"""Plumbing of manifests: check, sort, choose, cut, join and count rows. Pure functions on rows."""

from __future__ import annotations

import heapq
import os
import random
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from ds2cli import io, manifest
from ds2cli.config.data import SplitConfig, SubsetConfig, ValidateConfig
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, DataError, UsageError
from ds2cli.manifest import Row


def faults(config: ValidateConfig, path: str) -> Iterator[str | None]:
    """One item a row: None when it is good, else `path:line: what is wrong`."""
    from ds2cli.text.normalize import normalize

    needs = [n.strip() for n in config.needs.split(",") if n.strip()]
    folder = manifest.folder_of(path)
    last = ""
    for where, line in manifest.lines(path):
        try:
            row = manifest.parse(line, needs)
            if "id" in row and row["id"] <= last:
                what = "appears twice" if row["id"] == last else f"comes after {last!r} (fix: ds2 data sort)"
                raise BadUtterance("order", f"id {row['id']!r} {what}")
            last = row.get("id", last)
            if row.get("duration") == 0:
                raise BadUtterance("duration", "duration is 0 s")
            if config.normalized and isinstance(row.get("text"), str) and normalize(row["text"]) != row["text"]:
                raise BadUtterance("text", f"text {row['text'][:40]!r} is not clean, {normalize(row['text'])[:40]!r}")
            if config.files:
                _check_files(row, folder)
        except BadUtterance as e:
            yield f"{where}: {e.detail}"
        else:
            yield None


def _check_files(row: Row, folder: str) -> None:
    for name in manifest.PATHS:
        if name not in row:
            continue
        file = row[name] if name == "audio_filepath" else row[name].rpartition(":")[0]
        if not os.path.isfile(os.path.join(folder, file)):
            raise BadUtterance("vanished", f"{name}: no file {os.path.join(folder, file)}")


def sort(path: str, ledger: Ledger) -> Iterator[Row]:
    """The rows of `path` in order of id; rows that are not usable are dropped, of equal ids the first is kept."""
    folder = manifest.folder_of(path)
    rows: dict[str, Row] = {}
    for where, line in manifest.lines(path):
        try:
            row = manifest.parse(line.removeprefix("\ufeff").rstrip("\r\n") + "\n")
            if row["id"] in rows:
                raise BadUtterance("duplicate-id", f"{where}: id {row['id']!r} was there already")
        except BadUtterance as e:
            ledger.drop(where, e.reason, e.detail)
            continue
        rows[row["id"]] = manifest.moved_to(row, folder)
    yield from (rows[name] for name in sorted(rows))


def fix(rows: Iterable[Row], ledger: Ledger) -> Iterator[Row]:
    """Clean the texts (Unicode form, case, punctuation) and leave out what cannot be used."""
    from ds2cli.text.normalize import normalize

    for row in rows:
        try:
            if "text" in row:
                row = {**row, "text": normalize(unicodedata.normalize("NFC", row["text"]))}
            _check_files(row, "")
        except BadUtterance as e:
            ledger.drop_error(row["id"], e)
        else:
            yield row


def subset(config: SubsetConfig, rows: Iterable[Row], ledger: Ledger) -> Iterator[Row]:
    """The rows that meet every condition of the settings; the others are dropped on purpose."""
    ids = _listed(config.ids) if config.ids else None
    speakers = set(config.speakers.split(",")) if config.speakers else None
    longest = config.max_duration if config.max_duration is not None else float("inf")
    try:
        pattern = re.compile(config.match) if config.match is not None else None
    except re.error as e:
        raise UsageError(f"--match {config.match}: not a regular expression: {e}") from e

    def refusal(row: Row) -> str | None:
        if ids is not None and row["id"] not in ids:
            return "not-listed"
        if speakers is not None and row.get("speaker") not in speakers:
            return "other-speaker"
        if not config.min_duration <= row.get("duration", 0.0) <= longest:
            return "duration"
        return "no-match" if pattern and not pattern.search(row.get("text", "")) else None

    def chosen() -> Iterator[Row]:
        for row in rows:
            if reason := refusal(row):
                ledger.drop(row["id"], reason, bad=False)
            else:
                yield row

    limits = [config.first, config.last, config.shortest, config.random]
    if sum(n is not None for n in limits) > 1:
        raise UsageError("choose one of --first, --last, --shortest and --random")
    if all(n is None for n in limits):
        yield from chosen()
        return
    kept = list(chosen())
    picked = {row["id"] for row in _pick(config, kept)}
    for row in kept:
        if row["id"] in picked:
            yield row
        else:
            ledger.drop(row["id"], "not-chosen", bad=False)


def _pick(config: SubsetConfig, rows: list[Row]) -> list[Row]:
    if config.first is not None:
        return rows[: config.first]
    if config.last is not None:
        return rows[max(0, len(rows) - config.last) :]
    if config.shortest is not None:
        return heapq.nsmallest(config.shortest, rows, key=lambda row: (row.get("duration", 0.0), row["id"]))
    return random.Random(config.seed).sample(rows, min(config.random or 0, len(rows)))


def _listed(path: str) -> set[str]:
    with io.open_in(path) as f:
        return {line.split()[0] for line in f if line.strip()}


def split(config: SplitConfig, rows: Sequence[Row]) -> list[list[Row]]:
    """Cut rows into `config.parts` lists, each in order of id."""
    if config.by == "id":
        bounds = [len(rows) * i // config.parts for i in range(config.parts + 1)]
        return [list(rows[a:b]) for a, b in pairwise(bounds)]
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(str(row.get("speaker", row["id"]) if config.by == "speaker" else row["id"]), []).append(row)
    parts: list[list[Row]] = [[] for _ in range(config.parts)]
    loads = [(0.0, i) for i in range(config.parts)]
    heavy_first = sorted(groups.values(), key=lambda g: (-sum(r.get("duration", 1.0) for r in g), g[0]["id"]))
    for group in heavy_first:
        load, i = heapq.heappop(loads)
        parts[i] += group
        heapq.heappush(loads, (load + sum(r.get("duration", 1.0) for r in group), i))
    return [sorted(part, key=lambda row: str(row["id"])) for part in parts]


def combine(parts: Sequence[Iterable[Row]], ledger: Ledger) -> Iterator[Row]:
    """Merge sorted streams into one; an id that is in two of them is dropped the second time."""
    last = None
    for row in heapq.merge(*parts, key=lambda row: str(row["id"])):
        if row["id"] == last:
            ledger.drop(row["id"], "duplicate-id", "in more than one of the manifests")
            continue
        last = row["id"]
        yield row


def stats(rows: Iterable[Row]) -> dict[str, Any]:
    """Counts of a manifest: utterances, hours, durations (s), speakers, words, characters, characters a second."""
    durations, speakers, words, characters = [], set(), Counter[str](), Counter[str]()
    for row in rows:
        durations.append(float(row.get("duration", 0.0)))
        speakers.add(row.get("speaker"))
        words.update(row.get("text", "").split())
        characters.update(row.get("text", ""))
    durations.sort()
    seconds = sum(durations)
    if not durations:
        raise DataError("the manifest is empty: nothing to count")

    def quantile(q: float) -> float:
        return durations[min(len(durations) - 1, int(q * len(durations)))]

    return {
        "utterances": len(durations),
        "hours": round(seconds / 3600, 3),
        "shortest": durations[0],
        "median": quantile(0.5),
        "p95": quantile(0.95),
        "longest": durations[-1],
        "speakers": len(speakers - {None}),
        "words": words.total(),
        "distinct_words": len(words),
        "characters": characters.total(),
        "characters_per_second": round(characters.total() / seconds, 1) if seconds else 0.0,
        "alphabet": "".join(sorted(characters)),
    }
