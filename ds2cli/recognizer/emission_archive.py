"""Emissions kept in an archive, so that decoding, alignment and tuning need no network. T' steps, V symbols."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from pathlib import Path

from ds2cli.archive import ArkWriter
from ds2cli.drops import Ledger
from ds2cli.errors import UsageError
from ds2cli.manifest import Row
from ds2cli.recognizer.emissions import Emission

Chunks = Generator[list[Emission]]


def archive_path(folder: str | None, out: str) -> str:
    """The archive for the emissions of OUT: in `folder`, or emissions/ beside OUT where that is None.

    UsageError for a pipe without a folder.
    """
    file = Path(out)
    pipe = out == "-" or (file.exists() and not file.is_file())
    if folder is None and pipe:
        raise UsageError("emit: OUT is a pipe: give the folder for the archive (--dir emissions)")
    name = "emissions" if pipe else file.name.removesuffix(".gz").removesuffix(".jsonl")
    return str((Path(folder) if folder is not None else file.parent / "emissions") / f"{name}.ark")


def keep_emissions(
    path: str, chunks: Chunks, use: Callable[[Chunks], Generator[Row]], ledger: Ledger, max_bad: float, *, stage: str
) -> Generator[Row]:
    """Yield the rows that `use` makes of `chunks`, whose computed emissions are written to the archive at `path`.

    Rows get `emission`, `num_steps` and `step_s`; a row that already has an emission stays as it is. The archive
    appears after the last row. Ds2Error when more than `max_bad` percent were dropped: an earlier archive then stays.
    """
    made = 0
    with ArkWriter(path) as writer, contextlib.closing(use(_written(chunks, writer))) as rows:
        for row in rows:
            made += 1
            yield row
        ledger.refuse(stage, max_bad, made)


def _written(chunks: Chunks, writer: ArkWriter) -> Chunks:
    with contextlib.closing(chunks):
        for items in chunks:
            yield [item if item.row.get("emission") is not None else _stored(item, writer) for item in items]


def _stored(item: Emission, writer: ArkWriter) -> Emission:
    place = writer.write(item.row["id"], item.log_probs)
    fields = {"emission": place, "num_steps": len(item.log_probs), "step_s": item.step_s}
    return item._replace(row={**item.row, **fields})
