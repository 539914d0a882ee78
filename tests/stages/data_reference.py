"""Plain versions of the `ds2 data` commands, which hold all rows in memory, to compare the real ones with."""

from __future__ import annotations

import heapq
import os
import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from ds2cli import io, manifest
from ds2cli.config.data import SplitConfig, SubsetConfig
from ds2cli.drops import Ledger, no_utterances
from ds2cli.errors import BadUtterance, Ds2Error, UsageError
from ds2cli.manifest import Row
from ds2cli.stages import data_repair


def sort(path: str, ledger: Ledger) -> Iterator[Row]:
    """The rows of `path` sorted by id; malformed rows are dropped, and repeated ids after the first."""
    folder = manifest.base_folder(path)
    rows: dict[str, Row] = {}
    for location, line in data_repair.read_lines(path):
        try:
            row = manifest.parse(line)
        except BadUtterance as e:
            ledger.drop(location, e.reason, e.detail)
            continue
        if row["id"] in rows:
            ledger.drop(location, "duplicate-id", f"id {row['id']!r} appears more than once")
        else:
            rows[row["id"]] = manifest.rebase_paths(row, folder)
    yield from (rows[name] for name in sorted(rows))


def subset(config: SubsetConfig, rows: Iterable[Row], ledger: Ledger) -> Iterator[Row]:
    """The rows that meet all conditions; the others are counted as not selected."""
    ids = _read_ids(config.ids) if config.ids else None
    speakers = set(config.speakers.split(",")) if config.speakers else None
    longest = config.max_duration if config.max_duration is not None else float("inf")
    try:
        pattern = re.compile(config.match) if config.match is not None else None
    except re.error as e:
        raise UsageError(f"--match {config.match}: not a valid regular expression: {e}") from e

    def mismatch(row: Row) -> str | None:
        if ids is not None and row["id"] not in ids:
            return "not-listed"
        if speakers is not None and row.get("speaker") not in speakers:
            return "other-speaker"
        if not config.min_duration <= row.get("duration", 0.0) <= longest:
            return "duration"
        return "no-match" if pattern and not pattern.search(row.get("text", "")) else None

    def matching() -> Iterator[Row]:
        missing_ids, missing_speakers = set(ids or ()), set(speakers or ())
        for row in rows:
            missing_ids.discard(row["id"])
            missing_speakers.discard(row.get("speaker", ""))
            if reason := mismatch(row):
                ledger.unselected[reason] += 1
            else:
                yield row
        if missing_ids:
            count = f"{len(missing_ids)} of {len(ids or ())} ids"
            ledger.notes.append(f"--ids {config.ids}: {count} are in no row, such as {min(missing_ids)}")
        if missing_speakers:
            ledger.notes.append(f"--speakers: no row has the speaker {', '.join(sorted(missing_speakers))}")

    selections = [config.first, config.last, config.shortest, config.random]
    if sum(n is not None for n in selections) > 1:
        raise UsageError("--first, --last, --shortest and --random exclude each other: choose one")
    if all(n is None for n in selections):
        yield from matching()
        return
    kept = list(matching())
    selected = {row["id"] for row in _select(config, kept)}
    for row in kept:
        if row["id"] in selected:
            yield row
        else:
            ledger.unselected["not-chosen"] += 1


def _select(config: SubsetConfig, rows: list[Row]) -> list[Row]:
    if config.first is not None:
        return rows[: config.first]
    if config.last is not None:
        return rows[max(0, len(rows) - config.last) :]
    if config.shortest is not None:
        return heapq.nsmallest(config.shortest, rows, key=lambda row: (row.get("duration", 0.0), row["id"]))
    return random.Random(config.seed).sample(rows, min(config.random or 0, len(rows)))


def _read_ids(path: str) -> set[str]:
    return {line.split()[0] for _, line in io.read_lines(path) if line.strip()}


def split(config: SplitConfig, rows: Sequence[Row], name: str = "IN") -> list[list[Row]]:
    """Split sorted rows into `config.parts` lists, each sorted by id.

    Ds2Error (exit status 1) if a part would be empty; by speaker or text, if a row has none or there are fewer of them
    than parts.
    """
    if config.by in ("id", "duration") and len(rows) < config.parts and not config.allow_empty:
        fix = f"--parts {len(rows)}, or --allow-empty" if rows else "this manifest is empty"
        raise Ds2Error(f"{name}: {len(rows)} rows, expected at least one for each of {config.parts} parts ({fix})")
    if config.by == "id":
        bounds = [len(rows) * i // config.parts for i in range(config.parts + 1)]
        return [list(rows[a:b]) for a, b in pairwise(bounds)]
    if config.by != "duration":
        _require_groups(config.by, rows, config.parts, name)
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["id" if config.by == "duration" else config.by], []).append(row)
    parts: list[list[Row]] = [[] for _ in range(config.parts)]
    loads = [(0.0, 0, i) for i in range(config.parts)]
    # the longest group first, each to the part with the least audio so far
    longest_first = sorted(groups.values(), key=lambda g: (-sum(r.get("duration", 1.0) for r in g), g[0]["id"]))
    for group in longest_first:
        load, number, i = heapq.heappop(loads)
        parts[i] += group
        heapq.heappush(loads, (load + sum(r.get("duration", 1.0) for r in group), number + len(group), i))
    return [sorted(part, key=lambda row: str(row["id"])) for part in parts]


def _require_groups(field: str, rows: Sequence[Row], parts: int, name: str) -> None:
    without = [row["id"] for row in rows if not row.get(field)]
    if without:
        fix = "ds2 prepare folder --speaker, ds2 prepare csv --speaker-column; or " if field == "speaker" else ""
        raise Ds2Error(
            f"{name}: {len(without)} of {len(rows)} rows have no {field}, such as {without[0]}, "
            f"so that parts could share it ({fix}--by duration divides them nonetheless)"
        )
    values = len({row[field] for row in rows})
    if values < parts:
        fix = f"--parts {values}, or --by duration, which divides {field}s" if values else "this manifest is empty"
        raise Ds2Error(f"{name}: {values} different {field}s, expected at least one for each of {parts} parts ({fix})")


def combine(parts: Sequence[Iterable[Row]], ledger: Ledger) -> Iterator[Row]:
    """Merge sorted streams; if an id occurs in several of them, only its first row is kept."""
    last = None
    for row in heapq.merge(*parts, key=lambda row: str(row["id"])):
        if row["id"] == last:
            ledger.drop(row["id"], "duplicate-id", "the id is in more than one manifest")
            continue
        last = row["id"]
        yield row


def stats(rows: Iterable[Row], name: str = "IN") -> dict[str, Any]:
    """Counts of a manifest: utterances, hours, durations (s), speakers, words, characters, characters per second."""
    durations, speakers, words, characters = [], set(), Counter[str](), Counter[str]()
    for row in rows:
        durations.append(float(row.get("duration", 0.0)))
        speakers.add(row.get("speaker"))
        words.update(row.get("text", "").split())
        characters.update(row.get("text", ""))
    durations.sort()
    seconds = sum(durations)
    if not durations:
        raise no_utterances(name)

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


def overlaps(manifests: Iterable[tuple[str, Iterable[Row]]], fields: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """What each manifest has in common with each earlier one, and what cannot be compared, by field."""
    earlier: list[tuple[str, dict[str, Counter[str]]]] = []
    for name, rows in manifests:
        counts: dict[str, Counter[str]] = {field: Counter() for field in fields}
        total = 0
        for row in rows:
            total += 1
            for field in fields:
                if row.get(field) not in (None, ""):
                    counts[field][_comparable(field, row[field])] += 1
        if not total:
            raise no_utterances(name)
        for field in fields:
            if missing := total - counts[field].total():
                yield field, name, missing, total
            for other, other_counts in earlier:
                if common := sorted(counts[field].keys() & other_counts[field].keys()):
                    shared = sum(counts[field][value] for value in common)
                    yield field, other, name, tuple(common), shared, total
        earlier.append((name, counts))


def _comparable(field: str, value: Any) -> str:
    return os.path.realpath(value) if field == "audio_filepath" else str(value)
