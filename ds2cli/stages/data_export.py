"""Write rows in the data format of another toolkit."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator

from ds2cli import inputs, manifest
from ds2cli.atomic import temporary_folder
from ds2cli.config.interop import ExportConfig
from ds2cli.drops import Ledger
from ds2cli.interop import load_format
from ds2cli.interop._found import read_items, write_items
from ds2cli.interop._own_files import refuse_foreign
from ds2cli.manifest import Row

Show = Callable[[Iterable[Row]], Iterable[Row]]
"""Passes rows on and shows the progress."""


def run(name: str, source: str, folder: str, config: ExportConfig, ledger: Ledger, show: Show) -> None:
    """Write the rows of the manifest `source` into `folder`.

    name: of the format; config: its `ExportOptions`. Rows that the format cannot hold are dropped.
    """
    write = load_format(name).write
    if source != "-" and not inputs.is_stream(source):
        write(lambda counts: show(_read(source, counts)), folder, config, ledger)
        return
    with temporary_folder("ds2-export-") as temporary:
        # a format may need to see the rows more than once
        file = temporary / "rows"
        write_items(file, ((row, False) for row in _read(source, ledger)))
        write(lambda _: show(row for row, _ in read_items(file)), folder, config, ledger)


def _read(source: str, ledger: Ledger) -> Iterator[Row]:
    return manifest.read(source, ("id",), ledger)


def main_file(name: str, folder: str) -> str:
    """The file of an export next to which its settings and its dropped rows are.

    UsageError if the folder has data of the format that ds2 has not written.
    """
    module = load_format(name)
    refuse_foreign(folder, module.FILES, f"{module.MAIN}.config.toml")
    return os.path.join(folder, module.MAIN)
