"""What a stage has finished, kept beside its output while it runs, so that the next run can continue from there.

The folder `.NAME.STAGE.unfinished` has the archives as far as they are written; about.json, for `ds2 status`; and the
journal: a line of JSON with the identity of the run, then one per block of utterances. A stage divides its input into
blocks by nothing but their position. The line of a block has

    key       hash of the input rows, and of the size and time of the files that they refer to
    outcomes  finished rows, and [id, reason, detail, bad] of dropped ones, in the order of the input
    facts     what else the stage needs to continue, such as the size of its archive

A line is written after everything that it refers to is on disk. The next run of the same identity takes outcomes from
the journal as long as the keys agree, and computes everything else: its result is the same to the bit. The folder is
locked while it is used, and removed when the output is complete.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, Generic, TypeVar

from ds2cli import __version__
from ds2cli.drops import Ledger
from ds2cli.manifest import Row

VERSION = 1
FILE, ABOUT = "journal.jsonl", "about.json"

B = TypeVar("B")


@dataclass
class Block(Generic[B]):
    """A part of the input. rows: what its outcomes depend on, each with an id.  content: for the stage."""

    rows: list[Row]
    content: B
    key: str = ""


@dataclass
class Entry:
    """What became of a block: its finished rows, and id, reason, detail and bad of its dropped ones."""

    outcomes: list[Row | list[Any]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


Append = Callable[[Block[B], Entry], None]


class Journal:
    """The outcomes of the blocks of a run, in order. finished: utterances of which the outcome is known."""

    def __init__(self, folder: Path, on_replayed: Callable[[int], None]) -> None:
        """on_replayed: called with the number of utterances that an earlier run has finished, if there are any."""
        self.folder = folder
        self.finished = 0
        self._path = folder / FILE
        self._head = b""
        self._on_replayed = on_replayed

    def begin(self, identity: Mapping[str, Any], about: Mapping[str, Any]) -> None:
        """Keep what is there if it has the same identity, and otherwise remove it; OSError if neither is possible."""
        self._head = _to_line(identity)
        (self.folder / ABOUT).write_bytes(_to_line(about))
        if self._path.exists():
            with self._path.open("rb") as f:
                if f.readline(len(self._head)) == self._head:
                    return
        for entry in self.folder.iterdir():
            if entry.name != ABOUT:
                entry.unlink()
        self._path.write_bytes(self._head)

    @property
    def is_empty(self) -> bool:
        """Whether no block is finished, also not by an earlier run."""
        return not self._path.exists() or self._path.stat().st_size <= len(self._head)

    def read(
        self, keyed: Iterator[Block[B]], is_intact: Callable[[Entry], bool], rest: list[Block[B]]
    ) -> Iterator[tuple[Block[B], Entry]]:
        """Yield the blocks that are finished.

        The first other one is appended to `rest`, and the entries from there on are removed.
        """
        with self._path.open("r+b") as f:
            position = f.seek(len(self._head))
            for block in keyed:
                line = f.readline()
                entry = _parse(line, block.key)
                if entry is None or not is_intact(entry):
                    rest.append(block)
                    break
                position += len(line)
                self.finished += len(entry.outcomes)
                yield block, entry
            f.truncate(position)
        if self.finished:
            self._on_replayed(self.finished)

    def append(self, block: Block[Any], entry: Entry) -> None:
        """Note what became of the next block; what the entry refers to is on disk."""
        with self._path.open("ab") as f:
            f.write(_to_line({"key": block.key, "outcomes": entry.outcomes, "facts": entry.facts}))
        self.finished += len(entry.outcomes)


class Replay(Generic[B]):
    """Iterates over the blocks that an earlier run has finished, with their entries; `rest` has the others.

    journal: None if nothing is kept.  fields: of the rows, that refer to files.
    is_intact: whether what an entry refers to is there.
    """

    def __init__(
        self,
        journal: Journal | None,
        blocks: Iterable[Block[B]],
        fields: Sequence[str],
        is_intact: Callable[[Entry], bool] = lambda _: True,
    ) -> None:
        self._journal, self._is_intact = journal, is_intact
        self._blocks = iter(blocks) if journal is None else _with_keys(blocks, fields)
        self._head: list[Block[B]] = []

    def __iter__(self) -> Iterator[tuple[Block[B], Entry]]:
        if self._journal is not None:
            yield from self._journal.read(self._blocks, self._is_intact, self._head)

    @property
    def rest(self) -> Iterator[Block[B]]:
        """The blocks after those of the iteration, when that has ended."""
        return chain(self._head, self._blocks)


class Recorder(Generic[B]):
    """Appends the outcomes of blocks to a journal: of a stage that makes rows and drops of a stream of them.

    append: called with each block and what became of it; None if nothing is kept.
    facts: those of the next block; called once for each, when its outcomes are known.
    """

    def __init__(
        self, append: Append[B] | None, ledger: Ledger, facts: Callable[[], dict[str, Any]] = dict[str, Any]
    ) -> None:
        self._append, self._ledger, self._facts = append, ledger, facts
        self._open: deque[tuple[Block[B], dict[str, int]]] = deque()
        self._drops: dict[str, list[Any]] = {}
        self._seen = len(ledger.rows)

    def read(self, blocks: Iterable[Block[B]]) -> Iterator[B]:
        """The blocks for the stage; ids are unique."""
        for block in blocks:
            self._open.append((block, {row["id"]: place for place, row in enumerate(block.rows)}))
            yield block.content

    def write(self, rows: Iterable[Row]) -> Generator[Row]:
        """Pass on the rows that the stage makes of the blocks, in their order."""
        found: list[Row] = []
        for row in rows:
            while row["id"] not in self._open[0][1]:
                self._close(found)
                found = []
            found.append(row)
            yield row
        while self._open:
            self._close(found)
            found = []

    def _close(self, found: list[Row]) -> None:
        (block, places), facts = self._open.popleft(), self._facts()
        if self._append is None:
            return
        for drop in self._ledger.stage_drops(self._seen):
            self._drops[drop["id"]] = [drop[name] for name in ("id", "reason", "detail", "bad")]
        self._seen = len(self._ledger.rows)
        outcomes: dict[int, Row | list[Any]] = {places[row["id"]]: row for row in found}
        outcomes.update((place, self._drops.pop(name)) for name, place in places.items() if name in self._drops)
        self._append(block, Entry([outcomes[place] for place in sorted(outcomes)], facts))


@contextlib.contextmanager
def open_journal(
    place: str,
    stage: str,
    identity: Mapping[str, Any],
    on_replayed: Callable[[int], None] = lambda _: None,
    *,
    out: str = "",
    command: str = "",
) -> Iterator[Journal | None]:
    """The journal of a run, in a folder next to `place`, which is removed at the end unless an error ends it.

    identity: what the results depend on besides the rows; what a run of another identity has left is removed.
    out, command: what is to be finished, and how.
    After an error the folder stays if an utterance is finished. None if another process uses the folder, or if it
    cannot be created and locked: nothing is kept then.
    """
    target = Path(os.path.abspath(place))
    folder = target.with_name(f".{target.name}.{stage}.unfinished")
    is_new = not folder.parent.exists()
    lock = _lock(folder)
    if lock is None:
        yield None
        return
    journal, is_complete, can_write = Journal(folder, on_replayed), False, False
    try:
        with contextlib.suppress(OSError):
            about = {"stage": stage, "out": os.path.relpath(out or place, folder.parent), "command": command}
            journal.begin({"version": VERSION, "ds2cli": __version__, "stage": stage, **identity}, about)
            can_write = True
        yield journal if can_write else None
        is_complete = True
    finally:
        if is_complete or journal.is_empty:
            shutil.rmtree(folder, ignore_errors=True)
            if is_new:
                with contextlib.suppress(OSError):
                    folder.parent.rmdir()
        os.close(lock)


def replay_drops(entry: Entry, ledger: Ledger) -> Iterator[Row]:
    """The finished rows of an entry; its dropped ones are recorded."""
    for outcome in entry.outcomes:
        if isinstance(outcome, dict):
            yield outcome
        else:
            utterance, reason, detail, bad = outcome
            ledger.drop(utterance, reason, detail, bad=bad)


def _with_keys(blocks: Iterable[Block[B]], fields: Sequence[str]) -> Iterator[Block[B]]:
    # archives have many utterances, recordings mostly one
    archive_state = lru_cache(4096)(_file_state)
    for block in blocks:
        digest = hashlib.blake2b(digest_size=16)
        for row in block.rows:
            paths = [(name, row[name]) for name in fields if row.get(name)]
            states = [
                _file_state(path) if name == "audio_filepath" else archive_state(path.rpartition(":")[0])
                for name, path in paths
            ]
            digest.update(json.dumps([row, states]).encode())
        block.key = digest.hexdigest()
        yield block


def _file_state(path: str) -> list[int] | None:
    """Size and time of change (ns) of a file; None if there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116
        return [found.st_size, found.st_mtime_ns]
    except (OSError, ValueError):
        return None


def _to_line(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def _parse(line: bytes, key: str) -> Entry | None:
    """The entry in a line, if it is complete and has this key."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        value = json.loads(line) if line.endswith(b"\n") else {}
        if value["key"] == key:
            return Entry(value["outcomes"], value["facts"])
    return None


def _lock(folder: Path) -> int | None:
    """Create and lock the folder; None if another process has locked it, or that is not possible here."""
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # its process may have removed it when it was done
            if folder.exists() and os.path.samestat(os.fstat(lock), folder.stat()):
                return lock
        except OSError:
            os.close(lock)
            return None
        os.close(lock)
