"""Store computed emissions in an archive, so that decoding again, alignment and tuning run without the network."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator

from ds2cli.archive import ArkWriter, archive_stem
from ds2cli.drops import Ledger
from ds2cli.manifest import Row
from ds2cli.recognizer.emissions import Emission

Chunks = Generator[list[Emission]]


def archive_path(folder: str | None, out: str) -> str:
    """The path of the archive for the emissions of OUT: in `folder`, by default emissions/ next to OUT.

    UsageError if OUT is a pipe and `folder` is None.
    """
    return f"{archive_stem('emit', folder, out, 'emissions')}.ark"


def archive_emissions(
    path: str,
    chunks: Chunks,
    process: Callable[[Chunks], Generator[Row]],
    ledger: Ledger,
    max_bad: float,
    *,
    stage: str,
) -> Generator[Row]:
    """Write the emissions of `chunks` to the archive at `path`, and yield the rows that `process` makes of the chunks.

    `process` sees each row with `emission`, `num_steps` and `step_s`; a row that already has an emission is neither
    written nor changed. The archive appears after the last row. Ds2Error if more than `max_bad` percent of the rows
    were dropped: an existing archive then stays as it was.
    """
    count = 0
    with ArkWriter(path) as writer, contextlib.closing(process(_write_chunks(chunks, writer))) as rows:
        for row in rows:
            count += 1
            yield row
        ledger.enforce_max_bad(stage, max_bad, count)


def _write_chunks(chunks: Chunks, writer: ArkWriter) -> Chunks:
    with contextlib.closing(chunks):
        for items in chunks:
            yield [item if item.row.get("emission") is not None else _write(item, writer) for item in items]


def _write(item: Emission, writer: ArkWriter) -> Emission:
    place = writer.write(item.row["id"], item.log_probs)
    fields = {"emission": place, "num_steps": len(item.log_probs), "step_s": item.step_s}
    return item._replace(row={**item.row, **fields})
