"""Find all faults of all rows of manifests, with a few bytes of memory for each row; ds2cli/checks/ has the checks."""

from __future__ import annotations

import difflib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ds2cli import inputs, io, manifest
from ds2cli.checks.faults import KINDS, Tally
from ds2cli.checks.repeats import Columns, describe, find_repeats, find_shared
from ds2cli.checks.rows import parse_line
from ds2cli.checks.text_rules import explain_other_rules
from ds2cli.checks.texts import TextChecks
from ds2cli.config.data import ValidateConfig
from ds2cli.drops import no_utterances
from ds2cli.errors import DataError, UsageError
from ds2cli.json_lines import explain_document, starts_document
from ds2cli.manifest import Row
from ds2cli.parallel import map_ordered
from ds2cli.text.normalize import TextRules

if TYPE_CHECKING:
    from ds2cli.checks.feasibility import Feasibility
    from ds2cli.checks.files import Checked
    from ds2cli.checks.network import NetworkFacts


@dataclass(frozen=True)
class Source:
    """A manifest that can be read several times. name: for messages.  file: where it lies.  folder: of its paths."""

    name: str
    file: str
    folder: str

    def read_lines(self) -> Iterator[tuple[int, str]]:
        """The lines that are not empty, after their numbers; DataError if the file is one JSON document."""
        is_first = True
        for number, line in io.read_lines(self.file):
            if not line.strip():
                continue
            if is_first and starts_document(line):
                name = "-" if self.name == "<stdin>" else self.name
                raise DataError(f"{self.name}:{number}: {explain_document(name)}")
            is_first = False
            yield number, line


def open_source(path: str, folder: Path, number: int) -> Source:
    """A manifest by its path; what can be read only once is copied to a file in `folder`, named by the number."""
    name = "<stdin>" if path == "-" else path
    if path != "-" and not inputs.is_stream(path):
        return Source(name, path, manifest.base_folder(path))
    copy = folder / f"{number}.jsonl"
    with io.open_in(path) as lines, copy.open("w", encoding="utf-8", errors="surrogateescape", newline="") as f:
        f.writelines(lines)
    return Source(name, str(copy), manifest.base_folder(path))


@dataclass
class Validation:
    """A run of the checks.

    saved_features: returns the settings of features that are saved next to a manifest.
    notes: what the user should know besides the faults, complete after the last row.
    """

    config: ValidateConfig
    tally: Tally
    saved_features: Callable[[str], dict[str, Any]]
    notes: list[str] = field(default_factory=list)

    def check(self, sources: Sequence[Source]) -> Iterator[None]:
        """Check manifests, and yield once for each row. DataError for a manifest without any, and if it cannot be read.

        The faults are in the tally; those of a kind in the order of the manifests and lines.
        """
        rules = TextRules.of(self.config) if self.config.normalized else None
        facts = self._read_facts(sources[0])
        texts = TextChecks(rules, facts.vocab if facts else None, self.config.max_rate)
        earlier: list[Columns] = []
        for source in sources:
            if rules is not None and (note := explain_other_rules(source.file, rules.rule_set.name)):
                self.notes.append(note)
            feasibility = self._open_feasibility(facts, source)
            columns, before = Columns(source.name), self.tally.rows
            yield from self._check_rows(source, columns, texts, feasibility)
            if self.tally.rows == before:
                raise no_utterances(source.name)
            self._report_repeats(source, columns, earlier)
            if feasibility is not None and (note := feasibility.describe()):
                self.notes.append(f"{source.name}: {note}")
            earlier.append(columns)

    def _check_rows(
        self, source: Source, columns: Columns, texts: TextChecks, feasibility: Feasibility | None
    ) -> Iterator[None]:
        rows = self._parse_rows(source, columns, texts, feasibility)
        if not self.config.files:
            for _ in rows:
                yield
            return
        from ds2cli.checks.features import SameColumns

        same, places = SameColumns(), _Places()
        for checked in self._check_files(places.note(rows)):
            index, line, name = places.next()
            if index >= 0:
                if checked.samples:
                    columns.set_samples(index, checked.samples)
                if any(kind == "bad-segment" for kind, _ in checked.found):
                    columns.forget_segment(index)
                found = [*checked.found, *same.check(line, checked.columns)]
                self.tally.add(source.name, line, name, found)
            yield

    def _parse_rows(
        self, source: Source, columns: Columns, texts: TextChecks, feasibility: Feasibility | None
    ) -> Iterator[tuple[int, int, Row]]:
        """The index, the line and the fields of each row, after the checks that need no files; index -1 for no row."""
        needs = tuple(name.strip() for name in self.config.needs.split(",") if name.strip())
        last, tally, name = "", self.tally, source.name
        for line, text in source.read_lines():
            tally.rows += 1
            row, found = parse_line(text, needs)
            if row is None:
                tally.add(name, line, "", found)
                yield -1, line, {}
                continue
            row = manifest.rebase_paths(row, source.folder)
            row_id = row.get("id", "")
            if row_id and row_id < last:
                detail = f"the id comes after {last!r}, expected sorted ids (ds2 data sort)"
                found.append(("not-sorted", detail))
            last = max(last, row_id)
            if "text" in row:
                found += texts(row["text"], row.get("lang"), row.get("duration"))
                if feasibility is not None:
                    found += _check_fit(feasibility, row)
            if found:
                tally.add(name, line, row_id, found)
            columns.add(line, row)
            yield len(columns.lines) - 1, line, row

    def _check_files(self, rows: Iterator[Row]) -> Iterator[Checked]:
        from ds2cli.checks.audio import AudioChecks
        from ds2cli.checks.files import FileWorker

        config = self.config
        checks = AudioChecks(
            config.audio == "decode", config.tolerance, config.silence_db, config.max_dc, config.max_clipped / 100
        )
        make_worker = partial(FileWorker, config.audio, checks)
        return map_ordered(make_worker, rows, config.nj, lambda _: None)

    def _report_repeats(self, source: Source, columns: Columns, earlier: Sequence[Columns]) -> None:
        """Add what rows have in common; the manifest is read again, for the ids and values that are reported."""
        found = [(kind, *pair, "line ", columns) for kind, pair in find_repeats(columns).items()]
        for other in earlier:
            shared = find_shared(columns, other).items()
            found += [(kind, *pair, f"{other.path}:", other) for kind, pair in shared]
        found = [item for item in found if item[0] not in self.tally.ignored]
        if not found:
            return
        lines = np.concatenate([columns.line_numbers[rows] for _, rows, *_ in found])
        kinds = np.repeat(np.arange(len(found)), [len(rows) for _, rows, *_ in found])
        others = np.concatenate([other.line_numbers[rows] for _, _, rows, _, other in found])
        order = np.argsort(lines, kind="stable")
        lines, kinds, others = lines[order], kinds[order], others[order]
        position = 0
        for line, text in source.read_lines():
            if position == len(lines):
                return
            if line != lines[position]:
                continue
            row = parse_line(text, ())[0] or {}
            while position < len(lines) and lines[position] == line:
                kind, _, _, place, _ = found[kinds[position]]
                finding = describe(kind, row, f"{place}{others[position]}")
                self.tally.add(source.name, line, row.get("id", ""), [finding])
                position += 1

    def _read_facts(self, training: Source) -> NetworkFacts | None:
        config = self.config
        if not (config.exp or config.vocab or config.train_config or config.speeds):
            return None
        from ds2cli.checks.network import read_facts

        def read_texts() -> Iterator[str]:
            for _, line in training.read_lines():
                row, _ = parse_line(line, ())
                if row and isinstance(row.get("text"), str):
                    yield row["text"]

        return read_facts(config.exp, config.vocab, config.train_config, read_texts)

    def _open_feasibility(self, facts: NetworkFacts | None, source: Source) -> Feasibility | None:
        if facts is None or facts.stride is None:
            if self.config.speeds:
                raise UsageError("--speeds only applies with --train-config or --exp, which have the stride")
            return None
        from ds2cli.checks.feasibility import Feasibility
        from ds2cli.checks.network import feature_settings, parse_speeds

        speeds = parse_speeds(self.config.speeds) if self.config.speeds else ()
        name = "-" if source.name == "<stdin>" else source.name
        features = feature_settings(facts, self.saved_features(name), source.name)
        return Feasibility(facts.vocab, facts.stride, features, (*facts.speeds, *speeds))


def parse_kinds(text: str) -> frozenset[str]:
    """The kinds of --ignore; UsageError for one that does not exist, with the nearest that does."""
    kinds = frozenset(name.strip() for name in text.split(",") if name.strip())
    for name in sorted(kinds - KINDS.keys()):
        near = difflib.get_close_matches(name, KINDS, 1)
        hint = f", did you mean {near[0]!r}?" if near else f", expected some of {', '.join(KINDS)}"
        raise UsageError(f"--ignore {name}: no such kind of fault{hint}")
    return kinds


class _Places:
    """The places of rows that are being checked by other processes, in order."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, int, str]] = deque()

    def note(self, rows: Iterator[tuple[int, int, Row]]) -> Iterator[Row]:
        """Pass on what the checks of files need of each row."""
        from ds2cli.checks.files import FIELDS

        for index, line, row in rows:
            self._waiting.append((index, line, row.get("id", "")))
            yield {name: row[name] for name in FIELDS if name in row}

    def next(self) -> tuple[int, int, str]:
        """The index, line and id of the next row."""
        return self._waiting.popleft()


def _check_fit(feasibility: Feasibility, row: Row) -> list[tuple[str, str]]:
    from ds2cli.audio.recording import parse_recording

    recording = parse_recording(row) if row.get("duration") else None
    return feasibility(row.get("id", ""), row["text"], row.get("num_frames"), recording)
