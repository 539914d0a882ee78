"""The outputs of an experiment and what each was made from, by their records: the path that utterances have taken."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ds2cli.errors import UsageError
from ds2cli.provenance import PIPE, read_inputs, read_record, record_path, resolve_path

RECORD, TRAINING = ".config.toml", "config.toml"


@dataclass
class Output:
    """An output with its record. inputs: role, path, and the output at that path, None if it has no record."""

    path: str
    record: Mapping[str, Any]
    inputs: list[tuple[str, str, Output | None]] = field(default_factory=list)

    @property
    def stage(self) -> str:
        """The command that wrote it, such as `featurize`."""
        return str(self.record["stage"])

    @property
    def dropped_list(self) -> str | None:
        """The file that lists the utterances it dropped, None if there are none."""
        name = self.record.get("dropped_list")
        return None if name is None else resolve_path(self.path, str(name))


def find_sources(output: Output) -> set[str]:
    """The paths of all outputs that an output was made from."""
    sources: set[str] = set()
    for _, path, source in output.inputs:
        if source is not None and path not in sources:
            sources |= {source.path, *find_sources(source)}
    return sources


def find_outputs(folder: str) -> Iterator[str]:
    """The outputs below a folder that have a record."""
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if name.endswith(RECORD):
                yield os.path.normpath(os.path.join(here, name.removesuffix(RECORD)))
            elif name == TRAINING:
                yield os.path.normpath(here)


def trace(places: Iterable[str]) -> list[Output]:
    """The outputs below some folders, or at some paths, and all that they were made from, each after its inputs.

    An input that was itself made from the output has replaced what the output was made from: it counts as unknown.
    UsageError for a place that does not exist, or an output without a record.
    """
    found: dict[str, Output] = {}
    ordered: list[Output] = []
    unfinished: set[str] = set()

    def add(path: str) -> Output | None:
        name = os.path.realpath(path)
        if name in found:
            return None if name in unfinished else found[name]
        record = read_record(path)
        if record is None:
            return None
        output = found[name] = Output(path, record)
        unfinished.add(name)
        for role, source, _ in read_inputs(path, record):
            output.inputs.append((role, source, None if source == PIPE else add(source)))
        ordered.append(output)
        unfinished.remove(name)
        return output

    for place in places:
        if Path(place).is_dir():
            for path in find_outputs(place):
                add(path)
        elif not Path(place).exists():
            raise UsageError(f"{place}: no such file or folder")
        elif add(place) is None:
            raise UsageError(f"{place}: no record of what it was made from ({record_path(place)})")
    return ordered
