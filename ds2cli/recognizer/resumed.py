"""Emissions of rows, processed and archived chunk by chunk; what an interrupted run has finished is taken from it."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Generator, Iterable
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

from ds2cli.archive import ArkWriter, has_key
from ds2cli.atomic import link_file
from ds2cli.drops import Ledger
from ds2cli.journal import Block, Entry, Journal, Recorder, Replay, replay_drops
from ds2cli.manifest import Row
from ds2cli.recognizer.emissions import Chunks, Emission, split_chunks

PART = "emissions.part"
"""The unfinished archive in the folder of a journal."""

FIELDS = ("feats", "emission")
"""Fields of rows with references into the archives that are read."""


def process_chunks(
    rows: Iterable[Row],
    load: Callable[[Iterable[list[Row]]], Chunks],
    process: Callable[[Chunks], Generator[Row]],
    ledger: Ledger,
    *,
    stage: str,
    max_bad: float = 100.0,
    ark: str | None = None,
    journal: Journal | None = None,
    fields: tuple[str, ...] = FIELDS,
    on_replayed: Callable[[Row], None] = lambda _: None,
) -> Generator[Row]:
    """Yield the rows that `process` makes of the emissions that `load` makes of the rows.

    ark: archive for the emissions. `process` then sees each row with `emission`, `num_steps` and `step_s`; a row that
    already has an emission is neither written nor changed. The archive appears after the last row. Ds2Error if more
    than `max_bad` percent of the rows were dropped: an existing archive then stays as it was.
    journal: keeps finished chunks.  fields: of the rows, that refer to files.
    on_replayed: called with each row of the input whose outcome the journal has.
    """
    blocks = (Block(chunk, chunk) for chunk in split_chunks(ledger.follow(rows, itemgetter("id"))))
    part = None if journal is None or ark is None else journal.folder / PART
    size = kept = 0
    try:
        replay = Replay(journal, blocks, fields, partial(_is_intact, ark, part))
        for block, entry in replay:
            size = entry.facts.get("size", 0)
            for row in block.rows:
                on_replayed(row)
            for row in replay_drops(entry, ledger):
                kept += 1
                yield row
        opened = contextlib.nullcontext() if ark is None else ArkWriter(ark, file=part, position=size)
        with opened as writer:
            sizes: deque[dict[str, Any]] = deque()
            append = None if journal is None else journal.append
            recorder: Recorder[list[Row]] = Recorder(append, ledger, dict if writer is None else sizes.popleft)
            chunks = load(recorder.read(replay.rest))
            if writer is not None:
                chunks = _write_chunks(chunks, writer, sizes, is_kept=part is not None)
            with contextlib.closing(process(chunks)) as found:
                for row in recorder.write(found):
                    kept += 1
                    yield row
            if ark is not None:
                ledger.enforce_max_bad(stage, max_bad, kept)
            if writer is not None and part is not None:
                writer.sync()
        if ark is not None and part is not None:
            link_file(part, ark)
    finally:
        ledger.sort()


def list_rows(chunks: Chunks) -> Generator[Row]:
    """The rows of emissions, which are not processed any further."""
    for items in chunks:
        for item in items:
            yield item.row


def _is_intact(ark: str | None, part: Path | None, entry: Entry) -> bool:
    """Whether the unfinished archive has what the journal says."""
    if part is None:
        return True
    if not part.is_file() or part.stat().st_size < entry.facts["size"]:
        return False
    rows = [outcome for outcome in entry.outcomes if isinstance(outcome, dict)]
    written = [row for row in rows if row["emission"].startswith(f"{ark}:")]
    return all(has_key(part, row["emission"], row["id"]) for row in written[-1:])


def _write_chunks(chunks: Chunks, writer: ArkWriter, sizes: deque[dict[str, Any]], *, is_kept: bool) -> Chunks:
    """Write the emissions of rows that have none; `sizes` gets the size of the archive after each chunk."""
    with contextlib.closing(chunks):
        for items in chunks:
            written = [item if item.row.get("emission") is not None else _write(item, writer) for item in items]
            sizes.append({"size": writer.sync() if is_kept else writer.position})
            yield written


def _write(item: Emission, writer: ArkWriter) -> Emission:
    place = writer.write(item.row["id"], item.log_probs)
    fields = {"emission": place, "num_steps": len(item.log_probs), "step_s": item.step_s}
    return item._replace(row={**item.row, **fields})
