"""Blocks of the tasks of `ds2 featurize`: sizes, counts, and archives, which get their names together."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice, repeat
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ds2cli.archive import has_key
from ds2cli.atomic import link_file, remove_file, sync_file
from ds2cli.journal import Block, Entry, Journal
from ds2cli.manifest import Row

FIRST_BLOCK, LARGEST_BLOCK, BLOCKS_PER_SIZE = 16, 1024, 8
"""Tasks per block: 8 blocks of 16, 8 of 32 and so on, then all of 1024."""


@dataclass(frozen=True)
class Task:
    """One row at one speed. id: of the copy.  factor: speed relative to that of the row."""

    id: str
    factor: float
    row: Row


@dataclass
class Tally:
    """Counts of a run, and its normalization statistics. seconds: of audio, after any change of speed.

    narrow: recordings without the upper part of their band, by the highest frequency with sound (kHz).
    """

    utterances: int = 0
    resampled: int = 0
    narrow: Counter[int] = field(default_factory=Counter)
    narrow_example: str = ""
    seconds: float = 0.0
    stats: NDArray[np.float64] | None = None

    def add(self, other: Tally) -> None:
        """Add the counts and statistics of what follows."""
        self.utterances += other.utterances
        self.resampled += other.resampled
        self.narrow += other.narrow
        self.narrow_example = self.narrow_example or other.narrow_example
        self.seconds += other.seconds
        if other.stats is not None:
            self.stats = other.stats if self.stats is None else self.stats + other.stats

    def to_saved(self) -> dict[str, Any]:
        """The tally in plain types, which JSON keeps exactly."""
        stats = None if self.stats is None else self.stats.tolist()
        return {**vars(self), "narrow": {str(khz): count for khz, count in self.narrow.items()}, "stats": stats}

    @classmethod
    def from_saved(cls, values: dict[str, Any]) -> Tally:
        """The tally that `to_saved` made this of."""
        narrow = Counter({int(khz): count for khz, count in values["narrow"].items()})
        stats = None if values["stats"] is None else np.array(values["stats"], np.float64)
        return cls(**{**values, "narrow": narrow, "stats": stats})


@dataclass(frozen=True)
class BlockEnd:
    """The last result of a block. file: its archive, perhaps not on disk yet.  size: of the archive (bytes)."""

    number: int
    file: Path
    size: int
    tally: Tally

    def finish(self, folder: Path, journal: Journal | None, block: Block[Any], entry: Entry) -> None:
        """Wait until the archive is on disk, and note that the block is finished."""
        sync_file(self.file)
        self.file.replace(part_path(folder, self.number))
        if journal is not None:
            facts = {"number": self.number, "size": self.size, "tally": self.tally.to_saved()}
            journal.append(block, Entry(entry.outcomes, facts))


def split_blocks(tasks: Iterable[Task]) -> Iterator[Block[list[Task]]]:
    """Divide tasks into blocks, whose sizes depend on nothing but their position (see `block_sizes`)."""
    iterator = iter(tasks)
    for size in block_sizes():
        if not (block := list(islice(iterator, size))):
            return
        yield Block([{**task.row, "id": task.id} for task in block], block)


def block_sizes() -> Iterator[int]:
    """The number of tasks in each block: small ones first, so that small corpora occupy all processes."""
    size = FIRST_BLOCK
    while True:
        yield from repeat(size, BLOCKS_PER_SIZE)
        size = min(2 * size, LARGEST_BLOCK)


def part_path(folder: Path, number: int) -> Path:
    """The archive of a block before it gets its name."""
    return folder / f"{number}.part"


def is_intact(folder: Path, entry: Entry) -> bool:
    """Whether the archive of a finished block is what the journal says."""
    part = part_path(folder, entry.facts["number"])
    rows = [outcome for outcome in entry.outcomes if isinstance(outcome, dict)]
    return (
        part.is_file()
        and part.stat().st_size == entry.facts["size"]
        and all(has_key(part, row["feats"], row["id"]) for row in (*rows[:1], *rows[-1:]))
    )


def remove_files(folder: Path, *patterns: str, keep: int = 0) -> None:
    """Remove what a killed or interrupted run has left, except for its first `keep` blocks."""
    kept = {part_path(folder, number) for number in range(1, keep + 1)}
    for path in [path for pattern in patterns for path in folder.glob(pattern)]:
        if path not in kept:
            path.unlink(missing_ok=True)


def publish_archives(folder: Path, stem: str) -> None:
    """Give the archives their names, and remove further ones of a run with more blocks."""
    count = 0
    while (part := part_path(folder, count + 1)).exists():
        count += 1
        link_file(part, f"{stem}.{count}.ark")
    pattern = re.compile(re.escape(Path(stem).name) + r"\.([1-9]\d*)\.ark")
    place = Path(stem).parent
    for path in place.iterdir() if place.is_dir() else ():
        if (found := pattern.fullmatch(path.name)) and int(found[1]) > count:
            remove_file(str(path))
